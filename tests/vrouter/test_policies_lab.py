"""Network policies in the kernel: the right ports are closed, from the first packet on, and no others."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import pytest

from multinet.vrouter import netns, nft
from tests.vrouter import conftest

pytestmark = pytest.mark.lab

CLIENT = {"podSelector": {"matchLabels": {"role": "client"}}}
WEB = {"matchLabels": {"app": "web"}}


@pytest.fixture(params=["ipv4", "ipv6"])
def version(request, monkeypatch):
    """Which of a pod's addresses a test is about; must come before the lab, which then has both."""
    if request.param == "ipv6":
        monkeypatch.setitem(conftest.CIDRS, "default", ("10.32.0.0/12", "fd00:10:32::/64"))
    return 0 if request.param == "ipv4" else 1


def policy(name="p", policy_for="", **spec):
    kind = "MultiNetworkPolicy" if policy_for else "NetworkPolicy"
    annotations = {"k8s.v1.cni.cncf.io/policy-for": policy_for} if policy_for else {}
    metadata = {"name": name, "namespace": "default", "annotations": annotations}
    return {"kind": kind, "metadata": metadata, "spec": {"podSelector": WEB} | spec}


def addresses(decided, index=0):
    return [each.address for each in decided[1][index].addresses]


def inside(namespace, make):
    with Path(f"/run/netns/{namespace}").open() as handle, netns.entered(handle.fileno()):
        return make()


def listen(namespace, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return inside(namespace, lambda: socket.create_server((address, port), family=family))


def connect(namespace, address, port, limit_s=20.0):
    """A connection, None when nothing comes back."""
    try:
        return inside(namespace, lambda: socket.create_connection((address, port), timeout=limit_s))
    except TimeoutError:
        return None


async def connects(namespace, address, port, limit_s=20.0):
    made = await asyncio.to_thread(connect, namespace, address, port, limit_s)
    if made is not None:
        made.close()
    return made is not None


def closes(node, family):
    shown = subprocess.run(
        ["ip", "netns", "exec", node, nft.program(), "list", "table", family, "multinet-policy"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return shown.stdout.count("jump allow-")


async def test_ingress_on_the_default_network_within_and_across_nodes(version, lab):
    lab.dual = bool(version)
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    await lab.policy("policy", policy(ingress=[{"from": [CLIENT], "ports": [{"port": 80}]}]))
    friend = await lab.run(two, "friend", ["default"], labels={"role": "client"})
    stranger = await lab.run(one, "stranger", ["default"])
    web = await lab.run(one, "web", ["default"], labels={"app": "web"})
    target, other = addresses(web)[version], addresses(stranger)[version]
    with listen("web", target, 80), listen("web", target, 81), listen("stranger", other, 80):
        assert await connects("friend", target, 80)
        assert not await connects("friend", target, 81, 0.4)
        assert not await connects("stranger", target, 80, 0.4)
        assert await connects("node1", target, 81), "the node's own probes always pass"
        assert await connects("web", other, 80), "what a pod sends is not ingress"
        assert await connects("friend", other, 80), "other pods are open"
    assert not lab.ping("friend", target, wait_s=1)[0]
    assert lab.ping("web", addresses(friend)[version], "-W", "10")[0]


async def test_egress_and_blocks_on_the_default_network(version, lab):
    lab.dual = bool(version)
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    allowed = await lab.run(two, "allowed", ["default"])
    denied = await lab.run(two, "denied", ["default"])
    web = await lab.run(one, "web", ["default"], labels={"app": "web"})
    cidr, length = (("10.32.0.0/12", 32), ("fd00:10:32::/64", 128))[version]
    block = {"ipBlock": {"cidr": cidr, "except": [f"{addresses(denied)[version]}/{length}"]}}
    await lab.policy("policy", policy(policyTypes=["Egress"], egress=[{"to": [block]}]))
    own, far = (node.ip6 if version else node.ip for node in (one, two))
    assert lab.ping("web", addresses(allowed)[version], "-W", "10")[0]
    assert not lab.ping("web", addresses(denied)[version], wait_s=1)[0]
    assert not lab.ping("web", far, wait_s=1)[0]
    assert lab.ping("web", own, "-W", "10")[0], "the pod's own node is always reached"
    assert lab.ping("denied", addresses(web)[version], "-W", "10")[0], "what a pod receives is not egress"
    if version:
        assert not lab.ping("web", addresses(allowed)[0], wait_s=1)[0], "a block is of one family"


@pytest.mark.parametrize("network", ["red", "dual"])
async def test_a_multi_network_policy_on_a_bridged_network(lab, network):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    rules = policy(policy_for=network, ingress=[{"from": [CLIENT]}])
    await lab.policy("policy", rules)
    nets = ["default", network]
    stranger = await lab.run(two, "stranger", nets)
    web = await lab.run(one, "web", nets, labels={"app": "web"})
    for target in addresses(web, 1):
        assert not lab.ping("stranger", target, wait_s=1)[0], "in force before the first packet"
    assert lab.ping("stranger", addresses(web)[0])[0], "the default network is another one"
    await lab.run(one, "friend", nets, labels={"role": "client"})
    for source, target in zip(addresses(stranger, 1), addresses(web, 1), strict=True):
        assert lab.ping("friend", target)[0]
        assert lab.ping("web", source)[0], "answers come back"
        assert not lab.ping("stranger", target, wait_s=1)[0]
        with listen("web", target, 80):
            assert await connects("friend", target, 80)
            assert not await connects("stranger", target, 80, 0.4)
    await lab.policy("policy", None, rules)
    for target in addresses(web, 1):
        assert lab.ping("stranger", target)[0]
    assert closes("node1", "bridge") == 0


async def test_blocks_of_ipv6_on_a_bridged_network(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    nets = ["default", "dual"]
    friend, stranger = [await lab.run(two, name, nets) for name in ("friend", "stranger")]
    web = await lab.run(one, "web", nets, labels={"app": "web"})
    block = {"ipBlock": {"cidr": "fd00:1:2::/64", "except": [f"{addresses(stranger, 1)[1]}/128"]}}
    ports = [{"protocol": "TCP", "port": 80}]
    await lab.policy("policy", policy(policy_for="dual", ingress=[{"from": [block], "ports": ports}]))
    four, six = addresses(web, 1)
    with listen("web", six, 80), listen("web", six, 81), listen("web", four, 80):
        assert await connects("friend", six, 80)
        for source, target, port in (("friend", six, 81), ("stranger", six, 80), ("friend", four, 80)):
            assert not await connects(source, target, port, 0.4)
    assert lab.ping("web", addresses(friend, 1)[1], "-W", "10")[0], "answers come back"


async def test_networks_with_the_same_addresses_are_closed_apart(lab):
    node = lab.node("node1")
    await node.sync()
    await lab.policy("policy", policy(policy_for="red"))
    await lab.run(node, "b", ["default", "red"])
    await lab.run(node, "c", ["default", "blue"])
    red = await lab.run(node, "web-red", ["default", "red"], labels={"app": "web"})
    blue = await lab.run(node, "web-blue", ["default", "blue"], labels={"app": "web"})
    assert not lab.ping("b", addresses(red, 1)[0], wait_s=1)[0]
    assert lab.ping("c", addresses(blue, 1)[0])[0]


@pytest.mark.parametrize("network", ["default", "red"])
async def test_established_connections_outlive_policies_and_agents(lab, network):
    node = lab.node("node1")
    await node.sync()
    nets = ["default"] if network == "default" else ["default", network]
    multi = {} if network == "default" else {"policy_for": network}
    opened = policy("open", ingress=[{"ports": [{"port": 80}]}], **multi)
    await lab.policy("policy", opened)
    await lab.run(node, "client", nets)
    web = await lab.run(node, "web", nets, labels={"app": "web"})
    target = addresses(web, len(nets) - 1)[0]
    with listen("web", target, 80) as server:
        connection = await asyncio.to_thread(connect, "client", target, 80)
        server.settimeout(20)
        accepted, _ = server.accept()
        with connection, accepted:
            await lab.policy("policy", policy("closed", **multi))
            await lab.policy("policy", None, opened)
            node.stop()
            node.start()
            await node.sync()
            await node.policing.update()
            assert not await connects("client", target, 80, 0.4)
            connection.sendall(b"still there")
            accepted.settimeout(20)
            assert accepted.recv(64) == b"still there"
            accepted.sendall(b"and back")
            assert connection.recv(64) == b"and back"


async def test_rules_go_with_their_pod(lab):
    node = lab.node("node1")
    await node.sync()
    await lab.policy("policy", policy(policyTypes=["Ingress", "Egress"]))
    await lab.run(node, "web", ["default"], labels={"app": "web"})
    assert closes("node1", "inet") == 2
    assert (await node.call("DEL", "c-web", "web", "web"))[0] == 0
    await node.policing.update()
    assert closes("node1", "inet") == 0
