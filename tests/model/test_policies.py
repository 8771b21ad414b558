"""NetworkPolicy as its API describes it, case by case."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from multinet.errors import InputError
from multinet.model.labels import LabelSelector
from multinet.model.policies import Member, Policy, PolicyError, Traffic, allows, named_ports

CLIENT = {"podSelector": {"matchLabels": {"role": "client"}}}


def member(name, address, namespace="default", nad="", network="net", ports=(), **labels):
    return Member(
        pod=f"{namespace}/{name}",
        namespace=namespace,
        labels=labels,
        namespace_labels={"kubernetes.io/metadata.name": namespace},
        network=network,
        nad=nad,
        addresses=tuple(map(ip_address, address.split(","))),
        named_ports=frozenset(ports),
    )


WEB = member("web", "10.0.0.1", app="web", ports=[("http", "TCP", 80), ("dns", "UDP", 53)])
FRIEND = member("friend", "10.0.0.2", role="client")
STRANGER = member("stranger", "10.0.0.3")
ABROAD = member("abroad", "10.0.1.4", namespace="other", role="client")


def policy(namespace="default", kind="NetworkPolicy", policy_for="", **spec):
    annotations = {"k8s.v1.cni.cncf.io/policy-for": policy_for} if policy_for else {}
    metadata = {"name": "p", "namespace": namespace, "annotations": annotations}
    return Policy.of({"kind": kind, "metadata": metadata, "spec": {"podSelector": {}} | spec})


def may(policies, source, destination, protocol="TCP", number=80):
    return allows(policies, Traffic(source, destination, protocol, number)).allowed


def test_without_a_policy_everything_is_open():
    assert may([], STRANGER, WEB)
    assert may([policy("other")], STRANGER, WEB)
    assert may([policy(podSelector={"matchLabels": {"app": "db"}})], STRANGER, WEB)


def test_a_selected_pod_is_closed_in_the_policys_directions_alone():
    closed = policy()
    assert not may([closed], STRANGER, WEB)
    assert "ingress of default/web is closed by NetworkPolicy default/p" in str(
        allows([closed], Traffic(STRANGER, WEB, "TCP", 80))
    )
    only_web = policy(podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"])
    assert may([only_web], STRANGER, WEB)
    assert not may([only_web], WEB, STRANGER)


def test_rules_add_up_also_those_of_several_policies():
    one = policy(ingress=[{"from": [CLIENT], "ports": [{"port": 80}]}])
    two = policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.3/32"}}]}])
    assert [may([one], source, WEB) for source in (FRIEND, STRANGER)] == [True, False]
    assert [may([one, two], source, WEB) for source in (FRIEND, STRANGER)] == [True, True]
    assert not may([one], FRIEND, WEB, number=81)
    assert not may([one], FRIEND, WEB, "ICMP", None)
    assert may([two], STRANGER, WEB, "ICMP", None)


def test_an_empty_rule_is_everybody_and_no_rule_nobody():
    assert may([policy(ingress=[{}])], STRANGER, WEB, "ICMP", None)
    assert not may([policy(ingress=[])], STRANGER, WEB)


def test_a_pod_selector_means_the_policys_namespace_a_namespace_selector_others():
    everywhere = {"namespaceSelector": {}}
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
    assert not may([policy(ingress=[{"from": [CLIENT]}])], ABROAD, WEB)
    assert may([policy(ingress=[{"from": [everywhere]}])], ABROAD, WEB)
    assert may([policy(ingress=[{"from": [there | CLIENT]}])], ABROAD, WEB)
    assert not may([policy(ingress=[{"from": [there | CLIENT]}])], FRIEND, WEB)
    both = policy(ingress=[{"from": [there, {"podSelector": {}}]}])
    assert may([both], ABROAD, WEB)
    assert may([both], STRANGER, WEB)


def test_a_host_that_is_no_pod_is_meant_by_blocks_only():
    host = member("host", "10.0.0.9", namespace="")
    assert not may([policy(ingress=[{"from": [{"namespaceSelector": {}}]}])], host, WEB)
    assert may([policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])], host, WEB)


def test_a_block_has_exceptions():
    block = {"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.0.0/24"]}}
    open_to = policy(ingress=[{"from": [block]}])
    assert may([open_to], ABROAD, WEB)
    assert not may([open_to], STRANGER, WEB)


def test_ports_by_number_range_and_name_of_the_destination():
    web = {"matchLabels": {"app": "web"}}
    ranged = policy(podSelector=web, ingress=[{"ports": [{"port": 100, "endPort": 200}]}])
    assert [may([ranged], FRIEND, WEB, number=n) for n in (99, 100, 200, 201)] == [False, True, True, False]
    named = policy(ingress=[{"ports": [{"port": "http"}]}], podSelector=web)
    assert [may([named], FRIEND, WEB, number=n) for n in (80, 53)] == [True, False]
    out = policy(egress=[{"ports": [{"port": "dns", "protocol": "UDP"}]}], policyTypes=["Egress"])
    assert may([out], FRIEND, WEB, "UDP", 53)
    assert not may([out], WEB, FRIEND, "UDP", 53)
    udp = policy(podSelector=web, ingress=[{"ports": [{"protocol": "UDP"}]}])
    assert may([udp], FRIEND, WEB, "UDP", 9999)
    assert not may([udp], FRIEND, WEB, "TCP", 80)


def test_both_ends_decide():
    out = policy(podSelector=CLIENT["podSelector"], policyTypes=["Egress"])
    in_ = policy(podSelector={"matchLabels": {"app": "web"}}, ingress=[{}])
    assert not may([out, in_], FRIEND, WEB)
    assert may([in_], FRIEND, WEB)


def test_a_multi_network_policy_is_about_the_networks_it_names():
    left = policy(kind="MultiNetworkPolicy", policy_for="left, other/right")
    sides = {nad: member("web", "10.1.1.1", nad=nad) for nad in ("default/left", "other/right", "default/x")}
    assert [may([left], STRANGER, one) for one in sides.values()] == [False, False, True]
    assert may([left], STRANGER, WEB)
    assert may([policy(kind="MultiNetworkPolicy")], STRANGER, sides["default/left"])
    assert may([policy()], STRANGER, sides["default/left"])


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]"),
        ({"policyTypes": ["Up"]}, "spec.policyTypes"),
        ({"egress": [{"ports": [{"port": 0}]}]}, "spec.egress[0].ports[0]"),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "matchExpressions[0].values",
        ),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "ten"}}]}]}, "spec"),
    ],
)
def test_what_can_not_be_understood_is_named(spec, where):
    with pytest.raises(PolicyError) as caught:
        policy(**spec)
    assert where in caught.value.where
    assert "NetworkPolicy default/p can't be understood" in caught.value.what


def test_named_ports_are_the_containers():
    ports = [{"name": "http", "containerPort": 80}, {"containerPort": 1}, {"name": "q", "protocol": "UDP"}]
    assert named_ports({"spec": {"containers": [{"ports": ports}]}}) == {("http", "TCP", 80)}


@pytest.mark.parametrize(
    ("operator", "values", "matching"),
    [
        ("In", ["a", "b"], [True, False, False]),
        ("NotIn", ["a"], [False, True, True]),
        ("Exists", [], [True, True, False]),
        ("DoesNotExist", [], [False, False, True]),
    ],
)
def test_label_expressions(operator, values, matching):
    selector = LabelSelector.of(
        {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}, ""
    )
    assert [selector.matches(labels) for labels in ({"k": "a"}, {"k": "c"}, {})] == matching


def test_a_selector_is_a_map():
    with pytest.raises(InputError, match="a selector is a map"):
        LabelSelector.of([], "spec.podSelector")
