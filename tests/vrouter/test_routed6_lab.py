"""The cluster's own network with both address families: IPv6 is routed, guarded and repaired as IPv4 is."""

from __future__ import annotations

import json
import subprocess

import pytest

from multinet.vrouter import nft
from tests.vrouter import conftest

pytestmark = pytest.mark.lab

BOTH = ("10.32.0.0/12", "fd00:10:32::/64")
GATEWAY, MAC = "fd00:10:32:0:ffff:ffff:ffff:fffe", "00:00:5e:00:01:00"


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def both(monkeypatch):
    """Must come before the lab, whose networks are told when it is made."""
    monkeypatch.setitem(conftest.CIDRS, "default", BOTH)


@pytest.fixture
async def pods(both, lab):
    del both
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    made = {}
    for node, name in ((one, "a"), (one, "b"), (two, "c")):
        made[name] = await lab.run(node, name, ["default", "red"])
    return lab, one, {name: decided[1][0].addresses[1].address for name, decided in made.items()}


@pytest.fixture
def dual(lab):
    """Nodes of the lab have IPv6 addresses; must come before ``pods``."""
    lab.dual = True
    return lab


def state(node):
    shown = [run("ip", "-n", node.name, "-6", *words) for words in (["route"], ["neigh"], ["-o", "addr"])]
    return node.links(), *shown


async def test_pods_reach_each_other_and_their_node_by_routing(pods):
    lab, one, own = pods
    for source, target, ttl in (("a", "b", 63), ("a", "c", 62), ("c", "a", 62), ("b", "a", 63)):
        reached, said = lab.ping(source, own[target], "-W", "10")
        assert reached, said
        assert f"ttl={ttl}" in said
    for source, target in (("a", GATEWAY), ("node1", own["a"])):
        reached, said = lab.ping(source, target, "-W", "10")
        assert reached, said
    neighbours = json.loads(run("ip", "-n", "a", "-6", "-j", "neigh", "show", "dev", "eth0"))
    asked = {each["dst"]: each.get("lladdr") for each in neighbours if not each["dst"].startswith("fe80")}
    assert asked == {GATEWAY: MAC}
    assert one.datapath.check(one.agent.attachments[0]) == ()


async def test_pods_and_all_nodes_reach_each_other(both, dual, pods):
    lab, one, own = pods
    lab.outside()
    for name in ("a", "c"):
        for node, ttl in (("node1", 64 if name == "a" else 63), ("node2", 64 if name == "c" else 63)):
            address = lab.nodes[node].ip6
            for source, target in ((name, address), (node, own[name])):
                reached, said = lab.ping(source, target, "-W", "10")
                assert reached, said
                assert f"ttl={ttl}" in said
    # Of the node's addresses its own is the one that others can answer.
    for name in ("a", "c"):
        shown = json.loads(run("ip", "-n", "node1", "-6", "-j", "route", "get", own[name]))
        assert shown[0]["prefsrc"] == one.ip6
    # Who is neither node nor pod is reached, and answers, where it has a way back.
    assert not lab.ping("a", lab.address6(99), wait_s=1)[0]
    conftest.ip("route", "add", BOTH[1], "via", lab.nodes["node2"].ip6, netns="out")
    for source, target in (("a", lab.address6(99)), ("out", own["a"])):
        reached, said = lab.ping(source, target, "-W", "10")
        assert reached, said
    run("ip", "-n", "node1", "-6", "route", "del", f"{own['a']}/128")
    assert len(await one.datapath.repair(one.agent.attachments[0])) == 1
    assert lab.ping("node1", own["a"], "-W", "10")[0]


async def test_a_pod_sends_with_its_own_addresses_only(pods):
    if nft.lack():
        pytest.skip(nft.lack())
    lab, _, own = pods
    # The gateway is known from here on: whom a kernel asks for it as is not what this is about.
    assert lab.ping("a", own["b"], "-W", "10")[0]
    stranger = "fd00:10:32::bad"
    run("ip", "-n", "a", "addr", "add", f"{stranger}/128", "dev", "eth0", "nodad")
    assert not lab.ping("a", own["b"], "-I", stranger, wait_s=1)[0]
    assert lab.ping("a", own["b"], "-W", "10", "-I", own["a"])[0]


async def test_it_outlives_the_agent_and_goes_with_the_pod(pods):
    lab, one, own = pods
    one.stop()
    assert lab.ping("a", own["c"], "-W", "10")[0]
    one.start()
    await one.sync()
    for source, target in (("a", "c"), ("b", "a")):
        assert lab.ping(source, own[target], "-W", "10")[0]
    before = state(one)
    for name in ("a", "b"):
        assert (await one.call("DEL", f"c-{name}", name))[0] == 0
    await one.datapath.settled()
    for text in state(one)[1:]:
        assert own["a"] not in text
        assert own["b"] not in text
    assert own["c"] in before[1]


async def test_what_is_deleted_of_it_is_made_again(pods):
    lab, one, own = pods
    (attachment, _) = one.agent.attachments
    tap = attachment.ports[0].host_name
    for words in (
        ("addr", "del", f"{GATEWAY}/128", "dev", tap),
        ("route", "del", f"{own['a']}/128", "dev", tap),
    ):
        run("ip", "-n", "node1", "-6", *words)
        found = await one.datapath.repair(attachment)
        assert len(found) == 1, found
    run("ip", "-n", "a", "-6", "route", "del", "default")
    assert await one.datapath.repair(attachment) == (f"eth0: route ::/0 via {GATEWAY}",)
    run("ip", "-n", "node1", "-6", "route", "del", f"{own['c']}/128")
    assert len(await one.datapath.repair_network(1)) == 1
    assert lab.ping("a", own["c"], "-W", "10")[0]
