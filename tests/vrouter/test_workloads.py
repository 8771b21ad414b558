"""Workloads without Kubernetes: what is decided, with a data path that only notes what it is asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from multinet.cni.wire import Call
from multinet.errors import ApiError
from multinet.model import conditions
from multinet.vrouter import workloads
from multinet.vrouter.agent import Agent
from multinet.vrouter.datapath import Attachment, DatapathError, Port
from multinet.vrouter.ledger import Ledger
from multinet.vrouter.netlink import Failure, NetlinkError, Request
from multinet.vrouter.netnswatch import NamesWatch
from multinet.vrouter.states import StateFiles
from multinet.vrouter.view import ClusterView
from multinet.vrouter.workloads import Workloads

UID = "aabbccdd-0000-4000-8000-000000000001"
# Some network namespace: only its inode is looked at, nothing is made in it.
NETNS = "/proc/self/ns/net"


def vmi(uid=UID, name="port-1", *, node="node1", netns=NETNS, network="red", addresses=("10.1.1.9",), **spec):
    return {
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "uid": uid,
            "annotations": {"multinet.opencontrail.org/netns": netns},
        },
        "spec": {
            "pod": {},
            "node": node,
            "index": 1,
            "of": 1,
            "network": network,
            "vni": 0x22,
            "forwardingMode": "l2_l3",
            "interface": "net1",
            "mac": "02:aa:bb:cc:dd:00",
            "addresses": [{"address": each, "prefixLength": 24} for each in addresses],
            "defaultRoute": [],
            **spec,
        },
    }


class NotedDatapath:
    def __init__(self):
        self.up, self.log, self.error, self.listener = {}, [], None, None
        self.detached = asyncio.Event()

    def open(self, known, doomed):
        self.up = {each.container_id: each for each in known}
        return tuple(known)

    def strays(self):
        return ()

    def sweep(self):
        self.swept = True

    def plan(self, container_id, netns, pod, pod_uid, wanted):
        ports = tuple(Port(each, f"tap-{each.index}", 7, 101, 1500) for each in wanted)
        return Attachment(container_id, netns, pod, pod_uid, ports)

    async def attach(self, attachment):
        if self.error:
            raise self.error
        self.log.append(("attach", attachment.container_id))
        self.up[attachment.container_id] = attachment

    async def detach(self, attachment):
        self.log.append(("detach", attachment.container_id))
        self.up.pop(attachment.container_id, None)
        self.detached.set()

    def has(self, attachment):
        return attachment.container_id in self.up

    def on_gone(self, listener):
        self.listener = listener


class Rig:
    """One agent; ``tell`` feeds an object, ``said`` is what its owner would read."""

    def __init__(self, cluster, directory):
        self.cluster, self.directory = cluster, directory
        self.said, self.unreachable, self.told = [], False, asyncio.Event()
        self.objects = {}
        self.start()

    def start(self):
        self.view = ClusterView("node1")
        self.cluster.join(self.view)
        self.datapath = NotedDatapath()
        self.agent = Agent(self.view, self.datapath, StateFiles(self.directory), None)
        self.agent.open()
        self.workloads = Workloads(self.view, self.datapath, self.agent.ledger, self)
        for obj in self.objects.values():
            self.workloads.changed(None, obj)

    async def tell(self, obj, condition):
        if self.unreachable:
            raise ApiError("the API is away")
        self.told.set()
        self.said.append((condition.status, condition.reason, condition.message))
        obj["status"] = {"conditions": [condition.to_object()]}

    async def put(self, obj):
        uid = obj["metadata"]["uid"]
        old = self.objects.get(uid)
        if old is not None:
            obj = {**obj, "status": old.get("status", {})}
        self.objects[uid] = obj
        self.workloads.changed(old, obj)
        await self.workloads.reconcile(uid)

    async def remove(self, uid=UID):
        self.workloads.changed(self.objects.pop(uid), None)
        await self.workloads.reconcile(uid)

    def log(self):
        found, self.datapath.log = self.datapath.log, []
        return found


@pytest.fixture
def rig(cluster, tmp_path):
    return Rig(cluster, tmp_path / "state")


async def ran(rig, event):
    """Let the agent work by itself until ``event`` is set, and end what it began."""
    running = asyncio.create_task(rig.workloads.run())
    await asyncio.wait_for(event.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


ATTACH, DETACH = ("attach", f"vmi-{UID}"), ("detach", f"vmi-{UID}")


async def test_attached_once_told_once_and_gone_with_the_object(rig):
    await rig.put(vmi())
    assert rig.log() == [ATTACH]
    assert rig.said == [("True", "Attached", f"net1 with 10.1.1.9/24 in {NETNS}")]
    (attachment,) = rig.agent.attachments
    assert (attachment.pod, attachment.pod_uid) == ("kube-system/port-1", UID)
    wanted = attachment.ports[0].wanted
    assert (wanted.name, wanted.mac, wanted.gateways) == ("net1", "02:aa:bb:cc:dd:00", ())
    assert wanted.network.vni == 0x22
    for _ in range(3):
        await rig.workloads.reconcile(UID)
    assert rig.log() == []
    assert len(rig.said) == 1
    await rig.remove()
    assert rig.log() == [DETACH]
    assert list(rig.directory.iterdir()) == []


async def test_two_in_one_namespace_have_ifindexes_of_their_own(rig):
    other = "aabbccdd-0000-4000-8000-000000000002"
    await rig.put(vmi())
    await rig.put(vmi(other, "port-2", interface="net2"))
    indexes = {each.ports[0].pod_index for each in rig.agent.attachments}
    assert len(indexes) == 2
    assert all(0x20000000 <= index < 0x40000000 for index in indexes)


@pytest.mark.parametrize(
    "change",
    [{"node": "node2"}, {"netns": ""}, {"addresses": ()}, {"vni": 0}, {"pod": {"name": "a", "uid": "u"}}],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_not_ours_or_not_complete_is_left_alone_and_what_becomes_so_is_detached(rig, change):
    await rig.put(vmi(**change))
    assert (rig.log(), rig.said) == ([], [])
    await rig.put(vmi())
    assert rig.log() == [ATTACH]
    await rig.put(vmi(**change))
    assert rig.log() == [DETACH]
    # Another node's agent, and nobody for a pod's, has the last word where it is not ours any more.
    last = "Attached" if {"node", "pod"} & change.keys() else "Detached"
    assert rig.said[-1][1] == last


@pytest.mark.parametrize(
    "change",
    [{"addresses": ("10.1.1.9", "10.1.1.8")}, {"interface": "net7"}, {"mac": "02:00:00:00:00:07"}],
    ids=lambda change: next(iter(change)),
)
async def test_a_change_attaches_anew(rig, change):
    await rig.put(vmi())
    rig.log()
    await rig.put(vmi(**change))
    assert rig.log() == [DETACH, ATTACH]
    await rig.put(vmi(**change))
    assert rig.log() == []


async def test_another_namespace_at_the_same_path_attaches_anew(rig, tmp_path, monkeypatch):
    inodes = [5]
    monkeypatch.setattr(workloads.netns, "inode_of", lambda _path: inodes[-1])
    await rig.put(vmi())
    inodes.append(6)
    await rig.workloads.reconcile(UID)
    assert rig.log() == [ATTACH, DETACH, ATTACH]
    inodes.append(0)
    await rig.workloads.reconcile(UID)
    assert rig.log() == [DETACH]
    assert rig.said[-1][:2] == ("False", "NetnsMissing")


async def test_a_vanished_device_attaches_anew(rig):
    await rig.put(vmi())
    rig.datapath.up.clear()
    await rig.workloads.reconcile(UID)
    assert rig.log() == [ATTACH, DETACH, ATTACH]


async def test_a_missing_namespace_is_told_once_and_waited_for(rig, tmp_path, monkeypatch):
    await rig.put(vmi(netns=str(tmp_path / "absent")))
    await rig.workloads.reconcile(UID)
    assert rig.said == [
        ("False", "NetnsMissing", f"no network namespace at {tmp_path / 'absent'} on node1; waiting for it")
    ]
    (tmp_path / "absent").touch()  # as ip netns add does, before it mounts
    await rig.workloads.reconcile(UID)
    assert len(rig.said) == 1
    monkeypatch.setattr(workloads.netns, "inode_of", lambda _path: 7)
    rig.told.clear()
    await ran(rig, rig.told)
    assert rig.said[-1][1] == "Attached"
    assert rig.log() == [ATTACH]


async def test_a_link_of_that_name_and_other_failures_have_their_reasons(rig):
    refusal = NetlinkError([Failure(Request(16, 0, b"", "create veth tap-1"), 17)])
    rig.datapath.error = DatapathError("could not be made")
    rig.datapath.error.__cause__ = refusal
    await rig.put(vmi())
    status, reason, message = rig.said[-1]
    assert (status, reason) == ("False", "LinkExists")
    assert f"{NETNS} has an interface net1 already" in message
    assert rig.agent.attachments == ()
    rig.datapath.error = DatapathError("the underlay is too small")
    await rig.workloads.reconcile(UID)
    assert rig.said[-1] == ("False", "Failed", "the underlay is too small")
    rig.datapath.error = None
    await rig.workloads.reconcile(UID)
    assert [reason for _, reason, _ in rig.said] == ["LinkExists", "Failed", "Attached"]


async def test_a_network_that_is_not_there_yet(rig):
    await rig.put(vmi(network="late"))
    assert rig.said[-1] == ("False", "Failed", "the network late is not there")
    known = next(obj for what, obj in rig.cluster.objects if what == "network" and obj["spec"]["vni"] == 0x22)
    rig.cluster.tell("network", {**known, "metadata": {**known["metadata"], "name": "late"}})
    await rig.workloads.reconcile(UID)
    assert rig.log() == [ATTACH]


async def test_a_restart_keeps_what_is_attached_and_removes_what_is_gone(rig):
    other = "aabbccdd-0000-4000-8000-000000000002"
    await rig.put(vmi())
    await rig.put(vmi(other, "port-2", interface="net2"))
    del rig.objects[other]
    rig.start()
    await rig.agent.synced()
    assert rig.log() == []  # synced() is about pods
    await ran(rig, rig.datapath.detached)
    assert rig.log() == [("detach", f"vmi-{other}")]
    assert len(rig.agent.attachments) == 1
    assert rig.agent.attachments[0].pod_uid == UID
    assert [reason for _, reason, _ in rig.said] == ["Attached", "Attached"]


async def test_an_agent_that_was_killed_halfway_starts_over(rig):
    await rig.put(vmi())
    (record,) = rig.agent.ledger.records
    StateFiles(rig.directory).store(replace(record, netns_inode=0))
    rig.start()
    await rig.workloads.reconcile(UID)
    assert rig.log() == [DETACH, ATTACH]


async def test_no_cni_call_touches_a_workload(rig):
    await rig.put(vmi())
    rig.log()
    for command in ("DEL", "CHECK", "GC"):
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"vmi-{UID}",
            "CNI_NETNS": NETNS,
            "CNI_IFNAME": "net1",
            "CNI_PATH": "/opt/cni/bin",
        }
        config = {"cniVersion": "1.1.0", "name": "multinet", "type": "multinet-cni"}
        config["cni.dev/valid-attachments"] = []
        await rig.agent.handle(Call(environment, json.dumps(config).encode()))
    assert rig.log() == []


async def test_what_could_not_be_told_is_told_later(rig):
    rig.unreachable = True
    with pytest.raises(ApiError):
        await rig.put(vmi())
    rig.unreachable = False
    await rig.workloads.reconcile(UID)
    assert rig.log() == [ATTACH]
    assert conditions.find(rig.objects[UID], "Attached").is_true


async def test_an_object_made_anew_under_the_same_name_replaces_the_old_one(rig):
    other = "aabbccdd-0000-4000-8000-000000000002"
    await rig.put(vmi())
    fresh = vmi(other)
    rig.workloads.changed(rig.objects[UID], fresh)
    await rig.workloads.reconcile(UID)
    await rig.workloads.reconcile(other)
    assert rig.log() == [ATTACH, DETACH, ("attach", f"vmi-{other}")]


async def test_names_are_watched(tmp_path):
    told = asyncio.Event()
    watch = NamesWatch(tmp_path, told.set)
    assert watch.open()
    for change in ((tmp_path / "a").touch, (tmp_path / "a").unlink):
        told.clear()
        change()
        await asyncio.wait_for(told.wait(), 30)
    watch.close()
    assert not NamesWatch(Path("/nowhere"), told.set).open()


async def test_the_ledger_forgets_what_could_not_be_made(rig, tmp_path):
    ledger = Ledger(rig.datapath, StateFiles(tmp_path / "other"))
    ledger.open()
    rig.datapath.error = DatapathError("no")
    await rig.put(vmi())
    assert list(rig.directory.iterdir()) == []
    assert ledger.records == ()
