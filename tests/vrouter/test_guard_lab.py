"""Port security, in the kernel: foreign MACs and addresses get nowhere, the pod's own everywhere."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from multinet.vrouter import guard, nft

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(nft.lack()), reason=nft.lack() or "nft")]

ALL = "ff:ff:ff:ff:ff:ff"
_serial = itertools.count()


@dataclass(frozen=True)
class Side:
    """One pod's interface as a frame names it."""

    pod: str
    device: str
    mac: str
    v4: str
    v6: str


def side(decided, index):
    interface = decided[1][index]
    found = {item.family: item.address for item in interface.addresses}
    return Side(interface.pod.name, interface.interface, interface.mac, found["v4"], found.get("v6", ""))


def passed(lab, frames, source, heard):
    """The names of those ``frames`` that ``heard`` hears when ``source`` sends them, one by one."""
    sender = lab.listen(source.pod, source.device)
    marks = {}
    for name, frame in frames.items():
        marks[f"guard{next(_serial):08d}".encode()] = name
        sender.send(bytes(frame / Raw(list(marks)[-1])))
    found = set()
    while True:
        try:
            data = heard.recv(4096)
        except BlockingIOError:
            return found
        found |= {name for mark, name in marks.items() if mark in data}


async def four(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    for name, node in {"a": one, "b": one, "c": two}.items():
        yield name, await lab.run(node, name, ["default", "dual"])
    yield "v", await lab.run(one, "v", ["default", "dual"], secured=False)


def bridged_frames(me, other, to):
    """Honest frames, and others; all of them to everybody in the network."""
    v4, v6 = IP(src=me.v4, dst=to.v4), IPv6(src=me.v6, dst=to.v6)
    udp = UDP(sport=9, dport=9)
    foreign = "10.1.2.99"
    local = str(guard.ip_address(guard.link_local(me.mac)))
    own = Ether(src=me.mac, dst=ALL)
    honest = {
        "IPv4": own / v4 / udp,
        "IPv6": own / v6 / udp,
        "IPv6 by the link-local address": own / IPv6(src=local, dst=to.v6) / udp,
        "ARP request": own / ARP(hwsrc=me.mac, psrc=me.v4, pdst=foreign),
        "ARP probe": own / ARP(hwsrc=me.mac, psrc="0.0.0.0", pdst=me.v4),
        "neighbour advertisement": own / v6 / ICMPv6ND_NA(tgt=me.v6),
        "duplicate address detection": own / IPv6(src="::", dst=to.v6) / ICMPv6ND_NS(tgt=me.v6),
        "another protocol": Ether(src=me.mac, dst=ALL, type=0x88B5),
    }
    lies = {
        "a MAC of nobody": Ether(src="02:00:00:00:00:aa", dst=ALL) / v4 / udp,
        "another pod's MAC": Ether(src=other.mac, dst=ALL) / v4 / udp,
        "another pod's IPv4 address": own / IP(src=other.v4, dst=to.v4) / udp,
        "no IPv4 address": own / IP(src="0.0.0.0", dst=to.v4) / udp,
        "another pod's IPv6 address": own / IPv6(src=other.v6, dst=to.v6) / udp,
        "ARP for another's address": own / ARP(op=2, hwsrc=me.mac, psrc=other.v4, pdst=to.v4),
        "ARP with another's MAC": own / ARP(op=2, hwsrc=other.mac, psrc=me.v4, pdst=to.v4),
        "ARP probe with another's MAC": own / ARP(hwsrc=other.mac, psrc="0.0.0.0", pdst=to.v4),
        "advertisement for another's address": own / v6 / ICMPv6ND_NA(tgt=other.v6),
        "another protocol with a foreign MAC": Ether(src=other.mac, dst=ALL, type=0x88B5),
        "behind a VLAN tag of 0": own / Dot1Q(vlan=0) / IP(src=other.v4, dst=to.v4) / udp,
        "behind two VLAN tags of 0": own / Dot1Q(vlan=0) / Dot1Q(vlan=0) / IP(src=other.v4, dst=to.v4) / udp,
    }
    return honest, lies


async def test_a_bridged_interface_sends_in_its_own_name_only(lab):
    pods = {name: side(made, 1) async for name, made in four(lab)}
    me, other = pods["a"], pods["b"]
    for to in (pods["v"], pods["c"]):  # on the same node, on another
        honest, lies = bridged_frames(me, other, to)
        heard = lab.listen(to.pod, to.device)
        got = passed(lab, {**honest, **lies}, me, heard)
        # Answers and requests about known addresses need not cross nodes (neighbour suppression).
        expected = set(honest) if to.pod == "v" else {"IPv4", "IPv6", "another protocol"}
        assert expected <= got, f"to {to.pod}, not heard: {expected - got}"
        assert not got & set(lies), f"to {to.pod}"
    # Where it was asked for, everything passes.
    heard = lab.listen("b", "eth1")
    _, lies = bridged_frames(pods["v"], me, other)
    single = {name for name in lies if "two VLAN" not in name}
    assert single <= passed(lab, lies, pods["v"], heard)


async def test_a_routed_interface_sends_in_its_own_name_only(lab):
    pods = {name: side(made, 0) async for name, made in four(lab)}
    me, other = pods["a"], pods["b"]
    for to in (pods["b"], pods["c"]):
        own = Ether(src=me.mac, dst="00:00:5e:00:01:00")
        frames = {
            "honest": own / IP(src=me.v4, dst=to.v4) / UDP(),
            "a foreign MAC": Ether(src=other.mac, dst=own.dst) / IP(src=me.v4, dst=to.v4) / UDP(),
            "a foreign address": own / IP(src="10.47.1.1", dst=to.v4) / UDP(),
            "an address of the node": own / IP(src="100.64.0.11", dst=to.v4) / UDP(),
        }
        assert passed(lab, frames, me, lab.listen(to.pod, to.device)) == {"honest"}
    # No interface of the default network is exempt.
    liar = pods["v"]
    lie = Ether(src=liar.mac, dst="00:00:5e:00:01:00") / IP(src=me.v4, dst=other.v4) / UDP()
    assert not passed(lab, {"lie": lie}, liar, lab.listen("b", "eth0"))
    gateway = "10.47.255.254"
    asked = {
        "honest": ARP(hwsrc=me.mac, psrc=me.v4, pdst=gateway),
        "sender": ARP(hwsrc=me.mac, psrc=other.v4, pdst=gateway),
        "MAC": ARP(hwsrc=other.mac, psrc=me.v4, pdst=gateway),
    }
    heard = lab.listen("a", "eth0")
    answered = {}
    for name, request in asked.items():
        passed(lab, {name: Ether(src=me.mac, dst=ALL) / request}, me, lab.listen("a", "lo"))
        answered[name] = any(
            frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" for frame in drained(heard)
        )
    assert answered == {"honest": True, "sender": False, "MAC": False}


def drained(heard):
    while True:
        try:
            yield heard.recv(4096)
        except BlockingIOError:
            return


async def test_no_pod_makes_vxlan_for_a_node(lab):
    pods = {name: made async for name, made in four(lab)}
    me = side(pods["a"], 0)
    x = await lab.run(lab.nodes["node2"], "x", ["default", "red"])
    inner = (
        Ether(src="02:00:00:00:00:aa", dst=ALL) / IP(src="10.1.1.9", dst=x[1][1].addresses[0].address) / UDP()
    )
    heard = {"c": lab.listen("c", "eth1"), "x": lab.listen("x", "eth1")}
    here = lab.listen("b", "eth1")
    for vni, ear in ((0x66, heard["c"]), (0x22, heard["x"])):
        for node in ("100.64.0.11", "100.64.0.12", "10.47.255.254"):
            made = (
                IP(src=me.v4, dst=node) / UDP(sport=5, dport=4789) / VXLAN(vni=vni, flags="Instance") / inner
            )
            frame = {"injected": Ether(src=me.mac, dst="00:00:5e:00:01:00") / made}
            sent = passed(lab, frame, me, here)
            assert lab.ping("a", "10.47.255.254")[0]  # what was sent before it is where it goes by now
            assert not sent
            assert not [data for data in drained(ear) if b"guard" in data], f"VNI {vni:x} at {node}"
    # The control: the node itself, which nobody keeps from it, gets such a frame in.
    sender = lab.listen("node1", "eth0")
    mac = shown("ip", "-n", "node2", "-br", "link", "show", "eth0").split()[2]
    outer = Ether(src="02:00:00:00:00:01", dst=mac)
    made = (
        IP(src="100.64.0.11", dst="100.64.0.12")
        / UDP(sport=5, dport=4789)
        / VXLAN(vni=0x66, flags="Instance")
    )
    sender.send(bytes(outer / made / inner / Raw(b"control1")))
    assert any(b"control1" in frame for frame in drained(heard["c"]))
    # Pods are free to make VXLAN among themselves.
    made = IP(src=me.v4, dst=side(pods["c"], 0).v4) / UDP(sport=5, dport=4789) / VXLAN(vni=0x66)
    frame = {"own": Ether(src=me.mac, dst="00:00:5e:00:01:00") / made / inner}
    assert passed(lab, frame, me, lab.listen("c", "eth0")) == {"own"}


async def test_the_guard_outlives_its_agent_and_goes_with_the_pod(lab):
    pods = {name: made async for name, made in four(lab)}
    node = lab.nodes["node1"]
    me, other, to = (side(pods[name], 1) for name in "abc")
    honest, lies = bridged_frames(me, other, to)
    heard = lab.listen(to.pod, to.device)
    node.stop()
    assert passed(lab, {**lies, "IPv4": honest["IPv4"]}, me, heard) == {"IPv4"}
    node.start()
    await node.sync()
    assert passed(lab, {**lies, "IPv6": honest["IPv6"]}, me, heard) == {"IPv6"}
    for name in "abv":
        assert (await node.call("DEL", f"c-{name}", name))[0] == 0
    for family, sets in (("bridge", ("ports", "macs", "ipv4", "ipv6", "targets")), ("ip", ("ports", "ipv4"))):
        for each in sets:
            assert "elements" not in listed("node1", family, each)


def shown(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def listed(node, family, name):
    return shown("ip", "netns", "exec", node, "nft", "list", "set", family, guard.TABLE, name)


async def test_a_pod_with_two_interfaces_in_one_network_may_use_both_addresses_on_either(lab):
    one = lab.node("node1")
    await one.sync()
    two = side(await lab.run(one, "two", ["default", "red", "red"]), 2)
    first = side(await lab.run(one, "b", ["default", "red"]), 1)
    # The kernel answers by its first route to the network, which is eth1's.
    assert lab.ping(first.pod, two.v4)[0]


async def test_without_nft_traffic_goes_on_and_it_is_said_once(lab, monkeypatch, caplog):
    monkeypatch.setattr(nft, "lack", lambda: "the program nft is missing")
    pods = {name: side(made, 1) async for name, made in four(lab)}
    assert lab.ping("a", pods["c"].v4)[0]
    assert lab.ping("a", pods["c"].v6)[0]
    said = [entry for entry in caplog.messages if "source addresses are not checked" in entry]
    assert len(said) == 2  # once per node
    assert all("nft is missing" in entry for entry in said)
