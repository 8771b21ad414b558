"""ip_fabric_forwarding: members are routed in the underlay, reach its hosts as they are, and nobody else."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from multinet.model.networks import Subnet
from multinet.model.selected import PortMapping
from multinet.vrouter import nft
from tests.vrouter.servicenodes import ask, serving
from tests.vrouter.test_repairs_lab import repairing

pytestmark = pytest.mark.lab

BLOCK, GATEWAY = "10.60.0.0/24", "10.60.0.254"
NODES = ("100.64.0.11", "100.64.0.12")
HOST = "100.64.0.10"
MAC = "00:00:5e:00:01:00"


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def address(decided, index=1):
    return decided[1][index].addresses[0].address


def at_once(lab, expected):
    """Check (whether it works, source, target, ping's options ...), all at the same time."""

    def check(works, *words):
        reached, said = lab.ping(*words, *(("-W", "10") if works else ()))
        assert reached is works, f"{words}: {said}"
        return said

    with ThreadPoolExecutor(len(expected)) as pool:
        return [each.result() for each in [pool.submit(check, *words) for words in expected]]


def routed(pod, gateway=GATEWAY):
    """Pods answer by eth0 unless somebody routes to the gateway, as with ip_fabric_snat."""
    run("ip", "-n", pod, "route", "add", "100.64.0.0/24", "via", gateway, "dev", "eth1")


def left_over(node):
    """Everything of a node that such a network may leave."""
    shown = [
        run("ip", "-n", node.name, *words)
        for words in (
            ["rule"],
            ["-4", "route", "show", "table", "all"],
            ["neigh", "show", "proxy"],
            ["-o", "-4", "addr"],
        )
    ]
    return node.links(), *shown


async def populate(lab):
    lab.tell_underlaid()
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    pods = {}
    for node, name, network in (
        (one, "a", "plain"),
        (one, "b", "plain"),
        (two, "c", "plain"),
        (one, "other", "plain2"),
        (two, "red", "red"),
    ):
        pods[name] = await lab.run(node, name, ["default", network])
    for name in "abc":
        routed(name)
    return one, two, pods


@pytest.fixture
def host(lab):
    """A host of the underlay that is no node. It has the network's block on its link, and asks by ARP."""
    lab.namespace("host")
    run("ip", "link", "add", "name", "f-host", "type", "veth", "peer", "name", "eth0", "netns", "host")
    run("ip", "link", "set", "f-host", "master", "fabric", "up")
    run("ip", "-n", "host", "link", "set", "eth0", "up")
    run("ip", "-n", "host", "addr", "add", f"{HOST}/24", "dev", "eth0")
    run("ip", "-n", "host", "route", "add", BLOCK, "dev", "eth0")
    yield "host"
    run("ip", "link", "delete", "f-host")


async def test_members_nodes_and_hosts_of_the_underlay_reach_each_other_and_nobody_else_does(lab, host):
    one, two, pods = await populate(lab)
    own = {name: address(decided) for name, decided in pods.items()}
    members = [(source, target) for source in "abc" for target in "abc" if source != target]
    said = at_once(lab, [(True, source, own[target]) for source, target in members])
    assert {text.split("ttl=")[1].split()[0] for text in said} == {"63", "62"}  # by the nodes, as routed ones
    at_once(lab, [(True, who, own[target]) for who in ("node1", "node2", host) for target in "abc"])
    at_once(lab, [(True, source, target) for source in "abc" for target in (*NODES, HOST, GATEWAY)])
    strange = [address(pods["red"], 0), own["red"], own["other"]]
    at_once(
        lab,
        [
            *((False, "a", target, "-I", "eth1") for target in strange),
            *((False, "other", own[target], "-I", "eth1") for target in "ac"),
            *((False, "red", own[target]) for target in "ac"),
            *((False, "red", own[target], "-I", "eth1") for target in "ac"),
        ],
    )
    neighbours = json.loads(run("ip", "-n", "a", "-j", "neigh", "show", "dev", "eth1"))
    assert {each["lladdr"] for each in neighbours if each["dst"] in own.values() and "lladdr" in each} == {
        MAC
    }
    # Each member is behind its own node, by that node's own MAC.
    asked = {each["dst"]: each["lladdr"] for each in json.loads(run("ip", "-n", host, "-j", "neigh"))}
    macs = {
        node.name: json.loads(run("ip", "-n", node.name, "-j", "link", "show", "eth0"))[0]["address"]
        for node in (one, two)
    }
    assert [asked[own[name]] for name in "abc"] == [macs["node1"], macs["node1"], macs["node2"]]


async def test_packets_between_nodes_are_not_tunnelled(lab):
    _, _, pods = await populate(lab)
    heard = lab.listen("node2", "eth0")
    target = address(pods["c"])
    assert lab.ping("a", target, "-W", "10", "-p", "6d6e6574")[0]
    frames = []
    while not any(b"mnetmnet" in each for each in frames):
        frames.append(heard.recv(4096))
    sent = next(each for each in frames if b"mnetmnet" in each)
    ends = [".".join(map(str, sent[at : at + 4])) for at in (26, 30)]
    assert ends == [address(pods["a"]), target]


async def test_it_goes_with_its_members_and_comes_back_after_a_restart(lab, networks_known):
    one, _, pods = await populate(lab)
    own = address(pods["c"])
    one.stop()
    lab.cluster.gone(*pods["c"])
    run("ip", "-n", "node1", "neigh", "add", "proxy", "10.60.0.99", "dev", "eth0", "protocol", "109")
    foreign = run("ip", "-n", "node1", "neigh", "show", "proxy")
    assert "10.60.0.99" in foreign
    one.start()
    await one.sync()
    shown = left_over(one)
    assert "10.60.0.99" not in shown[3]
    assert address(pods["a"]) in shown[3]
    assert own not in shown[2]
    at_once(lab, [(True, "a", address(pods["b"])), (True, "node2", address(pods["a"]))])
    for name in ("a", "b", "other"):
        assert (await one.call("DEL", f"c-{name}", name))[0] == 0
        lab.cluster.gone(*pods[name])
    for name in ("plain", "plain2"):
        lab.cluster.tell("network", None, networks_known[name].to_object())
    for vni in (0x99, 0xAA):
        await one.agent.reconcile(vni)
    await one.datapath.settled()
    for text in left_over(one)[1:]:
        assert "10.60." not in text
        assert str(0x6D000099) not in text


async def test_what_is_lost_with_the_underlays_device_is_repaired_when_it_is_up_again(lab):
    """Nobody announces the routes that go with a device which is set down."""
    one, _, pods = await populate(lab)
    async with repairing(one) as told:
        run("ip", "-n", "node1", "link", "set", "eth0", "down")
        run("ip", "-n", "node1", "link", "set", "eth0", "up")
        await told.hears("node", f"route {address(pods['c'])}/32")
    assert await one.datapath.repair_network(0x99) == ()
    at_once(lab, [(True, "a", address(pods["c"]))])


async def test_a_block_of_the_nodes_own_is_refused(lab, networks_known):
    taken = replace(networks_known["plain"], subnets=(Subnet.of("100.64.0.128/25"),))
    lab.cluster.tell("network", taken.to_object())
    one = lab.node("node1")
    machine, _ = lab.cluster.pod("node1", "a", ["default", "plain"])
    lab.namespace("a")
    code, error = await one.call("ADD", "c-a", "a", "a", uid=machine.pod.uid)
    assert code == 1
    assert "100.64.0.128/25 overlaps" in error["details"]


async def test_a_host_port_of_a_member_needs_no_route_in_its_pod(lab, host):
    """The client seems to be the gateway, or the pod would answer by its default interface."""
    if nft.lack():
        pytest.skip(nft.lack())
    lab.tell_underlaid()
    one = lab.node("node1")
    await one.sync()
    asked = {"plain": (PortMapping(9080, 80),)}
    await lab.run(one, "a", ["default", "plain"], mappings=asked)
    async with serving("a", 80, device="eth1"):
        assert await ask(host, NODES[0], 9080) == ("a", GATEWAY)
    assert (await one.call("DEL", "c-a", "a"))[0] == 0
