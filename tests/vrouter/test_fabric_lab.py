"""ip_fabric_snat: what a pod routes to its gateway gets out with the node's address; nothing gets in."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from multinet.vrouter import fabric, netns, nft

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(nft.lack()), reason=nft.lack() or "nft")]

UNDERLAY, GATEWAY = "100.64.0.0/24", "10.1.3.254"


def shown(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def inside(namespace, make):
    with Path(f"/run/netns/{namespace}").open() as handle, netns.entered(handle.fileno()):
        return make()


def routed(pod, device="eth1"):
    shown("ip", "-n", pod, "route", "add", UNDERLAY, "via", GATEWAY, "dev", device)


async def two_nodes(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    return one, two


def seen_source(pod, server_ns, address, kind):
    """Who a server on a node sees when the pod talks to it, and that the answer comes back."""
    with inside(server_ns, lambda: socket.socket(socket.AF_INET, kind)) as server:
        server.bind((address, 0))
        server.settimeout(2)
        if kind == socket.SOCK_STREAM:
            server.listen()
        with inside(pod, lambda: socket.socket(socket.AF_INET, kind)) as client:
            client.settimeout(2)
            client.connect(server.getsockname())
            client.send(b"ask")
            if kind == socket.SOCK_STREAM:
                accepted, source = server.accept()
                with accepted:
                    accepted.send(b"answer")
                    assert client.recv(16) == b"answer"
            else:
                _, source = server.recvfrom(16)
                server.sendto(b"answer", source)
                assert client.recv(16) == b"answer"
    return source


async def test_explicitly_routed_traffic_gets_out_with_the_nodes_address_and_the_originals_ports(lab):
    one, two = await two_nodes(lab)
    await lab.run(one, "a", ["default", "out"])
    routed("a")
    for node in (one, two):
        reached, said = lab.ping("a", node.ip)
        assert reached, said
    for kind, ports in ((socket.SOCK_STREAM, fabric.TCP_PORTS), (socket.SOCK_DGRAM, fabric.UDP_PORTS)):
        address, port = seen_source("a", "node2", two.ip, kind)
        first, last = map(int, ports.split("-"))
        assert address == one.ip
        assert first <= port <= last


async def test_nothing_gets_in_and_nowhere_else_is_reached(lab):
    one, two = await two_nodes(lab)
    decided = await lab.run(one, "a", ["default", "out"])
    other = await lab.run(one, "b", ["default", "red"])
    own = decided[1][1].addresses[0].address
    for target in (other[1][0].addresses[0].address, "10.47.255.254", other[1][1].addresses[0].address):
        shown("ip", "-n", "a", "route", "add", f"{target}/32", "via", GATEWAY, "dev", "eth1")
        assert not lab.ping("a", target, "-I", "eth1", wait_s=1)[0], target
    routed("a")
    assert lab.ping("a", two.ip)[0]
    for namespace, way in (("node1", fabric.NEAR_NAME), ("node2", "eth0")):
        via = ["via", one.ip] if way == "eth0" else ["via", "169.254.77.2"]
        shown("ip", "-n", namespace, "route", "add", f"{own}/32", *via, "dev", way)
        assert not lab.ping(namespace, own, wait_s=1)[0]


async def test_no_pod_reaches_a_nodes_tunnel_port_by_it(lab):
    one, two = await two_nodes(lab)
    await lab.run(one, "a", ["default", "out"])
    routed("a")
    heard = lab.listen("node2", "eth0")
    with inside("node2", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        control.bind((two.ip, 0))
        control.settimeout(2)
        with inside("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.sendto(b"by the tunnel", (two.ip, 4789))
            client.sendto(b"the control", control.getsockname())
        assert control.recv(16) == b"the control"
    frames = b""
    while b"the control" not in frames:
        frames += heard.recv(4096)
    assert b"by the tunnel" not in frames


async def test_networks_without_the_annotation_have_no_way_out(lab):
    one, two = await two_nodes(lab)
    await lab.run(one, "a", ["default", "out"])
    await lab.run(one, "b", ["default", "red"])
    shown("ip", "-n", "b", "route", "add", UNDERLAY, "via", "10.1.1.254", "dev", "eth1")
    assert not lab.ping("b", two.ip, wait_s=1)[0]


async def test_networks_with_the_same_addresses_get_their_own_answers_also_after_a_restart(lab):
    one, two = await two_nodes(lab)
    first = await lab.run(one, "a", ["default", "out"])
    lab.cluster.numbers.clear()  # the same addresses again
    second = await lab.run(one, "b", ["iso", "out2"], uid="b0000000-0000-4000-8000-000000000000")
    assert first[1][1].addresses == second[1][1].addresses
    for pod in "ab":
        routed(pod)
    for restarted in (False, True):
        if restarted:
            one.stop()
            one.start()
            await one.sync()
        for pod in "ab":
            assert lab.ping(pod, two.ip)[0]
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for pod in "ab":
                seen_source(pod, "node2", two.ip, kind)


async def test_it_goes_with_the_last_network_that_has_it(lab):
    one, two = await two_nodes(lab)
    before = one.links()
    for pod, network in (("a", "out"), ("b", "out2")):
        await lab.run(one, pod, ["default", network])
    routed("b")
    assert (await one.call("DEL", "c-a", "a", "a"))[0] == 0
    await one.datapath.settled()
    assert lab.ping("b", two.ip)[0]
    assert (await one.call("DEL", "c-b", "b", "b"))[0] == 0
    await one.datapath.settled()
    assert one.links() == before
    for namespace in ("node1", f"gateways-{one.ip}"):
        assert fabric.TABLE not in shown("ip", "netns", "exec", namespace, nft.program(), "list", "tables")
