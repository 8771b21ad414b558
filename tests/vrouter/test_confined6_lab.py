"""Routed networks with IPv6 beside the cluster's own: confined to their members in that family as well."""

from __future__ import annotations

import subprocess

import pytest

from multinet.vrouter import rules
from tests.vrouter import conftest
from tests.vrouter.test_confined_lab import at_once, fails, network_of, works

pytestmark = pytest.mark.lab

BOTH = ("10.32.0.0/12", "fd00:10:32::/64")


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def state(node):
    """Rules, and routes and lasting neighbours of IPv6."""
    return [
        run("ip", "-n", node.name, "-6", *words).splitlines()
        for words in (["rule"], ["route", "show", "table", "all"], ["neigh", "show", "nud", "permanent"])
    ]


@pytest.fixture
def both(monkeypatch):
    """Must come before the lab, whose networks are told when it is made."""
    for name in conftest.ROUTED:
        monkeypatch.setitem(conftest.CIDRS, name, BOTH)


@pytest.fixture
async def pods(both, lab):
    lab.dual = True
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    made = {}
    for name, node, network in (
        ("def1", one, "default"),
        ("def2", two, "default"),
        ("iso1", one, "iso"),
        ("iso1b", one, "iso"),
        ("iso2", two, "iso"),
        ("other1", one, "iso2"),
    ):
        made[name] = await lab.run(node, name, [network])
    return lab, {name: decided[1][0].addresses[1].address for name, decided in made.items()}, made


async def test_each_network_reaches_its_own_members_all_nodes_and_no_others(pods):
    lab, own, _ = pods
    at_once(
        lab,
        [
            (network_of(source) == network_of(target), source, address)
            for source in own
            for target, address in own.items()
            if source != target
        ],
    )
    nodes = [node.ip6 for node in lab.nodes.values()]
    at_once(lab, [(True, node, address) for address in own.values() for node in ("node1", "node2")])
    at_once(lab, [(True, pod, address) for pod in own for address in nodes])
    assert "ttl=62" in works(lab, "iso1", own["iso2"])
    # A default route of the node is no way out of a confined network.
    run("ip", "-n", "node1", "-6", "route", "add", "default", "via", nodes[1])
    fails(lab, "iso1", "2001:db8::1")


async def test_rules_are_checked_mended_and_gone_with_the_last_member(pods):
    lab, own, made = pods
    one = lab.nodes["node1"]
    (attachment,) = (each for each in one.agent.attachments if each.pod == "default/iso1")
    (tap,) = (port.host_name for port in attachment.ports)
    run("ip", "-n", "node1", "-6", "rule", "delete", "priority", "1001", "iif", tap)
    assert any(tap in each and "IPv6" in each for each in one.datapath.check(attachment))
    one.stop()
    one.start()  # before the view is complete
    works(lab, "iso1", own["iso2"])
    fails(lab, "iso1", own["def1"])
    await one.sync()
    assert one.datapath.check(attachment) == ()
    run("ip", "-n", "node1", "-6", "rule", "delete", "priority", "1001", "iif", tap)
    assert await one.datapath.repair(attachment)
    fails(lab, "iso1", own["def1"])
    works(lab, "iso1", own["iso1b"])
    for name in ("iso1", "iso1b", "other1"):
        assert (await one.call("DEL", f"c-{name}", name))[0] == 0
        lab.cluster.gone(*made[name])
    lab.cluster.gone(*made["iso2"])
    for name in ("iso", "iso2"):
        lab.cluster.tell("network", None, conftest.networks()[name].to_object())
        await one.agent.reconcile(conftest.VNIS[name])
    await one.datapath.settled()
    listed, routes, neighbours = state(one)
    assert len(listed) == 2, listed
    for gone in (own["iso2"], *(str(rules.table_of(conftest.VNIS[name])) for name in ("iso", "iso2"))):
        assert gone not in " ".join((*routes, *neighbours))
    works(lab, "def1", own["def2"])
