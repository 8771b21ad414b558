"""The step that probes every pair of pod interfaces and compares with what must be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from reports.verdicts import Verdict, combine
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.schema import Matrix, Override
from scenarios.threads import in_thread
from topology import capabilities, drawing, graph
from topology.expectation import ExpectedPod
from topology.graph import Reachability
from traffic import matrix as cells
from traffic.endpoint import Endpoint, Place, inspect_all
from traffic.matrix import Cell
from traffic.observation import Key, Observation
from traffic.plan import Ask
from traffic.probe import Prober

_SHOWN = 3
# Of gateway and DNS address, in every network.
GATEWAY_MAC = "00:00:5e:00:01:00"
_EXPECTED = {True: "reached", False: "not-reached", None: "nothing"}


async def matrix(context: Context, step: LoadedStep) -> Result:
    """Probe, judge, and tell every cell."""
    body = step.step.matrix
    assert body is not None
    pods = context.chosen_pods(body.pods)
    hosts = context.expected_hosts() if body.pods == "all" else ()
    pods = (*pods, *hosts)
    spaces = context.sandboxes() | {f"host/{name}": netns for name, netns in context.hosts().items()}
    missing = [pod.pod for pod in pods if pod.pod not in spaces]
    if missing:
        return Result(Verdict.FAIL, f"no sandbox, so nothing to probe, for {', '.join(missing)}")
    endpoints = _endpoints(pods, spaces)
    addresses = {endpoint.place: endpoint.addresses for endpoint in endpoints}
    reachability = Reachability(pods, addresses, context.expected_policies(), context.lab.wires)
    context.tell("drawing", step, **drawing.draw(reachability, context.lab.nodes))
    nft = capabilities.nft()
    lack = "" if nft.available else f"gateways of bridged networks need nft ({nft.detail})"
    every = (*reachability.verdicts(body.protocols), *reachability.services(body.protocols, lack=lack))
    verdicts = [_overridden(verdict, body, pods) for verdict in every]
    if not verdicts:
        return Result(Verdict.FAIL, "there is no pair of pod interfaces to probe")
    folder = context.run_dir / "captures" / f"step-{step.index + 1:02d}"
    folder.mkdir(parents=True)
    prober = Prober(
        endpoints, pcap_dir=folder, control_netns=[context.lab.node_netns(n) for n in context.lab.nodes]
    )
    observations = await in_thread(_probe, prober, verdicts, body)
    judged = cells.build(observations, graph.plain(verdicts))
    _tell(context, step, judged.cells, verdicts, observations)
    for (pod, interface), path in sorted(prober.files.items()):
        shown = str(path.relative_to(context.run_dir))
        context.tell("capture", step, path=shown, pod=pod, interface=interface)
    return _result(judged.cells)


def _endpoints(pods: Iterable[ExpectedPod], spaces: Mapping[str, str]) -> list[Endpoint]:
    """What the kernel has, and a stand-in for each interface that must be there and isn't."""
    chosen = {pod.pod: spaces[pod.pod] for pod in pods}
    found = [
        endpoint for result in inspect_all(chosen).values() if isinstance(result, list) for endpoint in result
    ]
    there = {endpoint.place for endpoint in found}
    absent = [
        Endpoint(pod.pod, item.interface, spaces[pod.pod], item.mac, ())
        for pod in pods
        for item in pod.interfaces
        if (pod.pod, item.interface) not in there
    ]
    return found + absent


def _probe(prober: Prober, verdicts: list[graph.Verdict], body: Matrix) -> list[Observation]:
    pairs = dict.fromkeys((each.source, each.destination) for each in verdicts if not each.address)
    asks = dict.fromkeys(
        Ask(each.source, each.destination, each.address, GATEWAY_MAC) for each in verdicts if each.address
    )
    expected = frozenset(verdict.key for verdict in verdicts if verdict.must_reach)
    only = frozenset(verdict.key for verdict in verdicts)
    return prober.run(list(pairs), body.protocols, expected=expected, asks=list(asks), only=only)


def _overridden(verdict: graph.Verdict, body: Matrix, pods: Iterable[ExpectedPod]) -> graph.Verdict:
    nodes = {pod.pod: pod.node for pod in pods}
    for override in body.expect:
        if _matches(override, verdict, nodes):
            reason = f"the scenario expects it while a fault is on; otherwise: {verdict.reason}"
            return dataclasses.replace(verdict, must_reach=override.reachable, reason=reason)
    return verdict


def _matches(override: Override, verdict: graph.Verdict, nodes: Mapping[str, str]) -> bool:
    if override.protocols is not None and verdict.protocol not in override.protocols:
        return False
    ends = (verdict.source, verdict.destination)
    if override.nodes is not None and {nodes.get(pod) for pod, _ in ends} != set(override.nodes):
        return False
    forward = _is(override.source, ends[0]) and _is(override.to, ends[1])
    return forward or (override.both and _is(override.source, ends[1]) and _is(override.to, ends[0]))


def _is(pattern: str, place: Place) -> bool:
    """Whether ``[namespace/]pod[:interface]`` with wildcards means this interface."""
    pod_pattern, _, interface_pattern = pattern.partition(":")
    if "/" not in pod_pattern:
        pod_pattern = "*/*" if pod_pattern == "*" else f"default/{pod_pattern}"
    return fnmatchcase(place[0], pod_pattern) and fnmatchcase(place[1], interface_pattern or "*")


def _tell(
    context: Context,
    step: LoadedStep,
    judged: Iterable[Cell],
    verdicts: Iterable[graph.Verdict],
    observations: Iterable[Observation],
) -> None:
    reasons = {verdict.key: verdict for verdict in verdicts}
    replied: dict[Key, bool] = {observation.key: observation.replied for observation in observations}
    for cell in judged:
        why = reasons[cell.key]
        tunnel = why.tunnel
        context.tell(
            "observation",
            step,
            source=cell.source,
            source_interface=cell.source_interface,
            destination=cell.destination,
            destination_interface=cell.destination_interface,
            protocol=cell.protocol,
            expected=_EXPECTED[cell.expected],
            outcome=cell.outcome,
            verdict=cell.verdict.replace("-", " "),
            seen_at=list(cell.seen_at),
            replied=replied.get(cell.key, False),
            control=bool(cell.control),
            detail=f"{cell.text}. Expected because: {why.reason}",
            crosses=f"{tunnel.name} {'-'.join(tunnel.nodes)}" if tunnel is not None else "",
        )


def _result(judged: tuple[Cell, ...]) -> Result:
    verdict = combine(
        Verdict(cell.verdict.replace("-", " ")) for cell in judged if cell.verdict != "not-applicable"
    )
    wrong = [cell for cell in judged if cell.verdict == str(verdict)] if verdict is not Verdict.PASS else []
    ends = {(cell.source, cell.source_interface) for cell in judged}
    facts = (f"{len(judged)} cells, {len(ends)} interfaces",)
    if not wrong:
        return Result(verdict, facts=facts)
    shown = "; ".join(
        f"{cell.source} {cell.source_interface} to {cell.destination} {cell.destination_interface} "
        f"by {cell.protocol}: {cell.text}"
        for cell in wrong[:_SHOWN]
    )
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    words = "not as expected" if verdict is Verdict.FAIL else "could not be observed"
    return Result(verdict, f"{len(wrong)} of {len(judged)} cells {words}: {shown}{more}", facts=facts)
