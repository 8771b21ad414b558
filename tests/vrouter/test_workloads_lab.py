"""Workloads without Kubernetes in the kernel: traffic with pods, namespaces that come and go, restarts."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from multinet.vrouter.workloads import Workloads

pytestmark = pytest.mark.lab

UIDS = {"red": "aaaaaaaa-0000-4000-8000-000000000001", "blue": "bbbbbbbb-0000-4000-8000-000000000002"}
VNIS = {"red": 0x22, "blue": 0x33}


def ip(*words, netns=None):
    inside = ["-n", netns] if netns else []
    subprocess.run(["ip", *inside, *words], check=True)


def shown(*words, netns):
    done = subprocess.run(["ip", "-n", netns, "-j", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def vmi(network, *, node="node1", netns="/run/netns/vm", addresses=("10.1.1.9",), interface=None):
    index = list(UIDS).index(network) + 1
    return {
        "metadata": {
            "name": f"vm-{network}",
            "namespace": "kube-system",
            "uid": UIDS[network],
            "annotations": {"multinet.opencontrail.org/netns": netns},
        },
        "spec": {
            "pod": {},
            "node": node,
            "index": index,
            "of": 1,
            "network": network,
            "vni": VNIS[network],
            "forwardingMode": "l2_l3",
            "interface": interface or network,
            "mac": f"02:aa:00:00:00:{index:02x}",
            "addresses": [{"address": each, "prefixLength": 24} for each in addresses],
            "defaultRoute": [],
        },
    }


class Machine:
    """The workloads of one node's agent, fed by a test in place of the API."""

    def __init__(self, lab, node):
        self.lab, self.node = lab, node
        self.objects = {}
        self.reasons = []
        self.told = asyncio.Event()
        self.begin()

    def begin(self):
        node = self.node
        self.workloads = Workloads(node.view, node.datapath, node.agent.ledger, self)
        for obj in self.objects.values():
            self.workloads.changed(None, obj)
        self.running = asyncio.create_task(self.workloads.run())

    async def end(self):
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def restart(self, *, meanwhile=lambda: None):
        await self.end()
        self.node.stop()
        meanwhile()
        self.node.start()
        await self.node.sync()
        self.begin()

    async def tell(self, obj, condition):
        obj["status"] = {"conditions": [condition.to_object()]}
        self.reasons.append((obj["metadata"]["name"], condition.reason))
        self.told.set()

    def put(self, obj):
        uid = obj["metadata"]["uid"]
        old = self.objects.get(uid)
        if old is not None:
            obj["status"] = old.get("status", {})
        self.objects[uid] = obj
        self.lab.cluster.tell("interface", obj)
        self.workloads.changed(old, obj)

    def remove(self, network):
        obj = self.objects.pop(UIDS[network])
        self.lab.cluster.tell("interface", None, obj)
        self.workloads.changed(obj, None)

    async def until(self, *reason):
        async with asyncio.timeout(30):
            while not self.reasons or self.reasons[-1] != reason:
                self.told.clear()
                await self.told.wait()

    async def until_links(self, netns, expected):
        """The kernel tells nobody here; looked at until it is so."""
        found = set()
        for _ in range(3000):
            found = {link["ifname"] for link in shown("link", netns=netns)} - {"lo"}
            if found == expected:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{netns} has {found}, not {expected}")


@pytest.fixture
async def machine(lab):
    node = lab.node("node1")
    await node.sync()
    made = Machine(lab, node)
    yield made
    await made.end()


async def refresh(lab):
    for node in lab.nodes.values():
        for vni in VNIS.values():
            await node.agent.reconcile(vni)


async def test_a_host_in_two_networks_talks_to_the_pods_in_each_and_leaves_nothing(lab, machine):
    other = lab.node("node2")
    await other.sync()
    links = machine.node.links()
    near = await lab.run(machine.node, "near", ["default", "red"])
    far = await lab.run(other, "far", ["default", "red"])
    lab.namespace("vm")
    machine.put(vmi("red"))
    await machine.until("vm-red", "Attached")
    machine.put(vmi("blue", addresses=("10.1.2.9",)))
    await machine.until("vm-blue", "Attached")
    await refresh(lab)
    for _, interfaces in (near, far):
        assert lab.ping("vm", interfaces[1].addresses[0].address)[0]
    for pod in ("near", "far"):
        assert lab.ping(pod, "10.1.1.9")[0]
    assert not lab.ping("vm", far[1][1].addresses[0].address, "-I", "blue", wait_s=1)[0]
    found = {link["ifname"]: link for link in shown("addr", netns="vm")}
    assert found["red"]["address"] == "02:aa:00:00:00:01"
    assert found["red"]["mtu"] == 1500
    assert shown("route", "show", "default", netns="vm") == []
    assert {"tapaaaaaaaa-1", "tapbbbbbbbb-2"} <= machine.node.links()
    machine.remove("red")
    machine.remove("blue")
    await machine.until_links("vm", set())
    lab.cluster.gone(*near)
    assert (await machine.node.call("DEL", "c-near", "near"))[0] == 0
    await machine.node.datapath.settled()
    assert machine.node.links() == links
    assert list((lab.directory / "node1").iterdir()) == []


async def test_a_namespace_that_comes_later_goes_and_comes_again(lab, machine):
    machine.put(vmi("red"))
    await machine.until("vm-red", "NetnsMissing")
    lab.namespace("vm")
    await machine.until("vm-red", "Attached")
    ip("netns", "delete", "vm")
    lab.namespaces.remove("vm")
    await machine.until("vm-red", "NetnsMissing")
    lab.namespace("vm")
    await machine.until("vm-red", "Attached")
    await machine.until_links("vm", {"red"})
    ip("link", "delete", "red", netns="vm")
    await machine.until_links("vm", {"red"})


async def test_a_namespace_without_a_name_that_ends_is_noticed(lab, machine):
    argv = ("unshare", "--net", "sh", "-c", "echo; exec sleep 60")
    holder = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    await holder.stdout.readline()  # it is in its namespace now
    path = f"/proc/{holder.pid}/ns/net"
    machine.put(vmi("red", netns=path))
    try:
        await machine.until("vm-red", "Attached")
    finally:
        holder.kill()
        await holder.wait()
    await machine.until("vm-red", "NetnsMissing")
    assert not any(name.startswith("tap") for name in machine.node.links())


async def test_a_name_that_is_taken_is_told_and_mended_by_taking_it_away(lab, machine):
    lab.namespace("vm")
    ip("link", "add", "red", "type", "bridge", netns="vm")
    machine.put(vmi("red"))
    await machine.until("vm-red", "LinkExists")
    assert shown("link", "show", "type", "bridge", netns="vm")[0]["ifname"] == "red"
    ip("link", "delete", "red", netns="vm")
    await machine.until("vm-red", "Attached")


async def test_changes_are_followed(lab, machine):
    lab.namespace("vm")
    lab.namespace("vm2")
    machine.put(vmi("red"))
    await machine.until("vm-red", "Attached")
    machine.put(vmi("red", addresses=("10.1.1.9", "10.1.1.8"), interface="net1"))
    await machine.until_links("vm", {"net1"})
    await machine.until("vm-red", "Attached")
    (link,) = [link for link in shown("addr", netns="vm") if link["ifname"] == "net1"]
    assert [item["local"] for item in link["addr_info"]] == ["10.1.1.9", "10.1.1.8"]
    machine.put(vmi("red", netns="/run/netns/vm2"))
    await machine.until_links("vm", set())
    await machine.until_links("vm2", {"red"})
    machine.put(vmi("red", netns="/run/netns/vm2", addresses=()))
    await machine.until("vm-red", "Detached")
    assert {link["ifname"] for link in shown("link", netns="vm2")} == {"lo"}


async def test_a_restarted_agent_keeps_them_and_sees_what_changed_meanwhile(lab, machine):
    lab.namespace("vm")
    pod = await lab.run(machine.node, "near", ["default", "red"])
    for network in ("red", "blue"):
        machine.put(vmi(network))
        await machine.until(f"vm-{network}", "Attached")
    before = shown("link", netns="vm")
    said = list(machine.reasons)
    await machine.restart()
    assert lab.ping("vm", pod[1][1].addresses[0].address, "-I", "red")[0]
    assert shown("link", netns="vm") == before
    assert machine.reasons == said
    await machine.restart(meanwhile=lambda: machine.objects.pop(UIDS["blue"]))
    await machine.until_links("vm", {"red"})
    assert lab.ping("vm", pod[1][1].addresses[0].address)[0]
