"""Section 4.1.2.1.9: the attachment that carries the pod's default route."""

from __future__ import annotations

import pytest

from conformance import requirement
from conformance.bench import Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen
from conformance.suite.judging import expect_attached, runs, shown
from conformance.target import Network


def gateway(network: Network, number: int = 9) -> str:
    return f"{network.subnets[0].rpartition('.')[0]}.{number}"


def routed(space: Space, evidence: Evidence, network: Network, gateways: list[str]) -> Seen:
    pod = expect_attached(
        space, evidence, selection({"name": network.name, "default-route": gateways}), network
    )
    evidence.saw(f"default routes {pod.default_routes(4)} {pod.default_routes(6)}; {pod.summary()}")
    return pod


@requirement("NPWG-4.1.2.1.9-a", "NPWG-4.1.2.1.9-e")
def test_the_selected_attachment_has_the_default_route(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = routed(shared, evidence, a, [gateway(a)])
    (selected,) = pod.within(a.subnets[0])
    assert pod.default_routes() == ((selected.interface, gateway(a)),)


@pytest.mark.parametrize("first", [True, False])
@requirement("NPWG-4.1.2.1.9-a", "NPWG-4.1.2.1.9-e")
def test_only_the_selected_one_among_several(
    shared: Space, a: Network, b: Network, evidence: Evidence, first: bool
) -> None:
    elements = [{"name": "a", "default-route": [gateway(a)]}, {"name": "b"}]
    pod = expect_attached(shared, evidence, selection(*(elements if first else reversed(elements))), a, b)
    (selected,) = pod.within(a.subnets[0])
    assert pod.default_routes() == ((selected.interface, gateway(a)),)


@requirement("NPWG-4.1.2.1.9-d")
def test_an_empty_list(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = routed(shared, evidence, a, [])
    evidence.ambiguous(f"default routes {pod.default_routes()}, default network on {pod.default.interface}")


@requirement("NPWG-4.1.2.1.9-g")
def test_several_gateways(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = routed(shared, evidence, a, [gateway(a), gateway(a, 10)])
    (selected,) = pod.within(a.subnets[0])
    routes = pod.default_routes()
    assert routes
    assert set(routes) <= {(selected.interface, gateway(a)), (selected.interface, gateway(a, 10))}


@requirement("NPWG-4.1.2.1.9-a", "NPWG-4.1.2.1.9-e")
def test_both_families(space: Space, evidence: Evidence) -> None:
    dual = space.network("dual", space.subnet(), space.subnet6())
    six = dual.subnets[1].replace("::/64", "::9")
    pod = routed(space, evidence, dual, [gateway(dual), six])
    (selected,) = pod.within(dual.subnets[0])
    assert pod.default_routes(4) == ((selected.interface, gateway(dual)),)
    assert pod.default_routes(6) == ((selected.interface, six),)


@requirement("NPWG-4.1.2.1.9-f")
def test_a_gateway_of_one_family_in_a_network_of_two(space: Space, evidence: Evidence) -> None:
    dual = space.network("dual", space.subnet(), space.subnet6())
    pod = routed(space, evidence, dual, [gateway(dual)])
    evidence.ambiguous(f"IPv4 {pod.default_routes(4)}, IPv6 {pod.default_routes(6)}")


@requirement("NPWG-4.1.2.1.9-i")
def test_other_pods_are_reached_all_the_same(space: Space, evidence: Evidence) -> None:
    a = space.network("a")
    pods = space.pods(
        routed=selection({"name": "a", "default-route": [gateway(a)]}), plain=None, neighbour=None
    )
    evidence.case("a pod whose default route is in another network, and two plain ones, by their pod IPs")
    for pod in pods.values():
        runs(pod, evidence)
    moved = (pods["routed"], pods["routed"].default.interface)
    pairs = [
        pair
        for name in ("plain", "neighbour")
        for other in [(pods[name], pods[name].default.interface)]
        for pair in ((moved, other), (other, moved))
    ]
    seen = space.probe(pairs)
    evidence.saw([f"{one.source} to {one.destination}: {one.outcome}" for one in seen])
    assert all(one.outcome == "reached" for one in seen), shown(pods["routed"])


@requirement("NPWG-5.3.6.4-a")
def test_status_tells_the_gateways(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = routed(shared, evidence, a, [gateway(a)])
    (entry,) = pod.entries_of(a.namespace, a.name)
    evidence.saw(entry)
    at_the_top, below_dns = entry.get("default-route"), (entry.get("dns") or {}).get("default-route")
    assert [gateway(a)] in (at_the_top, below_dns)
    assert not any(one.get("default-route") for one in pod.entries if one != entry)
