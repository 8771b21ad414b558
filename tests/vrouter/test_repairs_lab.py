"""What is taken away by hand from a pod or a network is made again, and told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import time
from pathlib import Path

import pytest

from multinet.vrouter import hostports, netns, policy_script, servicetable
from multinet.vrouter.repairs import Repairs
from multinet.waits import wait_for
from tests.vrouter.servicenodes import Services

pytestmark = pytest.mark.lab

NETWORKS = ["default", "red", "iso"]


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


class Told:
    """What users would read."""

    def __init__(self):
        self.said, self.heard = [], asyncio.Event()

    def pod_repaired(self, attachment, message):
        self.said.append((attachment.pod, message))
        self.heard.set()

    def node_repaired(self, message):
        self.said.append(("node", message))
        self.heard.set()

    async def hears(self, who, words):
        while not any(each[0] == who and words in each[1] for each in self.said):
            self.heard.clear()
            await wait_for(f"{who} to be told of {words!r}", self.heard.wait(), 30.0, hint=str(self.said))
        self.said.clear()


def repairs_of(node, told, clock, tables=None):
    with Path(f"/run/netns/{node.name}").open() as handle, netns.entered(handle.fileno()):
        return Repairs(node.datapath, node.agent.ledger, told, tables=tables, clock=clock)


@contextlib.asynccontextmanager
async def repairing(node, clock=time.monotonic, tables=None):
    told = Told()
    repairs = repairs_of(node, told, clock, tables)
    task = asyncio.create_task(repairs.run())
    try:
        await asyncio.sleep(0)
        await repairs._queue.wait_idle(30.0)
        assert told.said == []  # nothing is wrong with what was just made
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def pods(lab):
    """A pod on each of two nodes, in a routed, a bridged and a confined network."""
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    await lab.run(one, "a", NETWORKS)
    _, interfaces = await lab.run(two, "b", NETWORKS)
    return one, interfaces


def tap(node, index):
    return node.agent.attachments[0].ports[index].host_name


def nft_of(node, *words):
    return ("ip", "netns", "exec", node.name, "nft", *words)


def damage(node, interfaces):
    """(what is done, in which words the pod's user or the node's owner is told) of each accident."""
    routed, bridged = interfaces[0].addresses[0].address, interfaces[1]
    own = node.agent.attachments[0].ports
    pod, here = ("ip", "-n", "a"), ("ip", "-n", node.name)
    return {
        "a veth, in the pod": ((*pod, "link", "delete", "eth1"), "default/a", "eth1: the interface"),
        "a veth, on the node": ((*here, "link", "delete", tap(node, 0)), "default/a", "eth0: the interface"),
        "an address": ((*pod, "addr", "flush", "dev", "eth1"), "default/a", "eth1: add address"),
        "the default route": ((*pod, "route", "delete", "default"), "default/a", "eth0: route 0.0.0.0/0"),
        "up, in the pod": ((*pod, "link", "set", "eth0", "down"), "default/a", "eth0: set eth0 up"),
        "up, on the node": ((*here, "link", "set", tap(node, 1), "down"), "default/a", "eth1: set tap"),
        "a bridge's port": ((*here, "link", "set", tap(node, 1), "nomaster"), "default/a", "as a port of"),
        "a pod's rule": (
            (*here, "rule", "delete", "iif", tap(node, 2)),
            "default/a",
            "eth2: add rule",
        ),
        "a pod's neighbour": (
            (*here, "neigh", "delete", own[0].wanted.addresses[0].partition("/")[0], "dev", tap(node, 0)),
            "default/a",
            "eth0: set neighbour",
        ),
        "a pod's forwarding entry": (
            ("bridge", "-n", node.name, "fdb", "delete", own[1].wanted.mac, "dev", tap(node, 1), "master"),
            "default/a",
            "eth1: bridge",
        ),
        "a bridge": ((*here, "link", "delete", "br-22"), "node", "network VNI 34"),
        "a VXLAN device": ((*here, "link", "delete", "vx-1"), "node", "network VNI 1"),
        "a tunnel": (
            ("bridge", "-n", node.name, "fdb", "delete", bridged.mac, "dev", "vx-22", "self"),
            "node",
            f"send {bridged.mac}",
        ),
        "the way of what is flooded": (
            ("bridge", "-n", node.name, "fdb", "delete", "00:00:00:00:00:00", "dev", "vx-22", "dst",
             "100.64.0.12", "self"),
            "node",
            "send 00:00:00:00:00:00",
        ),
        "what the bridge answers for": (
            (*here, "neigh", "delete", bridged.addresses[0].address, "dev", "br-22"),
            "node",
            f"set neighbour {bridged.addresses[0].address}",
        ),
        "a gateway": ((*here, "link", "delete", "gw-22"), "node", "network VNI 34"),
        "an element of port security": (
            nft_of(node, "flush", "set", "bridge", "multinet_guard", "macs"),
            "node",
            "rules of port security",
        ),
        "all of port security": (
            nft_of(node, "delete", "table", "bridge", "multinet_guard"),
            "node",
            "rules of port security",
        ),
        "a remote route": ((*here, "route", "delete", routed), "node", f"route {routed}/32"),
        "a service address": ((*here, "addr", "delete", "10.47.255.254/32", "dev", "lo"), "node", "10.47"),
        "the end of a table": (
            (*here, "route", "delete", "unreachable", "default", "table", str(0x6D00_0044)),
            "node",
            "end table",
        ),
    }  # fmt: skip


def inside(pod):
    """Addresses and routes; of two networks with one block, either may come first."""
    return {line for what in ("addr", "route") for line in run("ip", "-n", pod, "-o", what).splitlines()}


async def test_each_thing_that_somebody_deletes_is_made_again(lab, pods):
    node, interfaces = pods
    before, rules = inside("a"), run(*nft_of(node, "list", "ruleset"))
    links = {link["ifname"]: link["address"] for link in json.loads(run("ip", "-n", "a", "-j", "link"))}
    long_ago = itertools.count(step=1000).__next__  # between any two accidents
    async with repairing(node, long_ago) as told:
        for what, (argv, who, words) in damage(node, interfaces).items():
            run(*argv)
            await told.hears(who, words)
            for index, each in enumerate(interfaces):
                assert lab.ping("a", each.addresses[0].address, "-W", "10")[0], f"{what}, eth{index}"
            assert all(node.datapath.check(each) == () for each in node.agent.attachments), what
    assert inside("a") == before
    assert run(*nft_of(node, "list", "ruleset")).count("elements") == rules.count("elements")
    again = {link["ifname"]: link["address"] for link in json.loads(run("ip", "-n", "a", "-j", "link"))}
    assert again == links


@pytest.fixture
async def keepers(lab, pods):
    """Who keeps which table, each with something in it: a service, a policy, a host port."""
    node, _ = pods
    services = Services(lab)
    proxy = services.start(node)
    await services.service("web", "10.96.0.10", [])
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "default"}, "spec": {}}
    await lab.policy("policy", policy)
    uid = lab.cluster.pod(node.name, "published", ["default"])[0].pod.uid
    metadata = {"name": "published", "namespace": "default", "uid": uid}
    await lab.policy("pod", {"metadata": metadata, "spec": {}})
    lab.namespace("published")
    config = {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}
    assert (await node.call("ADD", "c-p", "published", "published", uid=uid, config=config))[0] == 0
    yield {
        servicetable.TABLE: proxy,
        hostports.TABLE: node.host_ports,
        policy_script.TABLE: node.policing,
    }
    services.close()


async def test_tables_come_back_whole_after_somebody_flushed_the_ruleset(pods, keepers):
    node, _ = pods
    families = {servicetable.TABLE: "inet", hostports.TABLE: "ip", policy_script.TABLE: "inet"}

    def listed():
        return {name: run(*nft_of(node, "list", "table", family, name)) for name, family in families.items()}

    before = listed()
    async with repairing(node, tables=keepers) as told:
        run(*nft_of(node, "flush", "ruleset"))
        for what in (*keepers, "rules of port security"):
            while not any(what in message for _, message in told.said):
                told.heard.clear()
                await wait_for(f"{what} to be made again", told.heard.wait(), 30.0, hint=str(told.said))
    assert listed() == before


async def test_what_is_deleted_of_a_table_comes_back_at_once(pods, keepers):
    """A rule, a chain's rules, a map's elements: by hand, while nothing else changes."""
    node, _ = pods
    families = {servicetable.TABLE: "inet", hostports.TABLE: "ip", policy_script.TABLE: "inet"}
    accidents = {
        servicetable.TABLE: ("flush", "chain", "inet", servicetable.TABLE, "prerouting"),
        hostports.TABLE: ("flush", "map", "ip", hostports.TABLE, "routed"),
        policy_script.TABLE: ("flush", "chain", "inet", policy_script.TABLE, "forward"),
    }

    def listed(name):
        return run(*nft_of(node, "list", "table", families[name], name))

    async with repairing(node, tables=keepers) as told:
        for name, words in accidents.items():
            before = listed(name)
            run(*nft_of(node, *words))
            await told.hears("node", f"nft table {name}")
            assert listed(name) == before


async def test_the_rules_of_gateways_and_of_the_way_out_come_back_at_once(lab, pods):
    node, _ = pods
    await lab.run(node, "out", ["default", "out"])
    run("ip", "-n", "out", "route", "add", "100.64.0.0/24", "via", "10.1.3.254", "dev", "eth1")
    apart = ("ip", "netns", "exec", f"gateways-{node.ip}", "nft")
    accidents = (
        (*apart, "flush", "ruleset"),
        (*apart, "flush", "set", "inet", "multinet_gateways", "own4"),
        (*apart, "flush", "chain", "inet", "multinet_fabric", "postrouting"),
        nft_of(node, "flush", "chain", "ip", "multinet_fabric", "postrouting"),
    )
    async with repairing(node) as told:
        for accident in accidents:
            run(*accident)
            await told.hears("node", "rules of gateways")
            for pod, target in (("a", "10.1.1.254"), ("out", "10.1.3.254"), ("out", "100.64.0.12")):
                assert lab.ping(pod, target, "-W", "10")[0], (accident, pod, target)


async def test_our_own_scripts_are_no_accidents(lab, pods, keepers):
    """They are known by the process that carried them out, whatever they delete."""
    node, _ = pods
    async with repairing(node, tables=keepers) as told:
        assert (await node.call("DEL", "c-p", "published"))[0] == 0  # the last host port
        await keepers[servicetable.TABLE].restore(anyway=True)
        await lab.run(node, "out", ["default", "out"])
        assert (await node.call("DEL", "c-out", "out"))[0] == 0
        await node.datapath.settled()
        run(*nft_of(node, "flush", "chain", "inet", servicetable.TABLE, "prerouting"))
        while not told.said:
            await wait_for("the accident", told.heard.wait(), 30.0)
    (said,) = told.said
    assert f"nft table {servicetable.TABLE}" in said[1]


async def test_our_own_deletions_are_no_accidents(lab, pods):
    node, _ = pods
    async with repairing(node) as told:
        for number in range(3):
            await lab.run(node, f"p{number}", NETWORKS)
            assert (await node.call("DEL", f"c-p{number}", f"p{number}"))[0] == 0
        await lab.run(node, "last", NETWORKS)
        run("ip", "-n", "last", "addr", "flush", "dev", "eth1")
        while not told.said:
            await wait_for("the accident", told.heard.wait(), 30.0)
    assert {who for who, _ in told.said} == {"default/last"}


async def test_a_member_that_has_just_come_is_no_loss(lab, pods):
    """A look may come before the news of it have been carried out; it carries them out itself."""
    node, _ = pods
    _, interfaces = lab.cluster.pod("node2", "new", NETWORKS)
    for each in interfaces:
        assert await node.datapath.repair_network(each.vni) == ()
    entries = run("bridge", "-n", node.name, "fdb", "show", "dev", "vx-22")
    assert f"{interfaces[1].mac} dst 100.64.0.12" in entries
    run("bridge", "-n", node.name, "fdb", "delete", interfaces[1].mac, "dev", "vx-22", "self")
    (found,) = await node.datapath.repair_network(interfaces[1].vni)
    assert interfaces[1].mac in found


async def test_somebody_who_insists_is_not_raced(lab, pods):
    node, _ = pods
    async with repairing(node) as told:
        for _ in range(5):
            run("ip", "-n", "a", "addr", "flush", "dev", "eth1")
            await told.hears("default/a", "add address")
        told.heard.clear()
        run("ip", "-n", "a", "addr", "flush", "dev", "eth1")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(told.heard.wait(), 0.3)


async def test_what_was_deleted_while_no_agent_ran_is_made_again(lab, pods):
    node, interfaces = pods
    node.stop()
    run("ip", "-n", "a", "link", "delete", "eth0")
    run("ip", "-n", "a", "link", "delete", "eth1")
    run("ip", "-n", "a", "link", "delete", "eth2")
    node.start()
    await node.sync()
    told = Told()
    repairs = repairs_of(node, told, time.monotonic)
    task = asyncio.create_task(repairs.run())
    await told.hears("default/a", "eth0: the interface; eth1: the interface; eth2: the interface")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for each in interfaces:
        assert lab.ping("a", each.addresses[0].address, "-W", "10")[0]
