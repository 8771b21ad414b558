"""ADD, CHECK, DEL and GC in the kernel: all or nothing, nothing left, restarts, replaced sandboxes."""

from __future__ import annotations

import json
import subprocess

import pytest

from multinet.cni import spec
from multinet.errors import ApiError

pytestmark = pytest.mark.lab

NETWORKS = ["default", "red", "blue"]


def ip(*words, netns=None):
    inside = ["-n", netns] if netns else []
    subprocess.run(["ip", *inside, *words], check=True)


def forwarding(node):
    return subprocess.run(["bridge", "-n", node, "fdb"], capture_output=True, text=True, check=True).stdout


def pod_links(namespace):
    shown = subprocess.run(["ip", "-n", namespace, "-j", "link"], capture_output=True, text=True, check=True)
    return {link["ifname"]: link for link in json.loads(shown.stdout)}


def kernel(node):
    """Everything a node's kernel has that an attachment may change."""
    shown = [
        subprocess.run(["ip", "-n", node.name, *words], capture_output=True, text=True, check=True).stdout
        for words in (
            ["route", "show", "table", "all"],
            ["-o", "addr"],
            ["neigh", "show", "nud", "permanent"],
        )
    ]
    return node.links(), *shown


async def node_with_default(lab, name="node1"):
    node = lab.node(name)
    await node.sync()
    return node


async def test_add_makes_what_it_says_and_del_leaves_nothing(lab):
    node = await node_with_default(lab)
    before = kernel(node)
    machine, interfaces = lab.cluster.pod("node1", "a", NETWORKS)
    lab.namespace("a")
    code, result = await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid)
    assert code == 0
    present = pod_links("a")
    for listed, interface in zip(result["interfaces"], interfaces, strict=True):
        assert listed["name"] == interface.interface
        assert present[listed["name"]]["address"] == listed["mac"] == interface.mac
        assert present[listed["name"]]["mtu"] == 1500
        assert listed["sandbox"] == "/run/netns/a"
    assert [item["address"] for item in result["ips"]] == [each.addresses[0].cidr for each in interfaces]
    assert [item["interface"] for item in result["ips"]] == [0, 1, 2]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.47.255.254"}]
    _, seen, status = node.reports.said[0]
    assert [entry["name"] for entry in status] == ["cluster-wide-default", "default/red", "default/blue"]
    assert [entry["default"] for entry in status] == [True, False, False]
    assert [each.interface for each in seen] == ["eth0", "eth1", "eth2"]
    assert (await node.call("CHECK", "c1", "a", config={"prevResult": result}))[0] == 0
    assert (await node.call("DEL", "c1", "a"))[0] == 0
    assert set(pod_links("a")) == {"lo"}
    await node.datapath.settled()
    assert kernel(node) == before
    assert list((lab.directory / "node1").iterdir()) == []
    for container in ("c1", "c1", "never-added"):
        assert await node.call("DEL", container) == (0, {})


async def test_a_failed_add_leaves_nothing(lab):
    node = await node_with_default(lab)
    before = kernel(node)
    machine, _ = lab.cluster.pod("node1", "a", NETWORKS)
    lab.namespace("a")
    ip("link", "add", "eth2", "type", "bridge", netns="a")
    code, error = await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid)
    assert (code, error["code"]) == (1, spec.DATAPATH_FAILED)
    assert "eth2" in error["details"]
    assert "File exists" in error["details"]
    assert set(pod_links("a")) == {"lo", "eth2"}
    await node.datapath.settled()
    assert kernel(node) == before
    ip("link", "delete", "eth2", netns="a")
    assert (await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid))[0] == 0


async def test_an_add_whose_status_cannot_be_written_is_undone(lab):
    node = await node_with_default(lab)
    machine, _ = lab.cluster.pod("node1", "a", NETWORKS)
    lab.namespace("a")
    node.reports.error = ApiError("the API server is away", next_step="wait")
    code, error = await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid)
    assert (code, error["code"], error["msg"]) == (1, spec.TRY_AGAIN_LATER, "the API server is away")
    assert set(pod_links("a")) == {"lo"}
    assert node.agent.attachments == ()


async def test_a_second_add_is_refused_and_harms_nothing(lab):
    node = await node_with_default(lab)
    machine, _ = await lab.run(node, "a", NETWORKS)
    before = pod_links("a")
    code, error = await node.call("ADD", "c-a", "a", "a", uid=machine.pod.uid)
    assert (code, error["code"]) == (1, spec.ATTACHMENT_REFUSED)
    assert pod_links("a") == before
    assert lab.ping("a", "10.47.255.254")[0]


@pytest.mark.parametrize("path", ["missing", "../../proc/self/ns/net", "../../proc/self/ns/mnt", ""])
async def test_a_namespace_that_cannot_be_used(lab, path):
    node = await node_with_default(lab)
    machine, _ = lab.cluster.pod("node1", "a", NETWORKS)
    code, error = await node.call("ADD", "c1", path, "a", uid=machine.pod.uid)
    assert (code, error["code"]) == (1, spec.INVALID_ENVIRONMENT)
    assert "CNI_NETNS" in error["msg"]
    await node.datapath.settled()
    assert not {name for name in node.links() if name.startswith("tap")}


async def test_check_finds_each_thing_that_is_gone(lab):
    node = await node_with_default(lab)
    machine, interfaces = lab.cluster.pod("node1", "a", NETWORKS)
    lab.namespace("a")
    _, result = await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid)
    ip("route", "add", "192.0.2.0/24", "dev", "eth1", netns="a")
    assert (await node.call("CHECK", "c1", "a", config={"prevResult": result}))[0] == 0
    damage = [
        (["route", "delete", "default"], "default route"),
        (["addr", "flush", "dev", "eth1"], interfaces[1].addresses[0].cidr),
        (["link", "set", "eth2", "down"], "eth2: it is down"),
        (["link", "delete", "eth1"], "eth1: the pod has no such interface"),
    ]
    for words, expected in damage:
        ip(*words, netns="a")
        code, error = await node.call("CHECK", "c1", "a", config={"prevResult": result})
        assert (code, error["code"]) == (1, spec.CHECK_FAILED)
        assert expected in error["details"]
    result["ips"][0]["address"] = "10.47.0.9/12"
    _, error = await node.call("CHECK", "c1", "a", config={"prevResult": result})
    assert "10.47.0.9/12" in error["details"]


async def test_gc_keeps_what_is_valid_and_other_networks(lab):
    node = await node_with_default(lab)
    for name in ("a", "b"):
        await lab.run(node, name, NETWORKS)
    version = {"cniVersion": "1.1.0"}
    other = {**version, "name": "other", "cni.dev/valid-attachments": []}
    assert (await node.call("GC", "", config=other))[0] == 0
    assert len(node.agent.attachments) == 2
    valid = {**version, "cni.dev/valid-attachments": [{"containerID": "c-b", "ifname": "eth0"}]}
    assert (await node.call("GC", "", config=valid))[0] == 0
    assert set(pod_links("a")) == {"lo"}
    assert {"eth0", "eth1", "eth2"} <= set(pod_links("b"))


async def test_a_restarted_agent_finds_its_pods_and_traffic_goes_on(lab):
    one, two = await node_with_default(lab), await node_with_default(lab, "node2")
    a = await lab.run(one, "a", NETWORKS)
    c = await lab.run(two, "c", NETWORKS)
    gone = await lab.run(one, "gone", NETWORKS)
    ip("link", "add", "tap00000009-0", "type", "bridge", netns="node1")
    ip("link", "add", "br-77", "type", "bridge", netns="node1")
    one.stop()
    lab.cluster.gone(*gone)
    one.start()
    for index in (0, 1):  # before the view is complete, forwarding is as it was
        assert lab.ping("a", c[1][index].addresses[0].address)[0]
    await one.sync()
    for index in (0, 1, 2):
        assert lab.ping("a", c[1][index].addresses[0].address)[0]
    assert {attachment.pod for attachment in one.agent.attachments} == {"default/a"}
    assert set(pod_links("gone")) == {"lo"}
    assert {"tap00000009-0", "br-77"} <= one.links()  # strangers with names like ours
    late = await lab.run(one, "late", NETWORKS)
    assert lab.ping("late", a[1][1].addresses[0].address)[0]
    assert lab.ping("late", c[1][1].addresses[0].address)[0]
    assert late[0].pod.name == "late"
    assert (await one.call("DEL", "c-a", "a"))[0] == 0
    assert set(pod_links("a")) == {"lo"}


async def test_a_restart_corrects_what_changed_meanwhile(lab):
    one, two = await node_with_default(lab), await node_with_default(lab, "node2")
    await lab.run(one, "a", NETWORKS)
    c = await lab.run(two, "c", NETWORKS)
    one.stop()
    lab.cluster.gone(*c)
    one.start()
    await one.sync()
    fdb = forwarding("node1")
    routes = kernel(one)[1]
    for interface in c[1]:
        assert interface.mac not in fdb
        assert interface.addresses[0].address not in routes
    assert "100.64.0.12" not in fdb


async def test_del_works_after_the_namespace_and_the_objects_are_gone(lab):
    node = await node_with_default(lab)
    before = kernel(node)
    decided = await lab.run(node, "a", NETWORKS)
    lab.cluster.gone(*decided)
    ip("netns", "delete", "a")
    lab.namespaces.remove("a")
    node.stop()
    node.start()
    assert (await node.call("DEL", "c-a"))[0] == 0
    await node.sync()
    await node.datapath.settled()
    assert kernel(node) == before


async def test_a_new_sandbox_of_a_pod_takes_over_and_the_old_ones_del_is_harmless(lab):
    node = await node_with_default(lab)
    machine, _ = await lab.run(node, "a", NETWORKS)
    lab.namespace("a-again")
    code, _ = await node.call("ADD", "c-again", "a-again", "a", uid=machine.pod.uid)
    assert code == 0
    assert set(pod_links("a")) == {"lo"}
    assert (await node.call("DEL", "c-a", "a"))[0] == 0
    assert {"eth0", "eth1", "eth2"} <= set(pod_links("a-again"))
    assert lab.ping("a-again", "10.47.255.254")[0]


async def test_an_mtu_beyond_the_underlay_is_refused_in_words(lab):
    node = await node_with_default(lab)
    assert node.datapath.mtu == 1550
    machine, interfaces = lab.cluster.pod("node1", "a", ["default", "red"])
    obj = interfaces[1].to_object()
    lab.cluster.tell("interface", None, interfaces[1].to_object())
    obj["spec"]["mtu"] = 9000
    lab.cluster.tell("interface", obj)
    lab.namespace("a")
    code, error = await node.call("ADD", "c1", "a", "a", uid=machine.pod.uid)
    assert code == 1
    assert "9000" in error["msg"]
    assert "1550" in error["msg"]


async def test_del_does_not_wait_for_the_kernels_grace_period(lab):
    """The request comes back some 16 ms after the devices are gone; DEL is over when they are."""
    node = await node_with_default(lab)
    for number in range(50):
        name = f"p{number}"
        await lab.run(node, name, ["default"])
        assert (await node.call("DEL", f"c-{name}", name))[0] == 0
        request_under_way = bool(node.datapath._remover._runs)
        assert set(pod_links(name)) == {"lo"}
        if request_under_way:
            return
    pytest.fail("no DEL of 50 was over before its request: on a busy machine some are late, but not all")
