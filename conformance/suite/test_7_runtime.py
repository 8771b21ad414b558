"""Section 7: what fails, fails whole; what was attached is detached; no pod stands in another's way."""

from __future__ import annotations

import ipaddress

import pytest

from conformance import requirement
from conformance.bench import PodWish, Space, selection
from conformance.evidence import Evidence
from conformance.profiles import Feature
from conformance.suite.judging import attached, is_refused, runs, shown, why, with_control
from conformance.target import Network
from multinet.kube import resources


@pytest.mark.parametrize("text", ["missing", "a,missing", "missing,a", "a,missing,b"])
@requirement("NPWG-7.2-a", "NPWG-7.2-c")
def test_a_network_that_is_missing_fails_the_pod(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str
) -> None:
    assert a != b
    is_refused(with_control(shared, evidence, text, a), evidence)


@requirement("NPWG-7.2-a")
def test_an_empty_pool_fails_the_pod(space: Space, evidence: Evidence) -> None:
    block = space.subnet().replace("/24", "/30")
    small, good = space.network("small", block), space.network("good")
    evidence.case(f"six pods in {block}, and one that is not")
    *pods, control = space.batch(*["good,small"] * 6, "good")
    if not control.runs:
        evidence.unknown(f"the control, a pod that selects good, does not run: {why(control)}")
    fitting = [pod for pod in pods if pod.runs]
    evidence.saw([shown(pod) for pod in pods])
    for pod in fitting:
        attached(pod, good, small)
    assert len(fitting) < 6
    addresses = [text for pod in fitting for one in pod.within(small.subnets[0]) for text in one.addresses]
    assert len(set(addresses)) == len(addresses)


@requirement("NPWG-7.2-b")
def test_a_default_network_that_is_missing_fails_the_pod(
    shared: Space, a: Network, evidence: Evidence
) -> None:
    wish = PodWish("a", annotations=shared.bench.target.broken_default())
    is_refused(with_control(shared, evidence, "a, and a default network that is missing", a, wish), evidence)


@requirement("NPWG-7.2-d")
def test_refused_pods_use_nothing_up(space: Space, evidence: Evidence) -> None:
    block = space.subnet().replace("/24", "/28")
    small = space.network("small", block)
    size = ipaddress.ip_network(block).num_addresses
    evidence.case(f"twice as many refused pods as {block} has addresses, then one that may run")
    refused = space.batch(*["small,missing"] * 2 * size)
    assert not any(pod.runs for pod in refused)
    pod = space.pod("small")
    runs(pod, evidence)
    attached(pod, small)


@requirement("NPWG-7.2-d")
def test_what_a_pod_had_is_free_when_it_is_gone(space: Space, evidence: Evidence) -> None:
    block = space.subnet().replace("/24", "/29")
    small = space.network("small", block)
    evidence.case(f"pods in {block}, one after the other")
    for number in range(10):
        name = f"turn{number}"
        (pod,) = space.pods(**{name: "small"}).values()
        runs(pod, evidence)
        attached(pod, small)
        space.remove(name)


@requirement("NPWG-7.2-d")
def test_a_pod_of_the_same_name_starts_anew(space: Space, evidence: Evidence) -> None:
    a, b = space.network("a"), space.network("b")
    for text, networks in (("a", [a]), ("b,a", [b, a]), ("", [])):
        evidence.case(f"a pod p with {text!r}, after another one of that name")
        (pod,) = space.pods(p=text or None).values()
        runs(pod, evidence)
        attached(pod, *networks)
        space.remove("p")


def _gone_first(space: Space, network: Network, what: str) -> None:
    if what == "nad":
        named = {"metadata": {"name": network.name, "namespace": network.namespace}}
        space.bench.delete(resources.NADS, named)
    else:
        space.bench.delete(resources.NAMESPACES, {"metadata": {"name": network.namespace}})


@pytest.mark.parametrize("what", ["nad", "namespace"])
@requirement("NPWG-7.2-h", "NPWG-7.2-d")
def test_teardown_when_the_definition_has_gone(
    space: Space, selectable: Space, evidence: Evidence, what: str
) -> None:
    network = selectable.network("gone")
    evidence.case(f"the {what} of the network is deleted while a pod is in it; then the pod")
    (pod,) = space.pods(p=f"{selectable.namespace}/gone").values()
    runs(pod, evidence)
    attached(pod, network)
    _gone_first(space, network, what)
    space.remove("p")
    later = space.pod(None)
    runs(later, evidence)


@pytest.mark.alone("last-node")
@requirement("NPWG-7.2-f", "NPWG-7.2-d", "NPWG-7.2-h")
def test_a_teardown_that_fails_is_told_and_done_later(space: Space, evidence: Evidence) -> None:
    nodes = space.bench.target.nodes
    if len(nodes) < 2:
        pytest.skip("there is no second node to disturb")
    network = space.network("a")
    asked = selection(name="a", ips=[str(ipaddress.ip_network(network.subnets[0])[50])])
    can_ask = Feature.IPS in space.bench.target.claim.features
    evidence.case("a pod is deleted while the implementation is away from its node")
    wish = PodWish(asked if can_ask else "a", node=len(nodes) - 1)
    (pod,) = space.pods(p=wish).values()
    runs(pod, evidence)
    space.bench.target.take_down(nodes[-1])
    try:
        space.bench.delete(resources.PODS, pod.obj)
        told = space.told_or_gone("p")
        evidence.saw(told or "the pod is gone, and nobody said a word")
    finally:
        space.bench.target.bring_up(nodes[-1])
    space.bench.gone(space.namespace, ["p"])
    space.start(q=wish)
    again = space.running("q")
    runs(again, evidence)
    attached(again, network)
    assert told, "the teardown failed, and the pod was gone without a word"


@requirement("NPWG-7.3-b")
def test_many_pods_at_once(space: Space, evidence: Evidence) -> None:
    a, b = space.network("a"), space.network("b")
    evidence.case("24 pods with two networks each, created together")
    pods = space.batch(*["a,b"] * 24, limit_s=60.0, together=True)
    for pod in pods:
        runs(pod, evidence)
        attached(pod, a, b)
        if Feature.STATUS in space.bench.target.claim.features:
            assert list(pod.disagreements()) == []
    addresses = [text for pod in pods for one in pod.interfaces for text in one.addresses if ":" not in text]
    assert len(set(addresses)) == len(addresses), "an address was given twice"
    macs = [one.mac for pod in pods for one in pod.interfaces]
    assert len(set(macs)) == len(macs), "a MAC was given twice"


@requirement("NPWG-7.4-b")
def test_a_selection_that_is_not_allowed_fails_the_pod(
    space: Space, other: Space, evidence: Evidence
) -> None:
    own, foreign = space.network("own"), other.network("foreign")
    pod = with_control(space, evidence, f"own,{other.namespace}/{foreign.name}", own)
    is_refused(pod, evidence)
    evidence.saw(why(pod))
