"""Gateway and DNS address of bridged networks: they answer on every node, locally, and lead nowhere."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from multinet.vrouter import gateways, netns, nft

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(nft.lack()), reason=nft.lack() or "nft")]

MAC = "00:00:5e:00:01:00"
GATEWAY, DNS = "10.1.1.254", "10.1.1.253"
QUERY = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\3www\7example\3com\0" + struct.pack(">HH", 1, 1)


def shown(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def inside(namespace, make):
    with Path(f"/run/netns/{namespace}").open() as handle, netns.entered(handle.fileno()):
        return make()


def tunnelled(heard):
    """The VXLAN packets that were heard, without what kernels say of IPv6 multicast by themselves."""
    found = []
    while True:
        try:
            frame = heard.recv(4096)
        except BlockingIOError:
            return found
        if frame[12:14] != b"\x08\0" or frame[23] != socket.IPPROTO_UDP or frame[36:38] != b"\x12\xb5":
            continue
        inner = frame[50:]
        if inner[12:14] != b"\x86\xdd" or inner[20] != socket.IPPROTO_HOPOPTS:
            found.append(inner)


async def two_nodes(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    await lab.run(one, "a", ["default", "red", "dual"])
    await lab.run(one, "b", ["default", "blue"])
    await lab.run(two, "c", ["default", "red", "dual"])
    return one, two


async def test_both_answer_on_every_node_in_overlapping_networks_and_in_both_families(lab):
    await two_nodes(lab)
    heard = lab.listen("node1", "eth0")
    for pod in "abc":
        for address in (GATEWAY, DNS):
            reached, said = lab.ping(pod, address, "-I", "eth1")
            assert reached, f"{pod}: {said}"
            assert "ttl=64" in said
    prefix = "fd00:1:2:0:ffff:ffff:ffff"
    for pod in "ac":
        for address in ("10.1.2.254", "10.1.2.253", f"{prefix}:fffe", f"{prefix}:fffd"):
            reached, said = lab.ping(pod, address)
            assert reached, f"{pod}: {said}"
    known = json.loads(shown("ip", "-n", "a", "-j", "neigh"))
    macs = {entry["dst"]: entry.get("lladdr") for entry in known}
    assert {macs[each] for each in (GATEWAY, DNS, "10.1.2.254", f"{prefix}:fffe")} == {MAC}
    assert not tunnelled(heard)
    assert lab.ping("a", "10.1.1.250")[0]  # the control: c, by the tunnel
    assert tunnelled(heard)


async def test_they_are_no_way_out_of_their_network(lab):
    one, two = await two_nodes(lab)
    shown("ip", "-n", "a", "route", "add", "default", "via", GATEWAY, "dev", "eth1", "metric", "1")
    # Nodes, the default network's gateway, another network's gateway and pod, anything else: by way of eth1.
    for target in (one.ip, two.ip, "10.47.255.254", "10.1.2.254", "10.47.255.250", "192.0.2.1"):
        reached, said = lab.ping("a", target, "-I", "eth1", wait_s=1)
        assert not reached, said
    # Nor does it answer for another network's address which it has there.
    heard = lab.listen("a", "eth1")
    sender = lab.listen("a", "eth1")
    own = json.loads(shown("ip", "-n", "a", "-j", "addr", "show", "eth1"))[0]
    source = own["addr_info"][0]["local"]
    for target, mark in (("10.1.2.254", b"elsewhere"), (GATEWAY, b"its own")):
        sender.send(
            bytes(Ether(src=own["address"], dst=MAC) / IP(src=source, dst=target) / ICMP() / Raw(mark))
        )
    assert lab.ping("a", GATEWAY)[0]
    answers = b""
    for _ in range(1000):
        try:
            frame = heard.recv(4096)
        except BlockingIOError:
            break
        answers += frame if frame[6:12] == bytes.fromhex(MAC.replace(":", "")) else b""
    assert b"its own" in answers
    assert b"elsewhere" not in answers
    # And nothing gets in from the node.
    for target in (GATEWAY, DNS, source):
        assert not lab.ping("node1", target, wait_s=1)[0]


async def test_they_answer_while_the_agent_is_away_and_go_with_the_last_member(lab):
    one, _ = await two_nodes(lab)
    space = f"gateways-{one.ip}"
    one.stop()
    assert lab.ping("a", GATEWAY)[0]
    one.start()
    assert lab.ping("a", GATEWAY)[0]
    await one.sync()
    shown("ip", "-n", "node1", "link", "delete", "gw-22")
    assert not lab.ping("a", GATEWAY, wait_s=1)[0]
    one.stop()
    one.start()  # an agent that starts makes it again
    assert lab.ping("a", GATEWAY)[0]
    assert lab.ping("b", GATEWAY, "-I", "eth1")[0]
    for pod in "ab":
        assert (await one.call("DEL", f"c-{pod}", pod))[0] == 0
    await one.datapath.settled()
    assert not any(name.startswith("gw-") for name in one.links())
    for family in ("-4", "-6"):
        assert "fwmark" not in shown("ip", "-n", space, family, "rule")
    ruleset = shown("ip", "netns", "exec", space, "nft", "list", "table", "inet", gateways.TABLE)
    assert "elements" not in ruleset


async def asked(pod, family, source, server):
    """What the name server answers to a pod."""

    def connected():
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.bind((source, 0))
        made.connect((server, 53))
        return made

    loop = asyncio.get_running_loop()
    with inside(pod, connected) as made:
        made.send(QUERY)
        return await asyncio.wait_for(loop.sock_recv(made, 512), 20.0)


async def test_the_dns_address_refuses_at_once(lab):
    one, _ = await two_nodes(lab)
    found = json.loads(shown("ip", "-n", "a", "-j", "addr", "show", "eth2"))[0]["addr_info"]
    v4, v6 = (next(item["local"] for item in found if item["family"] == name and item["scope"] == "global")
              for name in ("inet", "inet6"))  # fmt: skip
    for family, source, server in (
        (socket.AF_INET, v4, "10.1.2.253"),
        (socket.AF_INET6, v6, "fd00:1:2:0:ffff:ffff:ffff:fffd"),
    ):
        answer = await asked("a", family, source, server)
        assert struct.unpack(">HHHHHH", answer[:12]) == (7, 0x8105, 1, 0, 0, 0)
        assert answer[12:] == QUERY[12:]
    one.stop()
    with pytest.raises(ConnectionRefusedError):
        await asked("a", socket.AF_INET, v4, "10.1.2.253")
    one.start()
