"""Judgements that many rows share: accepted as asked, refused, ignored, or something unsafe in between.

No vacuous negatives: beside every pod that must not get its networks starts one that must, of the same
networks. Where that one does not run, nothing is said about the other.
"""

from __future__ import annotations

from conformance.bench import PodWish, Space
from conformance.evidence import Evidence
from conformance.oracles import Seen
from conformance.target import Network


def runs(pod: Seen, evidence: Evidence) -> None:
    """The pod runs; what was refused is told."""
    evidence.involve(pod.key)
    evidence.saw(shown(pod))
    assert pod.runs, f"{pod.key} does not run: {why(pod)}"


def why(pod: Seen) -> str:
    """Why a pod does not run."""
    return "; ".join(pod.refusals) or "no Warning event says why"


def shown(pod: Seen) -> str:
    """A pod in one line."""
    return pod.summary() if pod.runs else f"does not run: {why(pod)}"


def attached(pod: Seen, *networks: Network) -> None:
    """The pod has exactly one interface for each of these networks, beside the default one."""
    for network in networks:
        wanted = sum(one == network for one in networks)
        found = pod.within(network.subnets[0])
        names = ", ".join(one.interface for one in found) or "none"
        assert len(found) == wanted, f"{wanted} interface(s) of {network.name} wanted, there are: {names}"
    foreign = [one.interface for one in pod.others if not _of(pod, one.interface, networks)]
    assert not foreign, f"interfaces of no selected network: {', '.join(foreign)}: {pod.summary()}"


def expect_attached(space: Space, evidence: Evidence, text: str, *networks: Network) -> Seen:
    """A pod with the selection ``text`` runs, with exactly these networks beside the default one."""
    evidence.case(text)
    pod = space.pod(text)
    runs(pod, evidence)
    attached(pod, *networks)
    return pod


def _of(pod: Seen, interface: str, networks: tuple[Network, ...]) -> bool:
    return any(
        interface == one.interface
        for network in networks
        for subnet in network.subnets
        for one in pod.within(subnet)
    )


def with_control(
    space: Space, evidence: Evidence, text: str, good: Network, wish: PodWish | None = None
) -> Seen:
    """A pod with the selection ``text``, judged only if a pod that selects ``good`` runs beside it."""
    evidence.case(text)
    pods = space.batch(wish or PodWish(text), good.name, controlled=True)
    pod, control = pods
    if not control.runs or not control.within(good.subnets[0]):
        evidence.unknown(f"the control, a pod that selects {good.name}, does not run: {why(control)}")
    evidence.involve(pod.key)
    evidence.saw(shown(pod))
    return pod


def three_outcomes(pod: Seen, evidence: Evidence) -> None:
    """An invalid selection: ignored as the text says, refused with nothing left behind, or unsafe."""
    if pod.runs:
        if pod.others:
            evidence.unsafe(f"runs, and has networks all the same: {pod.summary()}")
        return
    leaves_nothing(pod, evidence)
    evidence.fail_closed(f"refused: {why(pod)}")


def attaches_nothing(pod: Seen, evidence: Evidence) -> None:
    """Where the text says nothing of ignoring: refused, or running with the default network only."""
    if pod.runs:
        assert not pod.others, f"networks were attached all the same: {pod.summary()}"
    else:
        leaves_nothing(pod, evidence)


def is_refused(pod: Seen, evidence: Evidence) -> None:
    """The pod's network setup fails, and no part of it stays."""
    if pod.runs:
        evidence.unsafe(f"runs with {pod.summary()}")
    leaves_nothing(pod, evidence)


def leaves_nothing(pod: Seen, evidence: Evidence) -> None:
    """A pod that does not run has no pod IP; interfaces may be there only while its setup is tried again."""
    evidence.saw(shown(pod))
    assert not pod.pod_ips, f"{pod.key} does not run and has pod IPs {pod.pod_ips}"
