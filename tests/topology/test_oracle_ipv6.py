"""The oracle over IPv6: which cells there are, what neighbour discovery is worth, policies of its blocks."""

from __future__ import annotations

from topology.expectation import ExpectedInterface, ExpectedPod
from topology.expected_policies import ExpectedPolicies
from topology.graph import Reachability

SIX = ("nd", "icmp6", "udp6", "tcp6")
ALL = ("arp", "icmp", "udp", "tcp", *SIX)


def interface(index, network, mode, *subnets, **more):
    nad = "" if index == 0 else f"default/{network}"
    names = f"eth{index}", f"02::{index}", network, ("d", "p", network), nad, 5, mode
    return ExpectedInterface(index, *names, subnets, **more)


def pod(name, *interfaces, node="node1"):
    return ExpectedPod(f"default/{name}", f"default/{name}", node, interfaces)


DUAL = ("10.0.0.0/8", "fd00::/64")
A, B, C = ("default/a", "default/b", "default/c")
PODS = (
    pod("a", interface(0, "net", "l3", *DUAL), interface(1, "both", "l2_l3", "10.1.0.0/24", "fd00:1::/64")),
    pod(
        "b",
        interface(0, "net", "l3", *DUAL),
        interface(1, "both", "l2_l3", "10.1.0.0/24", "fd00:1::/64"),
        node="n2",
    ),
    pod("c", interface(0, "net", "l3", *DUAL), interface(1, "four", "l2_l3", "10.2.0.0/24")),
)
ADDRESSES = {
    (A, "eth0"): ["10.0.0.1/8", "fd00::1/64", "fe80::1/64"],
    (B, "eth0"): ["10.0.0.2/8", "fd00::2/64"],
    (C, "eth0"): ["10.0.0.3/8", "fd00::3/64"],
}


def found(*policies):
    metadata = [
        {"name": n[-1], "namespace": "default", "uid": n, "labels": {"app": n[-1]}} for n in (A, B, C)
    ]
    objects = [{"metadata": each, "spec": {}} for each in metadata]
    return Reachability(PODS, ADDRESSES, ExpectedPolicies(policies, objects, []))


def test_cells_of_ipv6_are_between_interfaces_that_have_it():
    verdicts = found().verdicts(ALL)
    ends = {(each.source, each.destination) for each in verdicts if each.protocol in SIX}
    assert not any((C, "eth1") in pair for pair in ends)
    assert ((A, "eth1"), (C, "eth0")) in ends
    assert len(verdicts) == 6 * 5 * 4 + 5 * 4 * 4


def test_a_network_of_ipv6_alone_has_no_cells_of_ipv4():
    six = interface(1, "six", "l2_l3", "fd00:6::/64")
    pods = [pod(name, interface(0, "net", "l3", "10.0.0.0/8"), six) for name in "ab"]
    verdicts = Reachability(pods).verdicts(ALL)
    by_pair = {(each.source[1], each.destination[1]): set() for each in verdicts}
    for each in verdicts:
        by_pair[each.source[1], each.destination[1]].add(each.protocol)
    assert by_pair == {("eth0", "eth0"): {"arp", "icmp", "udp", "tcp"}, ("eth1", "eth1"): set(SIX)}
    assert all(each.must_reach for each in verdicts)


def test_neighbours_are_found_where_nodes_bridge_and_the_gateway_where_they_route():
    judged = found().judge
    bridged = {each: judged((A, "eth1"), (B, "eth1"), each).must_reach for each in SIX}
    assert bridged == dict.fromkeys(SIX, True)
    routed = {each: judged((A, "eth0"), (B, "eth0"), each) for each in SIX}
    assert {each: verdict.must_reach for each, verdict in routed.items()} == {
        "nd": None, "icmp6": True, "udp6": True, "tcp6": True,
    }  # fmt: skip
    assert "(fd00::1 to fd00::2)" in routed["udp6"].reason
    apart = {each: judged((A, "eth1"), (B, "eth0"), each).must_reach for each in SIX}
    assert apart == dict.fromkeys(SIX, False)


def test_blocks_of_policies_are_held_against_the_addresses_of_their_family():
    policy = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "b"}},
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "fd00::/64", "except": ["fd00::3/128"]}}]},
                {"from": [{"ipBlock": {"cidr": "10.0.0.3/32"}}]},
            ],
        },
    }
    closed = found(policy)
    target = (B, "eth0")
    reached = {
        source: {each for each in ALL if closed.judge((source, "eth0"), target, each).must_reach}
        for source in (A, C)
    }
    assert reached == {A: {"icmp6", "udp6", "tcp6"}, C: {"arp", "icmp", "udp", "tcp"}}


def test_gateways_of_both_families_are_asked():
    services = (("gateway", "10.0.0.254"), ("gateway6", "fd00::fe"))
    only = Reachability([pod("a", interface(0, "net", "l3", *DUAL, services=services))])
    asked = {(each.destination[1], each.protocol, each.address) for each in only.services(ALL)}
    assert asked == {
        ("gateway", "arp", "10.0.0.254"),
        ("gateway", "icmp", "10.0.0.254"),
        ("gateway6", "nd", "fd00::fe"),
        ("gateway6", "icmp6", "fd00::fe"),
    }
