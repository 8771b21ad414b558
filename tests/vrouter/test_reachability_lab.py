"""What pods can reach, in the kernel: same node, other node, isolation, MTU, the gateway's MAC."""

from __future__ import annotations

import json
import subprocess

import pytest

pytestmark = pytest.mark.lab


def address(interfaces, index=0):
    return interfaces[index].addresses[0].address


def shown(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def neighbours(namespace, where):
    done = subprocess.run(
        ["ip", "-n", namespace, "-j", "neigh", "show", where], capture_output=True, text=True, check=True
    )
    return {entry["dst"]: entry.get("lladdr") for entry in json.loads(done.stdout)} if done.stdout else {}


async def three_pods(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    a = await lab.run(one, "a", ["default", "red", "blue"])
    b = await lab.run(one, "b", ["default", "red"])
    c = await lab.run(two, "c", ["default", "red"])
    return a[1], b[1], c[1]


async def test_pods_reach_each_other_on_one_node_and_across(lab):
    _, b, c = await three_pods(lab)
    for target, hops in ((b, 1), (c, 2)):
        reached, said = lab.ping("a", address(target))
        assert reached, said
        assert f"ttl={64 - hops}" in said  # the default network is routed
        reached, said = lab.ping("a", address(target, 1))
        assert reached, said
        assert "ttl=64" in said  # a NAD's network is bridged


async def test_networks_are_isolated(lab):
    await lab.node("node1").sync()
    node = lab.nodes["node1"]
    other = lab.node("node2")
    await other.sync()
    await lab.run(node, "a", ["default", "red"])
    b = await lab.run(node, "b", ["default", "blue"])
    c = await lab.run(other, "c", ["default", "blue"])
    assert lab.ping("b", address(c[1], 1))[0]  # the control: blue works across nodes
    for target in (b, c):
        reached, said = lab.ping("a", address(target[1], 1), "-I", "eth1", wait_s=1)
        assert not reached, said
        # Nobody even answered: neither the other network's pod nor the node in its name.
        assert neighbours("a", address(target[1], 1)).get(address(target[1], 1)) is None
    reached, said = lab.ping("a", "100.64.0.11", "-I", "eth1", wait_s=1)
    assert not reached, said


async def test_the_gateway_answers_with_the_routers_mac(lab):
    a, b, _ = await three_pods(lab)
    assert lab.ping("a", "10.47.255.254")[0]
    assert lab.ping("a", "10.47.255.253")[0]
    assert neighbours("a", "10.47.255.254") == {"10.47.255.254": "00:00:5e:00:01:00"}
    assert lab.ping("a", address(b))[0]
    assert neighbours("a", address(b)) == {address(b): "00:00:5e:00:01:00"}
    assert lab.ping("a", address(b, 1))[0]
    assert neighbours("a", address(b, 1)) == {address(b, 1): b[1].mac}
    routes = shown("ip", "-n", "a", "route")
    assert routes.count("default") == 1
    assert "default via 10.47.255.254 dev eth0" in routes
    assert a[0].interface == "eth0"


async def test_nodes_and_pods_reach_each_other_over_the_default_network(lab):
    a, _, c = await three_pods(lab)
    for node in ("node1", "node2"):
        for target in (a, c):
            reached, said = lab.ping(node, address(target))
            assert reached, f"{node}: {said}"
    for target in ("100.64.0.11", "100.64.0.12"):
        assert lab.ping("a", target)[0]


async def test_the_largest_packet_crosses_the_tunnel_and_one_more_byte_does_not(lab):
    _, _, c = await three_pods(lab)
    for index in (0, 1):
        reached, said = lab.ping("a", address(c, index), "-M", "do", "-s", str(1500 - 28))
        assert reached, said
        reached, _ = lab.ping("a", address(c, index), "-M", "do", "-s", str(1500 - 27), wait_s=1)
        assert not reached


async def test_members_that_come_and_go_are_followed(lab):
    a, b, _ = await three_pods(lab)
    one, two = lab.nodes["node1"], lab.nodes["node2"]
    assert lab.ping("c", address(b, 1))[0]
    code, _ = await one.call("DEL", "c-b", "b")
    assert code == 0
    for interface in b:
        lab.cluster.tell("interface", None, interface.to_object())
    moved = await lab.run(two, "b2", ["default", "red"])
    assert lab.ping("a", address(moved[1], 1))[0]
    assert lab.ping("a", address(moved[1]))[0]
    assert not lab.ping("a", address(b, 1), wait_s=1)[0]
    fdb = shown("bridge", "-n", "node2", "fdb")
    assert a[1].mac in fdb
    assert b[1].mac not in fdb
