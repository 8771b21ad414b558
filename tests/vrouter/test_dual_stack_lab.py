"""Networks with IPv4 and IPv6 subnets, in the kernel: addresses at once, neighbour discovery, isolation."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from multinet.vrouter import netns

pytestmark = pytest.mark.lab

_ETH_P_IPV6 = 0x86DD
_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT = 133, 134


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def both(decided, index=1):
    return tuple(item.address for item in decided[1][index].addresses)


def inside(namespace, make):
    """What ``make`` returns when it is called in a network namespace; sockets stay there."""
    with Path(f"/run/netns/{namespace}").open() as handle, netns.entered(handle.fileno()):
        return make()


def addresses(namespace, device):
    (shown,) = json.loads(run("ip", "-n", namespace, "-j", "addr", "show", device))
    return {f"{each['local']}/{each['prefixlen']}": each for each in shown["addr_info"]}


async def pods(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    return {
        "a": await lab.run(one, "a", ["default", "dual"]),
        "b": await lab.run(one, "b", ["default", "dual"]),
        "c": await lab.run(two, "c", ["default", "dual"]),
        "x": await lab.run(two, "x", ["default", "dual2"]),
    }


async def test_both_addresses_are_usable_as_soon_as_add_returns(lab):
    node = lab.node("node1")
    await node.sync()
    machine, interfaces = lab.cluster.pod("node1", "a", ["default", "dual"])
    lab.namespace("a")
    code, result = await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid)
    assert code == 0
    v4, v6 = (item.cidr for item in interfaces[1].addresses)
    address, _, _ = v6.partition("/")

    def bound():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
            made.bind((address, 0))  # EADDRNOTAVAIL while an address is tentative

    inside("a", bound)
    shown = addresses("a", "eth1")
    assert {v4, v6} <= set(shown)
    assert "tentative" not in shown[v6]
    assert [item["address"] for item in result["ips"] if item["interface"] == 1] == [v4, v6]
    _, seen, status = node.reports.said[0]
    assert status[1]["ips"] == [v4.partition("/")[0], address]
    assert seen[1].ips == tuple(status[1]["ips"])
    assert (await node.call("CHECK", "c1", "a", config={"prevResult": result}))[0] == 0
    run("ip", "-n", "a", "addr", "delete", v6, "dev", "eth1")
    code, error = await node.call("CHECK", "c1", "a", config={"prevResult": result})
    assert code == 1
    assert v6 in error["msg"]


async def test_pods_reach_each_other_in_both_families_on_one_node_and_across(lab):
    made = await pods(lab)
    for target in ("b", "c"):
        v4, v6 = both(made[target])
        for address in (v4, v6):
            reached, said = lab.ping("a", address)
            assert reached, said
        known = json.loads(run("ip", "-n", "a", "-j", "neigh", "show", v6))
        assert known[0]["lladdr"] == made[target][1][1].mac  # the pod's own answer: nobody answers for it
        assert "ttl=64" in lab.ping("a", v6)[1]


async def test_a_tcp_connection_over_ipv6_across_nodes(lab):
    made = await pods(lab)
    _, v6 = both(made["c"])
    listener = inside("c", lambda: socket.create_server((v6, 0), family=socket.AF_INET6))
    listener.settimeout(5)

    def answer():
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(accepted.recv(100).upper())

    served = threading.Thread(target=answer)
    served.start()
    try:
        port = listener.getsockname()[1]
        with inside("a", lambda: socket.create_connection((v6, port), timeout=30)) as client:
            client.sendall(b"six")
            assert client.recv(100) == b"SIX"
    finally:
        served.join()
        listener.close()


async def test_another_network_with_the_same_prefixes_is_not_reached(lab):
    made = await pods(lab)
    for address in both(made["x"]):
        reached, said = lab.ping("a", address, "-I", "eth1", wait_s=1)
        assert not reached, said
        known = json.loads(run("ip", "-n", "a", "-j", "neigh", "show", address) or "[]")
        assert not any("lladdr" in entry for entry in known)
    _, v6 = both(made["a"])
    reached, _ = lab.ping("c", v6, "-I", "eth1")
    assert reached  # the control: the way back works in a's own network


async def test_the_node_takes_no_part_in_ipv6(lab):
    await pods(lab)
    for node in ("node1", "node2"):
        links = json.loads(run("ip", "-n", node, "-6", "-j", "addr"))
        ours = [each["ifname"] for each in links if each["ifname"].startswith(("tap", "br-", "vx-"))]
        assert ours == []
        assert "tap" not in run("ip", "-n", node, "-6", "route", "show", "table", "all")
        # ff02::1: all nodes of the link; pods of the network answer, the node does not.
    fe80 = next(cidr for cidr in addresses("a", "eth1") if cidr.startswith("fe80"))
    assert fe80
    said = lab.ping("a", "ff02::1%eth1", count=2)[1]
    answered = {
        line.split()[3].rstrip(":").partition("%")[0] for line in said.splitlines() if "bytes from" in line
    }
    own = {cidr.partition("/")[0] for pod in ("a", "b", "c") for cidr in addresses(pod, "eth1")}
    assert answered <= own


async def test_pods_ask_for_no_router_and_believe_none(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    await lab.run(one, "a", ["default", "dual"])
    heard = inside("a", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IPV6)))
    with heard:
        heard.bind(("eth1", _ETH_P_IPV6))
        heard.setblocking(False)
        await lab.run(two, "c", ["default", "dual"])
        assert lab.ping("a", "ff02::1%eth1", count=6)[0]
        kinds = []
        for _ in range(1000):
            try:
                frame = heard.recv(2000)
            except BlockingIOError:
                break
            kinds.append(frame[40] if frame[6] == socket.IPPROTO_ICMPV6 else None)
    assert 129 in kinds  # the control: c's answers to all nodes were heard
    assert not {_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT} & set(kinds)
    for pod in ("a", "c"):
        setting = inside(pod, lambda: Path("/proc/sys/net/ipv6/conf/eth1/accept_ra").read_text())
        assert setting.strip() == "0"


async def test_the_largest_ipv6_packet_crosses_the_tunnel_and_one_more_byte_does_not(lab):
    made = await pods(lab)
    _, v6 = both(made["c"])
    reached, said = lab.ping("a", v6, "-M", "do", "-s", str(1500 - 48))
    assert reached, said
    reached, _ = lab.ping("a", v6, "-M", "do", "-s", str(1500 - 47), wait_s=1)
    assert not reached


async def test_members_in_many_adds_at_once_all_have_ipv6(lab):
    node = lab.node("node1")
    await node.sync()
    decided = [lab.cluster.pod("node1", f"p{number}", ["default", "dual"]) for number in range(6)]
    for number in range(6):
        lab.namespace(f"p{number}")
    calls = [
        node.call("ADD", f"c{number}", f"p{number}", f"p{number}", uid=machine.pod.uid)
        for number, (machine, _) in enumerate(decided)
    ]
    assert [code for code, _ in await asyncio.gather(*calls)] == [0] * 6
    for target in range(1, 6):
        reached, said = lab.ping("p0", both(decided[target])[1])
        assert reached, said
