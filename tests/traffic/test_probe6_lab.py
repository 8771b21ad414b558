"""The prober over IPv6: neighbours, gateways, isolation with a control, and what can't be told."""

from __future__ import annotations

import pytest

from traffic import frames, matrix
from traffic.probe import Prober, ordered_pairs

pytestmark = pytest.mark.lab
ALL = (*frames.PROTOCOLS, *frames.PROTOCOLS6)


def add6(net, pod, interface, address):
    """An IPv6 address, usable at once; the pods of these tests have it switched off by default."""
    net.sysctl(pod, f"net.ipv6.conf.{interface}.accept_dad=0")
    net.sysctl(pod, f"net.ipv6.conf.{interface}.disable_ipv6=0")
    net.ip("-n", pod, "address", "add", address, "dev", interface, "nodad")


def outcomes(found, source, destination):
    """By protocol, of one pair."""
    return {
        one.protocol: one.outcome
        for one in found
        if (one.source_interface, one.destination_interface) == (source, destination)
        and (one.source, one.destination) == ("default/a", "default/b")
    }


@pytest.fixture
def pods(net):
    """Pods a and b on red (eth1) and blue (eth2), both families; and the switch's port of each interface."""
    made, ports = [net.pod("a"), net.pod("b")], {}
    for number, bridge in ((1, "red"), (2, "blue")):
        net.bridge(bridge)
        for host, pod in enumerate(made, start=1):
            ports[pod, f"eth{number}"] = net.wire(pod, f"eth{number}", f"10.{number}.0.{host}/24", bridge)
            add6(net, pod, f"eth{number}", f"fd00:{number}::{host}/64")
    return made, ports


def test_one_network_is_reached_and_another_is_not_with_a_control(net, pods):
    (a, b), ports = pods
    endpoints = net.endpoints(a, b)
    pairs = [pair for pair in ordered_pairs(one.place for one in endpoints) if pair[0][0] != pair[1][0]]
    expectation = {
        (*source, *destination, protocol): source[1] == destination[1]
        for source, destination in pairs
        for protocol in ALL
    }
    wanted = {key for key, reached in expectation.items() if reached}
    found = Prober(endpoints, control_netns=net.control).run(pairs, ALL, expected=wanted)
    assert outcomes(found, "eth1", "eth1") == dict.fromkeys(ALL, "reached")
    across = outcomes(found, "eth1", "eth2")
    assert [across[each] for each in ("icmp6", "udp6", "tcp6")] == ["not-reached"] * 3
    assert all(one.control for one in found)
    result = matrix.build(found, expectation)
    assert result.verdict == "pass", [cell.text for cell in result.cells if cell.verdict != "pass"]
    assert result.protocols == ALL
    # A wiring error of one interface is found in both families.
    net.ip("-n", net.switch, "link", "set", ports[b, "eth2"], "master", "red")
    leaky = Prober(endpoints, control_netns=net.control).run(pairs, ALL, expected=set())
    assert outcomes(leaky, "eth1", "eth2")["udp6"] == "reached"
    failed = {cell.protocol for cell in matrix.build(leaky, expectation).cells if cell.verdict == "fail"}
    assert {"nd", "icmp6", "udp6", "tcp6"} <= failed


def test_only_what_is_asked_for_is_probed_and_no_address_is_unknown(net, pods):
    (a, b), _ = pods
    net.ip("-n", b, "-6", "address", "flush", "dev", "eth1")
    endpoints = [one for one in net.endpoints(a, b) if one.interface == "eth1"]
    pair = (("default/a", "eth1"), ("default/b", "eth1"))
    only = {(*pair[0], *pair[1], protocol) for protocol in ("udp", "nd", "tcp6")}
    found = Prober(endpoints, control_netns=net.control).run([pair], ALL, expected=only, only=only)
    told = {one.protocol: (one.outcome, one.reason) for one in found}
    assert told == {
        "udp": ("reached", ""),
        "nd": ("unknown", "no-address"),
        "tcp6": ("unknown", "no-address"),
    }
    result = matrix.build(found, dict.fromkeys(only, True))
    assert {cell.protocol for cell in result.cells if cell.verdict == "fail"} == {"nd", "tcp6"}
    assert all("default/b/eth1" in one.detail for one in found if one.reason)


def test_other_subnets_are_reached_by_the_gateway(net):
    a, b = net.pod("a"), net.pod("b")
    for number, (pod, bridge) in enumerate(((a, "red"), (b, "blue")), start=1):
        net.bridge(bridge)
        net.wire(pod, "eth1", f"10.{number}.0.1/24", bridge)
        add6(net, pod, "eth1", f"fd00:{number}::1/64")
        add6(net, net.switch, bridge, f"fd00:{number}::fe/64")
        net.ip("-n", pod, "-6", "route", "add", "default", "via", f"fd00:{number}::fe")
    pair = (("default/a", "eth1"), ("default/b", "eth1"))
    endpoints = net.endpoints(a, b)
    prober = Prober(endpoints, control_netns=net.control)
    protocols = ("icmp6", "udp6", "tcp6")
    cut = prober.run([pair], protocols, expected=set())
    assert {one.outcome for one in cut} == {"not-reached"}
    net.sysctl(net.switch, "net.ipv6.conf.all.forwarding=1")
    wanted = {(*pair[0], *pair[1], protocol) for protocol in protocols}
    found = prober.run([pair], protocols, expected=wanted, window_s=2)
    assert {one.outcome for one in found} == {"reached"}, [one.detail for one in found]
    assert all("by way of the gateway" in one.detail for one in found)
