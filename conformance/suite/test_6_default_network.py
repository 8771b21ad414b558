"""Section 6: every pod is in the default network, first of all, and what it had before goes on working."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance import requirement
from conformance.bench import Bench, PodWish, Space
from conformance.evidence import Evidence
from conformance.oracles import Seen
from conformance.suite.judging import attached, leaves_nothing, runs, why
from conformance.target import Network


@requirement("NPWG-6-a", "NPWG-1.1.5-a")
@pytest.mark.parametrize("text", [None, "a", "a,b"])
def test_every_pod_is_in_the_default_network(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str | None
) -> None:
    evidence.case(text or "no annotation")
    pod = shared.pod(text)
    runs(pod, evidence)
    assert pod.pod_ips
    assert pod.default.up
    for network in (a, b):
        assert pod.default not in pod.within(network.subnets[0])


@requirement("NPWG-6-a")
def test_so_are_pods_of_every_namespace(space: Space, other: Space, evidence: Evidence) -> None:
    for one in (space, other):
        pod = one.pod(None)
        runs(pod, evidence)
        assert pod.default


@requirement("NPWG-6-c")
@pytest.mark.parametrize("text", [None, "a,b"])
def test_one_default_route_per_family_and_by_the_default_network(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str | None
) -> None:
    assert a != b
    evidence.case(text or "no annotation")
    pod = shared.pod(text)
    runs(pod, evidence)
    evidence.saw(f"IPv4 {pod.default_routes(4)}, IPv6 {pod.default_routes(6)}")
    for family in {ip.version for ip in pod.pod_ips}:
        assert [interface for interface, _ in pod.default_routes(family)] == [pod.default.interface]


@pytest.fixture(scope="module")
def neighbours(shared: Space, a: Network, b: Network) -> dict[str, Seen]:
    """Pods with and without networks, on as many nodes as may be."""
    assert a != b
    last = max(0, len(shared.bench.target.nodes) - 2)
    wishes = {
        "plain-here": PodWish(None, node=0),
        "plain-there": PodWish(None, node=last),
        "with-here": PodWish("a,b", node=0),
        "with-there": PodWish("a,b", node=last),
    }
    return dict(zip(wishes, shared.batch(*wishes.values()), strict=True))


@requirement("NPWG-6-d", "NPWG-6.1-b")
def test_pod_ips_reach_each_other(shared: Space, neighbours: dict[str, Seen], evidence: Evidence) -> None:
    evidence.case("four pods on two nodes, two of them with two networks each, by their pod IPs")
    for pod in neighbours.values():
        runs(pod, evidence)
    ends = [(pod, pod.default.interface) for pod in neighbours.values()]
    seen = shared.probe(((one, two) for one in ends for two in ends if one is not two), ("icmp", "tcp"))
    wrong = [f"{one.source} to {one.destination} {one.protocol}: {one.outcome}" for one in seen]
    evidence.saw(wrong)
    assert [one for one in seen if one.outcome != "reached"] == []


@requirement("NPWG-6.2-a")
@pytest.mark.parametrize("text", ["a", "a,b", "b,a,b"])
def test_the_default_network_is_attached_first(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str
) -> None:
    assert a != b
    evidence.case(text)
    pod = shared.pod(text)
    runs(pod, evidence)
    indexes = {one.interface: one.ifindex for one in pod.interfaces}
    evidence.saw(f"indexes of the kernel: {indexes}")
    assert min(indexes, key=lambda name: indexes[name]) == pod.default.interface


@pytest.fixture
def dark_node(bench: Bench) -> Iterator[int]:
    """The last node, on which the implementation is not available until :func:`light` is called."""
    if len(bench.target.nodes) < 2:
        pytest.skip("there is no second node to disturb")
    node = bench.target.nodes[-1]
    bench.target.take_down(node)
    try:
        yield len(bench.target.nodes) - 1
    finally:
        bench.target.bring_up(node)


@pytest.mark.alone("last-node")
@requirement("NPWG-6.1.2-b", "NPWG-6.1-b")
def test_nothing_is_attached_until_the_node_is_ready(
    space: Space, dark_node: int, evidence: Evidence
) -> None:
    network = space.network("a")
    evidence.case("a pod on a node where the implementation is not there yet")
    space.start(early=PodWish("a", node=dark_node))
    (early,) = space.settled("early", limit_s=3.0).values()
    evidence.saw(f"runs with {early.summary()}" if early.runs else f"waits: {why(early)}")
    assert not early.runs, f"runs while the implementation is away: {early.summary()}"
    leaves_nothing(early, evidence)
    space.bench.target.bring_up(space.bench.target.nodes[dark_node])
    later = space.running("early")
    runs(later, evidence)
    attached(later, network)
