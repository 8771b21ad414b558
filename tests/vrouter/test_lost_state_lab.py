"""State files that are lost, and no API to ask: the kernel's word is enough to keep and to remove."""

from __future__ import annotations

import json
import shutil

import pytest

from multinet.cni import spec

pytestmark = pytest.mark.lab


async def restarted_without_files(lab, node):
    """A new agent that finds no file, and does not know the cluster yet."""
    node.stop()
    shutil.rmtree(lab.directory / node.name)
    node.start()


async def test_traffic_goes_on_and_del_removes_without_file_and_api(lab):
    one, two = lab.node("node1"), lab.node("node2")
    await one.sync()
    await two.sync()
    before = one.links()
    await lab.run(one, "a", ["default", "red"])
    _, interfaces = await lab.run(two, "b", ["default", "red"])
    await restarted_without_files(lab, one)
    for interface in interfaces:
        assert lab.ping("a", interface.addresses[0].address)[0]
    assert (await one.call("CHECK", "c-a", "a"))[1]["code"] == spec.UNKNOWN_CONTAINER
    assert await one.call("DEL", "another") == (0, {})
    assert lab.ping("a", interfaces[1].addresses[0].address)[0]
    assert await one.call("DEL", "c-a") == (0, {})
    await one.sync()
    await one.datapath.settled()
    assert one.links() == before


async def test_the_cluster_and_the_kernel_make_a_lost_record_again(lab):
    node = lab.node("node1")
    await node.sync()
    before = node.links()
    machine, _ = await lab.run(node, "a", ["default", "red", "iso"])
    gone = await lab.run(node, "gone", ["default", "blue"])
    record = json.loads((lab.directory / "node1" / "c-a.json").read_text())
    lab.cluster.gone(*gone)
    await restarted_without_files(lab, node)
    late = lab.cluster.pod("node1", "late", ["default", "blue"])  # before the view is complete
    lab.namespace("late")
    code, result = await node.call("ADD", "c-late", "late", "late", uid=late[0].pod.uid)
    assert code == 0
    await node.sync()
    await node.datapath.settled()
    assert json.loads((lab.directory / "node1" / "c-a.json").read_text()) == record
    assert {each.pod for each in node.agent.attachments} == {"default/a", "default/late"}
    assert not any(name.startswith(f"tap{gone[0].pod.uid[:8]}") for name in node.links())
    assert (await node.call("CHECK", "c-late", "late", config={"prevResult": result}))[0] == 0
    for attachment in node.agent.attachments:
        assert node.datapath.check(attachment) == ()
    for name in ("a", "late"):
        assert (await node.call("DEL", f"c-{name}", name))[0] == 0
    await node.datapath.settled()
    assert node.links() - before <= {"vx-44"}  # a routed network stays on every node
    assert machine.pod.name == "a"


async def test_gc_removes_lost_containers_that_are_not_valid(lab):
    node = lab.node("node1")
    await node.sync()
    for name in ("a", "b"):
        await lab.run(node, name, ["default", "red"])
    await restarted_without_files(lab, node)
    version = {"cniVersion": "1.1.0"}
    other = {**version, "name": "other", "cni.dev/valid-attachments": []}
    assert (await node.call("GC", "", config=other))[0] == 0
    assert len([name for name in node.links() if name.startswith("tap")]) == 4
    valid = {**version, "cni.dev/valid-attachments": [{"containerID": "c-b", "ifname": "eth0"}]}
    assert (await node.call("GC", "", config=valid))[0] == 0
    assert len([name for name in node.links() if name.startswith("tap")]) == 2
    await node.sync()
    assert [each.pod for each in node.agent.attachments] == ["default/b"]


async def test_add_before_the_cluster_is_known_finds_the_networks_of_pods_that_went_meanwhile(lab):
    node = lab.node("node1")
    await node.sync()
    before = node.links()
    gone = await lab.run(node, "a", ["default", "red"])
    await restarted_without_files(lab, node)
    assert await node.call("DEL", "c-a") == (0, {})  # the last that anything was known of
    lab.cluster.gone(*gone)
    machine, _ = lab.cluster.pod("node1", "late", ["default", "red"])
    lab.namespace("late")
    code, result = await node.call("ADD", "c-late", "late", "late", uid=machine.pod.uid)
    assert code == 0, result
    await node.sync()
    assert (await node.call("CHECK", "c-late", "late", config={"prevResult": result}))[0] == 0
    assert lab.ping("late", "10.47.255.254", "-W", "10")[0]
    assert (await node.call("DEL", "c-late", "late"))[0] == 0
    await node.datapath.settled()
    assert node.links() == before
