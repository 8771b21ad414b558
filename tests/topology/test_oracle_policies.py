"""The oracle under network policies: what they close within a network, and why."""

from dataclasses import replace

import pytest

from topology.expectation import ExpectedInterface, ExpectedPod
from topology.expected_policies import ExpectedPolicies
from topology.graph import Reachability, plain

WEB, FRIEND, HOST = ("default/web", "default/friend", "host/vm")
LEFT = "default/left"


def interface(index, network, mode):
    nad = LEFT if network == "left" else ""
    name = f"eth{index}"
    return ExpectedInterface(index, name, f"02::{index}", network, ("d", "p", network), nad, 5, mode, ())


def pod(name, *interfaces):
    return ExpectedPod(name, name, "node1", interfaces)


PODS = (
    pod(WEB, interface(0, "net", "l3"), interface(1, "left", "l2_l3")),
    pod(FRIEND, interface(0, "net", "l3"), interface(1, "left", "l2_l3")),
    pod(HOST, interface(0, "net", "l3")),
)
ADDRESSES = {(WEB, "eth0"): ["10.0.0.1/8"], (FRIEND, "eth0"): ["10.0.0.2/8"], (HOST, "eth0"): ["10.0.0.3/8"]}
OBJECTS = [
    {
        "metadata": {"name": name, "namespace": "default", "uid": f"default/{name}", "labels": {"app": name}},
        "spec": {},
    }
    for name in ("web", "friend")
]


def policy(kind="NetworkPolicy", policy_for="", **spec):
    metadata = {"name": "p", "namespace": "default", "annotations": {}}
    if policy_for:
        metadata["annotations"]["k8s.v1.cni.cncf.io/policy-for"] = policy_for
    return {
        "kind": kind,
        "metadata": metadata,
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}} | spec,
    }


def lab(*policies):
    return Reachability(PODS, ADDRESSES, ExpectedPolicies(policies, OBJECTS, []))


def reaches(found, source, destination, name="eth0"):
    return {
        protocol
        for protocol in ("arp", "icmp", "udp", "tcp")
        if found.judge((source, name), (destination, name), protocol).must_reach
    }


ALL = {"arp", "icmp", "udp", "tcp"}


def test_without_policies_nothing_changes():
    assert lab().verdicts() == Reachability(PODS, ADDRESSES).verdicts()


def test_a_routed_networks_arp_is_worth_what_udp_is():
    assert reaches(lab(policy()), FRIEND, WEB) == set()
    assert reaches(lab(policy()), WEB, FRIEND) == ALL
    only_udp = policy(ingress=[{"ports": [{"protocol": "UDP", "port": 9}]}])
    assert reaches(lab(only_udp), FRIEND, WEB) == {"arp", "udp"}
    only_tcp = policy(ingress=[{"ports": [{"port": 1, "endPort": 9}]}])
    assert reaches(lab(only_tcp), FRIEND, WEB) == {"tcp"}


def test_a_bridged_networks_arp_is_no_business_of_policies():
    closed = lab(policy("MultiNetworkPolicy", "left"))
    assert reaches(closed, FRIEND, WEB, "eth1") == {"arp"}
    assert reaches(closed, FRIEND, WEB) == ALL
    verdict = closed.judge((FRIEND, "eth1"), (WEB, "eth1"), "udp")
    assert "ingress of default/web is closed by MultiNetworkPolicy default/p" in verdict.reason


@pytest.mark.parametrize(("cidr", "who"), [("10.0.0.3/32", {HOST}), ("10.0.0.2/31", {HOST, FRIEND})])
def test_blocks_are_held_against_the_addresses_that_were_seen(cidr, who):
    found = lab(policy(ingress=[{"from": [{"ipBlock": {"cidr": cidr}}]}]))
    assert {one for one in (HOST, FRIEND) if reaches(found, one, WEB)} == who


def test_a_host_is_no_pod_of_any_namespace():
    found = lab(policy(ingress=[{"from": [{"namespaceSelector": {}}]}]))
    assert reaches(found, FRIEND, WEB) == ALL
    assert reaches(found, HOST, WEB) == set()


def test_a_policy_that_can_not_be_understood_closes_nothing():
    assert reaches(lab(policy(ingress=[{"from": [{}]}])), FRIEND, WEB) == ALL


def test_of_arp_to_another_node_nothing_is_expected_where_policies_close_udp():
    two = (PODS[0], ExpectedPod(FRIEND, FRIEND, "node2", PODS[1].interfaces))
    for policies, expected in (((policy("MultiNetworkPolicy", "left"),), None), ((), True)):
        far = Reachability(two, ADDRESSES, ExpectedPolicies(policies, OBJECTS))
        assert far.judge((FRIEND, "eth1"), (WEB, "eth1"), "arp").must_reach is expected


def test_policies_stay_when_a_tunnel_dies_and_show_in_the_plain_form():
    found = lab(policy())
    two = (PODS[0], ExpectedPod(FRIEND, FRIEND, "node2", PODS[1].interfaces))
    far = Reachability(two, ADDRESSES, found.policies)
    left = next(tunnel for tunnel in far.tunnels() if tunnel.network == "left")
    assert plain(far.without_tunnel(left).verdicts())[FRIEND, "eth0", WEB, "eth0", "udp"] is False


def test_nothing_is_expected_of_an_echo_to_the_gateway_that_a_policy_of_the_pod_closes():
    first = pod(WEB, replace(interface(1, "left", "l2_l3"), services=(("gateway", "10.1.1.254"),)))
    closed, apart = (
        policy("MultiNetworkPolicy", "left", policyTypes=["Egress"]),
        policy(policyTypes=["Egress"]),
    )
    for found, expected in ((closed, None), (apart, True)):
        verdicts = Reachability([first], {}, ExpectedPolicies([found], OBJECTS, [])).services()
        assert {each.protocol: each.must_reach for each in verdicts} == {"arp": True, "icmp": expected}
