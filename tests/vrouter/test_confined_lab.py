"""Several routed networks on one node: each is confined to its own members, and the node reaches all."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.lab

UNDERLAY = ("100.64.0.11", "100.64.0.12")


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def address(decided, index=0):
    return decided[1][index].addresses[0].address


def kernel(node):
    """Everything of a node that a confined network may change (IPv4: addresses of its own IPv6 come late)."""
    shown = [
        run("ip", "-n", node.name, *words)
        for words in (
            ["rule"],
            ["-4", "route", "show", "table", "all"],
            ["-o", "addr"],
            ["neigh", "show", "nud", "permanent"],
        )
    ]
    return node.links(), *shown


def asks(pod, target):
    """The MAC that an ARP request of a pod is answered with, or none."""
    subprocess.run(
        ["ip", "netns", "exec", pod, "ping", "-n", "-c", "1", "-W", "1", target],
        capture_output=True,
        check=False,
    )
    shown = json.loads(run("ip", "-n", pod, "-j", "neigh", "show", target) or "[]")
    return next((entry.get("lladdr") for entry in shown), None)


def works(lab, source, target):
    reached, said = lab.ping(source, target, "-W", "10")
    assert reached, f"{source} -> {target}: {said}"
    return said


def fails(lab, source, target):
    reached, said = lab.ping(source, target, wait_s=1)
    assert not reached, f"{source} -> {target}: {said}"


def at_once(lab, expected):
    """Check (whether it works, source, target) triples, all at the same time: a failure takes a second."""
    with ThreadPoolExecutor(len(expected)) as pool:
        for checked in [pool.submit(works if ok else fails, lab, *pair) for ok, *pair in expected]:
            checked.result()


async def two_nodes(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    return one, two


async def populate(lab):
    """Two pods of each routed network, on each of two nodes one; a third isolated one on node1."""
    one, two = await two_nodes(lab)
    return {
        "def1": await lab.run(one, "def1", ["default", "red"]),
        "def2": await lab.run(two, "def2", ["default"]),
        "iso1": await lab.run(one, "iso1", ["iso", "red"]),
        "iso1b": await lab.run(one, "iso1b", ["iso"]),
        "iso2": await lab.run(two, "iso2", ["iso"]),
        "other1": await lab.run(one, "other1", ["iso2"]),
        "other2": await lab.run(two, "other2", ["iso2"]),
    }


def network_of(name):
    return name.rstrip("12b")


async def test_each_routed_network_reaches_its_own_members_and_no_others(lab):
    pods = await populate(lab)
    at_once(
        lab,
        [
            (network_of(source) == network_of(target), source, address(decided))
            for source in pods
            for target, decided in pods.items()
            if source != target
        ],
    )
    assert "ttl=63" in works(lab, "iso1", address(pods["iso1b"]))
    assert "ttl=62" in works(lab, "iso1", address(pods["iso2"]))
    # A network of a NAD is the pod's business: it goes on working beside the confined one.
    works(lab, "iso1", address(pods["def1"], 1))


async def test_nodes_and_confined_pods_reach_each_other(lab):
    pods = await populate(lab)
    at_once(lab, [(True, node, address(each)) for each in pods.values() for node in ("node1", "node2")])
    near = (*UNDERLAY, "10.47.255.254", "10.47.255.253")
    at_once(lab, [(True, pod, target) for pod in pods for target in near])


async def test_arp_is_answered_for_what_is_reachable_and_the_gateway(lab):
    pods = await populate(lab)
    mac = "00:00:5e:00:01:00"
    for target in (address(pods["iso1b"]), address(pods["iso2"]), "10.47.255.254", "10.47.255.253"):
        assert asks("iso1", target) == mac
    for stranger in ("def1", "other2"):
        assert asks("iso1", address(pods[stranger])) is None
        assert asks(stranger, address(pods["iso1"])) is None
    assert asks("iso1", "10.32.0.1") is None


async def test_a_pod_cannot_enter_another_network_by_naming_the_gateway(lab):
    """What the pod sends to the gateway's MAC by hand is looked up in its own network all the same."""
    pods = await populate(lab)
    mac = "00:00:5e:00:01:00"
    for source, target in (("def1", "iso1"), ("iso1", "def1"), ("iso1", "def2"), ("iso1", "other1")):
        block = f"{address(pods[target])}/32"
        run("ip", "-n", source, "route", "add", block, "via", "10.47.255.254", "dev", "eth0")
        run("ip", "-n", source, "neigh", "replace", "10.47.255.254", "lladdr", mac, "dev", "eth0")
        counted = json.loads(run("ip", "-n", target, "-s", "-j", "link", "show", "eth0"))[0]["stats64"]["rx"]
        fails(lab, source, address(pods[target]))
        after = json.loads(run("ip", "-n", target, "-s", "-j", "link", "show", "eth0"))[0]["stats64"]["rx"]
        assert after["packets"] == counted["packets"]  # not even one way


async def test_a_default_route_of_the_node_is_no_way_out_of_a_confined_network(lab):
    one, _ = await two_nodes(lab)
    await lab.run(one, "iso1", ["iso"])
    run("ip", "-n", "node1", "route", "add", "default", "via", "100.64.0.12")
    fails(lab, "iso1", "192.0.2.1")
    _, said = lab.ping("iso1", "192.0.2.1")
    assert "Unreachable" in said


async def reconcile(node, *vnis):
    for vni in vnis:
        await node.agent.reconcile(vni)
    await node.datapath.settled()


async def test_a_network_that_is_gone_takes_rules_and_tables_with_it(lab, networks_known):
    one, _ = await two_nodes(lab)
    await lab.run(one, "def1", ["default"])
    empty = kernel(one)
    pods = {name: await lab.run(one, name, [network_of(name)]) for name in ("iso1", "iso1b")}
    assert run("ip", "-n", "node1", "rule").count("iif tap") == 2
    for name in pods:
        assert (await one.call("DEL", f"c-{name}", name))[0] == 0
        lab.cluster.gone(*pods[name])
    await one.datapath.settled()
    assert kernel(one) == empty
    last = await lab.run(one, "iso1c", ["iso"])
    for name in ("iso", "iso2"):
        lab.cluster.tell("network", None, networks_known[name].to_object())
    await reconcile(one, 0x44, 0x55)
    works(lab, "iso1c", "10.47.255.254")  # a member outlives the object
    works(lab, "node1", address(last))
    assert not {"vx-55"} & one.links()
    assert (await one.call("DEL", "c-iso1c", "iso1c"))[0] == 0
    await one.datapath.settled()
    assert run("ip", "-n", "node1", "rule").count("lookup") == 3
    routes = run("ip", "-n", "node1", "route", "show", "table", "all")
    assert "unreachable" not in routes
    assert address(last) not in routes
    works(lab, "def1", "10.47.255.254")  # the default network keeps the address that all answered for


async def test_the_control_plane_answers_confined_pods_by_way_of_any_node(lab):
    pods = await populate(lab)
    await lab.node("node3").sync()  # without any pod
    lab.namespace("cp")
    run("ip", "link", "add", "name", "f-cp", "type", "veth", "peer", "name", "eth0", "netns", "cp")
    run("ip", "link", "set", "f-cp", "master", "fabric", "up")
    run("ip", "-n", "cp", "link", "set", "eth0", "up")
    run("ip", "-n", "cp", "addr", "add", "100.64.0.10/24", "dev", "eth0")
    try:
        for via in (*UNDERLAY, "100.64.0.13"):
            run("ip", "-n", "cp", "route", "replace", "10.32.0.0/12", "via", via)
            at_once(lab, [(True, pod, "100.64.0.10") for pod in pods])
            at_once(lab, [(True, "cp", address(decided)) for decided in pods.values()])
        at_once(lab, [(True, "node3", address(decided)) for decided in pods.values()])
        at_once(lab, [(True, pod, "100.64.0.13") for pod in pods])
    finally:
        run("ip", "link", "delete", "f-cp")


async def test_a_failed_add_leaves_no_rule(lab):
    one, _ = await two_nodes(lab)
    before = kernel(one)
    machine, _ = lab.cluster.pod("node1", "iso1", ["iso"])
    lab.namespace("iso1")
    run("ip", "-n", "iso1", "link", "add", "eth0", "type", "bridge")
    code, error = await one.call("ADD", "c1", "iso1", "iso1", uid=machine.pod.uid)
    assert code == 1
    assert "eth0" in error["details"]
    await one.datapath.settled()
    assert kernel(one) == before


async def test_a_restart_keeps_rules_mends_them_and_removes_orphans(lab, networks_known):
    one, two = await two_nodes(lab)
    pods = {
        "iso1": await lab.run(one, "iso1", ["iso"]),
        "iso2": await lab.run(two, "iso2", ["iso"]),
        "other1": await lab.run(one, "other1", ["iso2"]),
        "def1": await lab.run(one, "def1", ["default"]),
    }
    whole = kernel(one)
    one.stop()
    tap = next(line.split()[4] for line in run("ip", "-n", "node1", "rule").splitlines() if "iif tap" in line)
    foreign = ("priority", "1001", "iif", "eth0", "lookup", "77")
    run("ip", "-n", "node1", "rule", "add", *foreign)
    orphan = ("priority", "1001", "protocol", "109", "iif", "tapdeadbeef-0", "lookup", str(0x6D000099))
    run("ip", "-n", "node1", "rule", "add", *orphan)
    run("ip", "-n", "node1", "route", "add", "unreachable", "default", "table", str(0x6D000099))
    run("ip", "-n", "node1", "rule", "delete", "priority", "1001", "iif", tap)
    one.start()  # before the view is complete
    works(lab, "iso1", address(pods["iso2"]))
    fails(lab, "iso1", address(pods["def1"]))
    run("ip", "-n", "node1", "rule", "delete", *foreign)  # it is still there: not ours
    assert sorted(run("ip", "-n", "node1", "rule").splitlines()) == sorted(whole[1].splitlines())
    await one.sync()
    assert sorted(kernel(one)[2].splitlines()) == sorted(whole[2].splitlines())
    works(lab, "iso2", address(pods["iso1"]))
    fails(lab, "iso1", address(pods["other1"]))
    one.stop()
    lab.cluster.gone(*pods["other1"])
    lab.cluster.gone(*pods["iso2"])
    lab.cluster.tell("network", None, networks_known["iso2"].to_object())
    one.start()
    await one.sync()
    await one.datapath.settled()
    routes = run("ip", "-n", "node1", "route", "show", "table", "all")
    assert str(0x6D000055) not in routes
    assert address(pods["iso2"]) not in routes
    assert str(0x6D000044) in routes


async def test_check_finds_a_rule_that_is_gone(lab):
    one, _ = await two_nodes(lab)
    machine, _ = lab.cluster.pod("node1", "iso1", ["iso"])
    lab.namespace("iso1")
    _, result = await one.call("ADD", "c1", "iso1", "iso1", uid=machine.pod.uid)
    asked = {"prevResult": result}
    assert (await one.call("CHECK", "c1", "iso1", config=asked))[0] == 0
    tap = next(name for name in one.links() if name.startswith("tap"))
    run("ip", "-n", "node1", "rule", "delete", "priority", "1001", "iif", tap)
    code, error = await one.call("CHECK", "c1", "iso1", config=asked)
    assert code == 1
    assert f"iif {tap}" in error["msg"]


async def test_the_underlay_may_go_down_and_come_back(lab):
    pods = await populate(lab)
    run("ip", "-n", "node1", "link", "set", "eth0", "down")
    run("ip", "-n", "node1", "link", "set", "eth0", "up")
    works(lab, "iso1", UNDERLAY[1])
    works(lab, "node2", address(pods["iso1"]))
