"""Spare NICs in pods: alone, with traffic, and back on the node as they were, whatever ends when.

That an agent may be killed at any point of an ADD or DEL is test_fault_matrix_lab's.
"""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from multinet.cni import spec
from multinet.vrouter.changes import ChangeWatch
from multinet.waits import wait_for
from tests.vrouter.conftest import ip
from tests.vrouter.servicenodes import within

pytestmark = pytest.mark.lab
NICS = {"red": "nic0"}
ASKED = ["default", "red"]


@pytest.fixture
async def wired(lab):
    """Two nodes whose ``nic0`` are the ends of one wire, each with a MAC and MTU of its own."""
    one, two = lab.node("node1"), lab.node("node2")
    wire = ["nic0", "type", "veth", "peer", "name", "nic0", "netns", "node2"]
    ip("link", "add", *wire, netns="node1")
    ip("link", "set", "nic0", "address", "02:77:00:00:00:01", "mtu", "1400", "up", netns="node1")
    ip("link", "set", "nic0", "address", "02:77:00:00:00:02", "mtu", "1400", netns="node2")
    await one.sync()
    await two.sync()
    return lab


def nic(namespace, name="nic0"):
    """How a device is; None where it is not."""
    for link in json.loads(ip("-j", "link", netns=namespace)):
        if link["ifname"] == name:
            return link["address"], link["mtu"], "UP" in link["flags"], link.get("ifalias", "")
    return None


async def add(node, lab, name, **more):
    machine, _ = lab.cluster.pod(node.name, name, ASKED, devices=NICS, **more)
    lab.namespace(name)
    return await node.call("ADD", f"c-{name}", name, name, uid=machine.pod.uid)


async def test_two_pods_talk_over_the_wire_and_the_nics_come_back_as_they_were(wired):
    one, two = wired.nodes["node1"], wired.nodes["node2"]
    before = nic("node1"), nic("node2")
    assert before[0][2], not before[1][2]
    _, interfaces = await wired.run(one, "a", ASKED, devices=NICS)
    _, others = await wired.run(two, "b", ASKED, devices=NICS)
    assert (nic("node1"), nic("node2")) == (None, None)
    mac, mtu, up, _ = nic("a", "eth1")
    assert (mac, mtu, up) == (interfaces[1].mac, 1400, True)
    _, seen, status = one.reports.said[-1]
    assert (seen[1].interface, seen[1].mac, seen[1].mtu) == ("eth1", mac, 1400)
    assert (status[1]["interface"], status[1]["mac"]) == ("eth1", mac)
    assert wired.ping("a", others[1].addresses[0].address, "-I", "eth1")[0]
    assert not [name for name in one.links() if name.startswith(("br-22", "vx-22"))]
    for node, name in ((one, "a"), (two, "b")):
        assert (await node.call("DEL", f"c-{name}", name)) == (0, {})
    assert (nic("node1"), nic("node2")) == before


async def test_a_second_pod_hears_who_has_the_nic_and_gets_it_afterwards(wired):
    node = wired.nodes["node1"]
    await wired.run(node, "a", ASKED, devices=NICS)
    before = node.links()
    code, answer = await add(node, wired, "late")
    assert (code, answer["code"]) == (1, spec.TRY_AGAIN_LATER)
    assert answer["msg"] == "the NIC nic0 of this node is pod default/a's"
    assert node.links() == before
    await node.call("DEL", "c-a", "a")
    uid = next(uid for uid, number in wired.cluster.numbers.items() if number == 2)
    code, result = await node.call("ADD", "c-late", "late", "late", uid=uid)
    assert code == 0, result
    assert (await node.call("CHECK", "c-late", "late", config={"prevResult": result}))[0] == 0


@pytest.mark.parametrize("files", ["kept", "lost"])
async def test_another_agent_knows_the_nic_and_gives_it_back(wired, files):
    node = wired.nodes["node1"]
    before = nic("node1")
    await wired.run(node, "a", ASKED, devices=NICS)
    inside = nic("a", "eth1")
    node.stop()
    if files == "lost":
        shutil.rmtree(wired.directory / "node1")
    node.start()
    await node.sync()
    assert nic("a", "eth1") == inside
    (attachment,) = node.agent.attachments
    assert node.datapath.check(attachment) == ()
    assert (await add(node, wired, "late"))[1]["code"] == spec.TRY_AGAIN_LATER
    assert await node.call("DEL", "c-a", "a") == (0, {})
    assert nic("node1") == before


async def test_del_and_gc_without_file_and_api_bring_the_nic_back(wired):
    node = wired.nodes["node1"]
    before = nic("node1")
    for end in (("DEL", "c-a", None), ("GC", "", {"cniVersion": "1.1.0", "cni.dev/valid-attachments": []})):
        machine, interfaces = wired.cluster.pod("node1", "a", ASKED, devices=NICS)
        if end[0] == "DEL":
            wired.namespace("a")
        assert (await node.call("ADD", "c-a", "a", "a", uid=machine.pod.uid))[0] == 0
        wired.cluster.gone(machine, interfaces)
        node.stop()
        shutil.rmtree(wired.directory / "node1")
        node.start()
        assert (await node.call(end[0], end[1], config=end[2]))[0] == 0
        assert nic("node1") == before
        await node.sync()


async def test_a_pod_that_is_gone_when_the_agent_starts_leaves_the_nic(wired):
    node = wired.nodes["node1"]
    before = nic("node1")
    decided = await wired.run(node, "a", ASKED, devices=NICS)
    node.stop()
    wired.cluster.gone(*decided)
    node.start()
    await node.sync()
    assert nic("node1") == before


async def test_what_is_damaged_in_the_pod_is_found_and_mended(wired):
    node = wired.nodes["node1"]
    _, interfaces = await wired.run(node, "a", ASKED, devices=NICS)
    (attachment,) = node.agent.attachments
    address = interfaces[1].addresses[0].cidr
    ip("addr", "del", address, "dev", "eth1", netns="a")
    ip("link", "set", "eth1", "mtu", "1300", "down", netns="a")
    found = node.datapath.check(attachment)
    assert found == (
        "eth1: its MTU is 1300, not 1400",
        "eth1: it is down",
        f"eth1: its address {address} is gone",
    )
    await node.datapath.repair(attachment)
    ip("link", "set", "eth1", "mtu", "1400", netns="a")
    assert node.datapath.check(attachment) == ()
    ip("link", "set", "eth1", "down", "name", "nic0", "netns", "node1", netns="a")
    assert node.datapath.check(attachment) == ("eth1: the pod has no such interface",)
    assert await node.datapath.repair(attachment) == ("eth1: the NIC nic0",)
    assert node.datapath.check(attachment) == ()


@pytest.mark.parametrize("device", ["eth0", "port0", "used0", "nowhere"])
async def test_only_a_spare_nic_is_given(wired, device):
    node = wired.nodes["node1"]
    for name in ("port0", "used0"):
        ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far", netns="node1")
    ip("addr", "add", "198.51.100.1/24", "dev", "used0", netns="node1")
    ip("link", "add", "br0", "type", "bridge", netns="node1")
    ip("link", "set", "port0", "master", "br0", netns="node1")
    before = node.links()
    machine, _ = wired.cluster.pod("node1", "a", ASKED, devices={"red": device})
    wired.namespace("a")
    code, answer = await node.call("ADD", "c-a", "a", "a", uid=machine.pod.uid)
    assert (code, answer["code"]) == (1, spec.DATAPATH_FAILED)
    assert device in answer["msg"]
    assert node.links() == before


async def test_an_add_that_fails_leaves_the_nic_as_it_was(wired):
    node = wired.nodes["node1"]
    before = nic("node1")
    node.reports.error = OSError("no answer")
    assert (await add(node, wired, "a"))[0] == 1
    node.reports.error = None
    assert nic("node1") == before
    assert nic("a", "eth1") is None


async def test_a_nic_that_comes_to_the_node_again_goes_back_to_its_pod(wired):
    """Its wire was cut with a namespace at the other end, and is there again: nobody has to ask for it."""
    node = wired.nodes["node1"]
    await wired.run(node, "a", ASKED, devices=NICS)
    (attachment,) = node.agent.attachments
    seen = asyncio.Event()
    with within("node1"):
        watch = ChangeWatch(lambda change: seen.set() if change.name == "nic0" else None, lambda: None)
    watch.open()
    ip("link", "del", "eth1", netns="a")
    wire = ["nic0", "type", "veth", "peer", "name", "nic0", "netns", "node2"]
    ip("link", "add", *wire, netns="node1")
    await wait_for("the NIC to be announced", seen.wait(), 30.0)
    watch.close()
    assert node.datapath.places().names["nic0"] == "c-a"
    assert await node.datapath.repair(attachment) == ("eth1: the NIC nic0",)
    assert nic("a", "eth1")[2]
