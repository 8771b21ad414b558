"""Workloads without Kubernetes: VirtualMachineInterfaces that no pod has, attached on this node.

Nobody calls ADD or DEL for them; the objects alone say what shall be (docs/configapi.md, "A workload without
Kubernetes"). So this is level-triggered: :meth:`Workloads.reconcile` looks at one object, at what is attached
and at the network namespace, and makes the second fit the first, whatever happened in between. It is asked to
look when the object or its network changes, a name in ``/run/netns`` comes or goes, a device of ours vanishes
(its namespace ended), after a back-off while something is missing, and every half minute.

Each VirtualMachineInterface is one attachment of its own with the container ID ``vmi-<uid>``; its record is
kept like a pod's, so that an agent which starts again finds it. The record names the inode of the namespace
only once everything is made: a namespace made anew under the same name has another inode, and an agent that
was killed halfway leaves 0, and starts over.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from errno import EEXIST
from pathlib import Path
from typing import Protocol

from multinet.kube.backoff import Backoff
from multinet.kube.queue import KeyedQueue
from multinet.model import conditions
from multinet.model.attachments import Interface
from multinet.model.conditions import Condition
from multinet.model.objects import API_GROUP, Obj, annotations_of, key_of, uid_of
from multinet.vrouter import netns
from multinet.vrouter.datapath import Attachment, Datapath, DatapathError, Wanted
from multinet.vrouter.ledger import Ledger
from multinet.vrouter.netlink import NetlinkError
from multinet.vrouter.netnswatch import NamesWatch
from multinet.vrouter.states import WORKLOADS, Record
from multinet.vrouter.view import ClusterView

ANNOTATION_NETNS = f"{API_GROUP}/netns"
ATTACHED = "Attached"
NETNS_MISSING, LINK_EXISTS, FAILED, DETACHED = "NetnsMissing", "LinkExists", "Failed", "Detached"

_NAMES = Path("/run/netns")
_NAMED = ("/run/netns/", "/var/run/netns/")
_BACKOFF = Backoff(first_s=0.05, cap_s=2.0)
_LOOK_AGAIN_S = 30.0
# Far above what the kernel gives by itself in a namespace, and the same from whichever node.
_FAR_INDEX = 0x2000_0000
_log = logging.getLogger(__name__)


class Teller(Protocol):
    """Writes what became of a workload where its owner reads it."""

    async def tell(self, vmi: Obj, condition: Condition) -> None:
        """Write a condition and an Event of a VirtualMachineInterface; ``ApiError`` on failure."""


@dataclass(frozen=True, slots=True)
class _Workload:
    """A VirtualMachineInterface without a pod; ``node`` is where it shall be."""

    uid: str
    key: str
    netns: str
    interface: Interface
    vmi: Obj

    @property
    def container_id(self) -> str:
        return f"vmi-{self.uid}"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a look ended, in the words of the condition; ``settled``: nothing has to be tried again."""

    reason: str
    message: str

    @property
    def settled(self) -> bool:
        return self.reason in (ATTACHED, DETACHED)


class Workloads:
    """Keeps this node's workloads attached as their objects say. Feed it changes, and :meth:`run` it."""

    def __init__(self, view: ClusterView, datapath: Datapath, ledger: Ledger, teller: Teller) -> None:
        self._view = view
        self._datapath = datapath
        self._ledger = ledger
        self._teller = teller
        self._known: dict[str, _Workload] = {}
        self._failures: dict[str, int] = {}
        self._queue = KeyedQueue(self.reconcile, workers=2, name="workloads")

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a VirtualMachineInterface; a pod's is none of our business."""
        before = self._known.pop(uid_of(old), None) if old is not None else None
        workload = None if new is None else _workload(new)
        if before is not None:
            self._queue.add(before.uid)
        if workload is not None:
            self._known[workload.uid] = workload
            self._queue.add(workload.uid)

    def network_changed(self, vni: int) -> None:
        """A network came to be known; those that waited for it are looked at."""
        if self._failures:
            self._again(lambda each: each.interface.vni == vni and each.uid in self._failures)

    async def run(self) -> None:
        """Work until cancelled; to be started when the view is complete. What is attached stays."""
        watch = NamesWatch(_NAMES, self._names_changed)
        watch.open()
        self._datapath.on_gone(self._device_gone)
        for record in self._ledger.records:
            if record.is_workload:
                self._queue.add(record.attachment.pod_uid)
        try:
            await self._queue.run()
        finally:
            watch.close()

    async def reconcile(self, uid: str) -> None:
        """Look at one workload and make it so; failures to attach are told and tried again."""
        workload = self._known.get(uid)
        wanted = self._wanted(workload)
        async with self._ledger.hold(f"vmi-{uid}"):
            record = self._ledger.find(f"vmi-{uid}")
            if record is not None and not self._fits(record, workload, wanted):
                _log.info("workload %s is detached", record.attachment.pod)
                await self._ledger.forget(record)
                record = None
                # What it had may be what another one waits for: a name, a namespace's interface.
                self._again(lambda each: each.uid in self._failures)
            if workload is None:
                self._failures.pop(uid, None)
                return
            if wanted is None:
                outcome = _Outcome(DETACHED, "no node, network namespace, address or VNI is given")
            elif record is None:
                outcome = await self._attach(workload, wanted)
            else:
                outcome = _attached(record, wanted)
        self._schedule(uid, outcome)
        await self._tell(workload, outcome)

    def _wanted(self, workload: _Workload | None) -> Wanted | None:
        """The interface to have here, None when there shall be none."""
        if workload is None:
            return None
        interface = workload.interface
        here = interface.node == self._view.node
        if not (here and workload.netns and interface.vni > 0 and interface.addresses):
            return None
        return Wanted(
            index=interface.index,
            name=interface.interface,
            mac=interface.mac,
            addresses=tuple(item.cidr for item in interface.addresses),
            gateways=interface.default_route or (),
            mtu=interface.mtu,
            network=self._view.network_as_seen(interface),
            bandwidth=interface.bandwidth,
            guarded=interface.port_security,
        )

    def _fits(self, record: Record, workload: _Workload | None, wanted: Wanted | None) -> bool:
        """Whether what is attached is what shall be, in the namespace that is there now."""
        attachment = record.attachment
        if workload is None or wanted is None or attachment.netns != workload.netns:
            return False
        inode = netns.inode_of(workload.netns)
        if not inode or inode != record.netns_inode:
            return False
        return _same(attachment.ports[0].wanted, wanted) and self._datapath.has(attachment)

    async def _attach(self, workload: _Workload, wanted: Wanted) -> _Outcome:
        if self._view.network(workload.interface.network) is None:
            return _Outcome(FAILED, f"the network {workload.interface.network} is not there")
        inode = netns.inode_of(workload.netns)
        if not inode:
            where = f"no network namespace at {workload.netns} on {self._view.node}"
            return _Outcome(NETNS_MISSING, f"{where}; waiting for it")
        try:
            record = self._record(workload, wanted)
            await self._ledger.make(record)
            self._ledger.amend(replace(record, netns_inode=inode))
        except (DatapathError, OSError) as error:
            outcome = _failure(error, workload)
            _log.warning("workload %s: %s", workload.key, outcome.message)
            return outcome
        _log.info("workload %s is attached as %s", workload.key, wanted.name)
        return _attached(record, wanted)

    def _record(self, workload: _Workload, wanted: Wanted) -> Record:
        planned = self._datapath.plan(
            workload.container_id, workload.netns, workload.key, workload.uid, [wanted]
        )
        (port,) = planned.ports
        # Several workloads, also of several nodes, may share a namespace, where an ifindex is taken once.
        digest = hashlib.sha256(workload.uid.encode()).digest()
        port = replace(port, pod_index=_FAR_INDEX | int.from_bytes(digest[:4]) % _FAR_INDEX)
        attachment = Attachment(planned.container_id, planned.netns, planned.pod, planned.pod_uid, (port,))
        # No CNI call has an empty interface name, so none means this record.
        return Record(attachment, WORKLOADS, "")

    def _schedule(self, uid: str, outcome: _Outcome) -> None:
        if outcome.settled:
            self._failures.pop(uid, None)
            if outcome.reason == ATTACHED:
                self._queue.add_after(uid, _LOOK_AGAIN_S)
            return
        failures = self._failures[uid] = self._failures.get(uid, 0) + 1
        self._queue.add_after(uid, _BACKOFF.delay(failures))

    async def _tell(self, workload: _Workload, outcome: _Outcome) -> None:
        said = conditions.find(workload.vmi, ATTACHED)
        status = "True" if outcome.reason == ATTACHED else "False"
        condition = Condition(ATTACHED, status, outcome.reason, outcome.message, _now())
        if outcome.reason == DETACHED and (
            said is None or workload.interface.node not in ("", self._view.node)
        ):
            return  # never attached, or another node's agent speaks
        if outcome.reason == DETACHED and said is not None and said.reason == DETACHED:
            return
        if not condition.says_the_same(said):
            await self._teller.tell(workload.vmi, condition)

    def _again(self, which: Callable[[_Workload], bool]) -> None:
        for workload in self._known.values():
            if which(workload):
                self._queue.add(workload.uid)

    def _names_changed(self) -> None:
        named = [uid for uid, each in self._known.items() if each.netns.startswith(_NAMED)]
        for uid in named:
            if uid in self._failures:
                self._failures[uid] = 0
            self._queue.add(uid)

    def _device_gone(self, index: int) -> None:
        for record in self._ledger.records:
            if record.is_workload and record.attachment.ports[0].host_index == index:
                self._queue.add(record.attachment.pod_uid)


def _workload(vmi: Obj) -> _Workload | None:
    try:
        interface = Interface.from_object(vmi)
    except (KeyError, TypeError, ValueError) as error:
        _log.warning("left out: VirtualMachineInterface %s: %r", key_of(vmi), error)
        return None
    if interface.pod.name:
        return None
    return _Workload(uid_of(vmi), key_of(vmi), annotations_of(vmi).get(ANNOTATION_NETNS, ""), interface, vmi)


def _same(made: Wanted, wanted: Wanted) -> bool:
    """Equality as far as the interface is concerned; a network's service addresses may change."""
    return replace(made, network=wanted.network) == wanted and (made.network.vni, made.network.mode) == (
        wanted.network.vni,
        wanted.network.mode,
    )


def _attached(record: Record, wanted: Wanted) -> _Outcome:
    where = f"{wanted.name} with {', '.join(wanted.addresses)} in {record.attachment.netns}"
    return _Outcome(ATTACHED, where)


def _failure(error: Exception, workload: _Workload) -> _Outcome:
    cause = error.__cause__
    words = str(cause or error)
    if isinstance(cause, NetlinkError) and EEXIST in cause.numbers:
        name = workload.interface.interface
        return _Outcome(LINK_EXISTS, f"{workload.netns} has an interface {name} already ({words})")
    return _Outcome(FAILED, words)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
