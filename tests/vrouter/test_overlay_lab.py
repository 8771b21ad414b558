"""The overlay: what crosses between nodes and what does not, and members that come, go and are cut off."""

from __future__ import annotations

import itertools
import socket
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

pytestmark = pytest.mark.lab

ALL = "ff:ff:ff:ff:ff:ff"
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_serial = itertools.count()


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def drained(heard):
    while True:
        try:
            yield heard.recv(4096)
        except BlockingIOError:
            return


def crossings(heard):
    """What crossed the underlay inside VXLAN since the last look: ethertypes, with the ICMPv6 type."""
    found = []
    for frame in drained(heard):
        if frame[12:14] == b"\x08\0" and frame[23] == socket.IPPROTO_UDP and frame[36:38] == b"\x12\xb5":
            inner = frame[50:]
            kind = int.from_bytes(inner[12:14])
            found.append((kind, inner[54] if kind == _IPV6 and inner[20] == socket.IPPROTO_ICMPV6 else 0))
    return found


def addresses(decided, index=1):
    return [item.address for item in decided[1][index].addresses]


async def members(lab, **nets):
    """Two nodes, a and b on the first, c on the second, x of another network on both."""
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    return {
        "a": await lab.run(one, "a", ["default", "dual"], **nets),
        "b": await lab.run(one, "b", ["default", "dual"]),
        "c": await lab.run(two, "c", ["default", "dual"]),
        "x": await lab.run(one, "x", ["default", "dual2"]),
        "y": await lab.run(two, "y", ["default", "dual2"]),
    }


async def test_requests_for_known_addresses_are_answered_here(lab):
    pods = await members(lab)
    heard = lab.listen("node1", "eth0")
    for source, target in (("a", "c"), ("c", "a"), ("b", "c"), ("a", "b")):
        for address in addresses(pods[target]):
            reached, said = lab.ping(source, address)
            assert reached, said
    kinds = crossings(heard)
    assert {kind for kind, _ in kinds} == {_IPV4, _IPV6}  # echoes, and no ARP
    assert not {number for kind, number in kinds if kind == _IPV6} & {135, 136}
    # The control: nobody has these, so everybody is asked.
    for unknown in ("10.1.2.77", "fd00:1:2::77"):
        assert not lab.ping("a", unknown, wait_s=1)[0]
    kinds = crossings(heard)
    assert (_ARP, 0) in kinds
    assert (_IPV6, 135) in kinds


async def test_an_address_that_moves_is_followed(lab):
    pods = await members(lab)
    one, two = lab.nodes["node1"], lab.nodes["node2"]
    machine, interfaces = pods["c"]
    (v4, v6), mac = addresses(pods["c"]), interfaces[1].mac
    bridge = "br-66"
    entry = f"{v4} lladdr {mac} PERMANENT"
    assert entry in run("ip", "-n", "node1", "neigh", "show", "dev", bridge)
    assert v6 in run("ip", "-n", "node1", "-6", "neigh", "show", "dev", bridge)
    # The object goes first, the interface later: what is said of the address last counts.
    lab.cluster.gone(machine, interfaces)
    for node in (one, two):
        await node.agent.reconcile(0x66)
    assert v4 not in run("ip", "-n", "node1", "neigh", "show", "dev", bridge)
    assert v4 in run("ip", "-n", "node2", "neigh", "show", "dev", bridge)
    assert (await two.call("DEL", "c-c", "c"))[0] == 0
    await two.datapath.settled()
    assert bridge not in two.links()


async def test_broadcast_and_multicast_reach_all_members_on_all_nodes_and_nobody_else(lab):
    pods = await members(lab)
    ears = {(pod, f"eth{index}"): lab.listen(pod, f"eth{index}") for pod in "abcxy" for index in (0, 1)}
    nodes = {(node, "eth0"): lab.listen(node, "eth0") for node in ("node1", "node2")}
    mac = pods["a"][1][1].mac
    v4, v6 = addresses(pods["a"])
    own = {
        "limited broadcast": Ether(src=mac, dst=ALL) / IP(src=v4, dst="255.255.255.255") / UDP(),
        "directed broadcast": Ether(src=mac, dst=ALL) / IP(src=v4, dst="10.1.2.255") / UDP(),
        "IPv4 multicast": Ether(src=mac, dst="01:00:5e:01:02:03") / IP(src=v4, dst="224.1.2.3") / UDP(),
        "IPv6 multicast": Ether(src=mac, dst="33:33:00:00:12:34") / IPv6(src=v6, dst="ff05::1234") / UDP(),
        "ARP for nobody": Ether(src=mac, dst=ALL) / ARP(hwsrc=mac, psrc=v4, pdst="10.1.2.88"),
        "ND for nobody": Ether(src=mac, dst="33:33:ff:00:00:88")
        / IPv6(src=v6, dst="ff02::1:ff00:88")
        / ICMPv6ND_NS(tgt="fd00:1:2::88"),
        "another protocol": Ether(src=mac, dst=ALL, type=0x88B5),
    }
    sender = lab.listen("a", "eth1")
    for name, frame in own.items():
        mark = f"flood{next(_serial):08d}".encode()
        sender.send(bytes(frame / Raw(mark)))
        assert lab.ping("b", addresses(pods["c"])[0])[0]  # later than the frame, by the same tunnel
        heard = {where for where, ear in ears.items() if any(mark in data for data in drained(ear))}
        assert heard - {("a", "eth1")} == {("b", "eth1"), ("c", "eth1")}, name
        copies = {where: sum(mark in data for data in drained(ear)) for where, ear in nodes.items()}
        assert copies == {("node1", "eth0"): 1, ("node2", "eth0"): 1}, name


async def test_unicast_goes_to_its_owner_and_to_an_unknown_mac_nowhere(lab):
    pods = await members(lab)
    vnf = await lab.run(lab.nodes["node1"], "v", ["default", "dual"], secured=False)
    ears = {pod: lab.listen(pod, "eth1") for pod in "bcv"}
    underlay = lab.listen("node1", "eth0")
    sender = lab.listen("a", "eth1")
    mac, v4 = pods["a"][1][1].mac, addresses(pods["a"])[0]
    owners = {"b": pods["b"][1][1].mac, "c": pods["c"][1][1].mac, "v": vnf[1][1].mac}
    for owner, target in (*owners.items(), ("", "02:00:00:00:00:77")):
        mark = f"single{next(_serial):07d}".encode()
        frame = Ether(src=mac, dst=target) / IP(src=v4, dst="10.1.2.9") / UDP() / Raw(mark)
        sender.send(bytes(frame))
        assert lab.ping("a", addresses(pods["c"])[0])[0]
        heard = {pod for pod, ear in ears.items() if any(mark in data for data in drained(ear))}
        # A pod that may use other MACs than its own hears what is for a MAC that nobody is known to have.
        assert heard == ({owner} if owner else {"v"}), target
        assert any(mark in data for data in drained(underlay)) == (owner == "c")


async def test_nodes_that_join_leave_and_are_cut_off(lab):
    pods = await members(lab)
    one, two = lab.nodes["node1"], lab.nodes["node2"]
    c4, c6 = addresses(pods["c"])
    three = lab.node("node3")
    await three.sync()
    d = await lab.run(three, "d", ["default", "dual"])
    for source, target in itertools.permutations("acd", 2):
        for address in addresses({**pods, "d": d}[target]):
            assert lab.ping(source, address)[0], f"{source} to {target}"
    # The underlay of node2 is cut; meanwhile a pod comes and one goes on node1.
    run("ip", "link", "set", "f-node2", "down")
    for address in (c4, c6, addresses(pods["c"], 0)[0]):
        assert not lab.ping("a", address, wait_s=1)[0]
    e = await lab.run(one, "e", ["default", "dual"])
    assert (await one.call("DEL", "c-b", "b"))[0] == 0
    lab.cluster.gone(*pods["b"])
    for node in (one, two, three):
        await node.agent.reconcile(0x66)
    assert lab.ping("d", addresses(e)[0])[0]
    run("ip", "link", "set", "f-node2", "up")
    for source in ("a", "d", "e"):
        # The kernel asks again for a next hop that did not answer while it was cut off, once a second.
        reached, said = lab.ping(source, c4, count=15, wait_s=1)
        assert reached, f"{source}: {said}"
        assert lab.ping(source, c6)[0]
    assert lab.ping("c", addresses(e)[0])[0]
    # A node that leaves for good is no end of a tunnel any more.
    node = {"metadata": {"name": "node3"},
            "status": {"addresses": [{"type": "InternalIP", "address": three.ip}]}}  # fmt: skip
    lab.cluster.tell("node", None, node)
    lab.cluster.gone(*d)
    for each in (one, two):
        await each.agent.reconcile(0x66)
        await each.agent.reconcile(1)
        assert three.ip not in run("bridge", "-n", each.name, "fdb")
        assert addresses(d)[0] not in run("ip", "-n", each.name, "neigh")
    assert lab.ping("a", c4)[0]
