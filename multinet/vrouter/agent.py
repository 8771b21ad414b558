"""The node agent: answers CNI calls, keeps this node's forwarding equal to the cluster's objects.

It needs a view of the cluster, a data path, state files and somebody who writes the status, and knows none
of their insides, so a test drives it with objects and without an API. What it keeps in memory is on disk
(attachments) or in the API (everything else): a restart loses nothing, and DEL needs neither the API nor
the pod.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from multinet.cni import request as cni
from multinet.cni import results, spec
from multinet.cni.request import Request
from multinet.cni.spec import CNIError
from multinet.cni.wire import Call, Reply
from multinet.errors import ApiError, MultinetError, WaitExpiredError
from multinet.model.attachments import AttachedInterface, VirtualMachine
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.planted import planted
from multinet.vrouter import pods, rebuilding
from multinet.vrouter.datapath import Attachment, Datapath, DeviceBusyError, NetnsError
from multinet.vrouter.hostports import NoHostPorts, Publisher
from multinet.vrouter.ledger import Ledger
from multinet.vrouter.marks import short_id
from multinet.vrouter.policing import Everybody, Guard
from multinet.vrouter.states import Record, StateFiles
from multinet.vrouter.view import ClusterView, PodPlan, network_of
from multinet.waits import wait_for

_log = logging.getLogger(__name__)
_STATUS_LIMIT_S = 0.25


class Reporter(Protocol):
    """Writes what the agent made where users and the controller read it."""

    async def report(
        self, machine: VirtualMachine, seen: Sequence[AttachedInterface], network_status: str | None
    ) -> None:
        """Write a pod's interfaces to its VirtualMachine, and its annotation unless None.

        ``ApiError`` on failure.
        """


class Agent:
    """One node's agent. ``limit_s`` bounds how long ADD waits for the controller to decide."""

    def __init__(
        self,
        view: ClusterView,
        datapath: Datapath,
        states: StateFiles,
        reporter: Reporter,
        *,
        limit_s: float = 30.0,
        dialect: Dialect = DEFAULT,
        guard: Guard | None = None,
        host_ports: Publisher | None = None,
    ) -> None:
        self._view = view
        self._datapath = datapath
        self.ledger = Ledger(datapath, states)
        self._reporter = reporter
        self._limit_s = limit_s
        self._dialect = dialect
        self._guard = guard or Everybody()
        self._host_ports = host_ports or NoHostPorts("this agent makes none")
        self.ledger.on_forget(self._guard.dismiss)
        self.ledger.on_forget(self._host_ports.dismiss)
        self._ready = asyncio.Event()

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """All attachments of this node."""
        return tuple(record.attachment for record in self.ledger.records)

    def open(self) -> None:
        """Set the node up and find the attachments of an earlier agent; needs no API."""
        self.ledger.open()
        self._guard.open(self.attachments)
        self._host_ports.open(self.attachments)

    async def synced(self) -> None:
        """The view is complete now: know all attachments again, remove what belongs to pods that are gone.

        What can't be removed stays on record for DEL and GC; the node's other pods need their agent.
        """
        await self._rebuild()
        for record in self.ledger.records:
            if not record.is_workload and not self._view.has_pod(record.attachment.pod_uid):
                _log.info("pod %s is gone: its interfaces are removed", record.attachment.pod)
                async with self.ledger.hold(record.attachment.container_id):
                    try:
                        await self.ledger.forget(record)
                    except (MultinetError, OSError) as error:
                        _log.error("pod %s: its interfaces are still there: %s", record.attachment.pod, error)

    async def _rebuild(self) -> None:
        found = rebuilding.rebuilt(self._datapath, self._view)
        for record in found.records:
            self.ledger.adopt(record)
            _log.warning("pod %s: its state file is made again", record.attachment.pod)
            try:
                await self._guard.admit(record.attachment)
                await self._host_ports.admit(record.attachment)
            except MultinetError as error:
                _log.error("pod %s lacks policies or host ports: %s", record.attachment.pod, error)
        try:
            if found.orphans:
                await self._datapath.purge(found.orphans)
            self.ledger.sweep()
        except MultinetError as error:
            _log.error("devices of pods that are gone are still there: %s", error)

    async def reconcile(self, vni: int) -> None:
        """Bring one network's forwarding up to date; routed networks are kept on every node.

        Answers of the control plane to a routed network's pods come in by way of any node.
        """
        default = self._view.default_network()
        kept = default if default is not None and default.vni == vni else self._view.confined_network(vni)
        if kept is not None:
            await self._datapath.keep(network_of(kept))
        else:
            await self._datapath.release(vni)
        if default is not None:
            self._ready.set()
        await self._datapath.refresh(vni)

    async def handle(self, call: Call) -> Reply:
        """Answer one CNI call; every outcome is a reply, except cancellation."""
        try:
            return Reply(0, await self._dispatch(cni.parse(call.environment, call.stdin)))
        except Exception as error:
            refusal = _refusal(error)
            command = call.environment.get("CNI_COMMAND", "")
            _log.warning("%s %s: %s", command, call.environment.get("CNI_ARGS", ""), refusal)
            return Reply(1, refusal.to_json(cni.stated_version(call.stdin)))

    async def _dispatch(self, request: Request) -> bytes:
        if request.command == cni.VERSION:
            return spec.encode(spec.version_answer(request.version))
        if request.command == cni.STATUS:
            await self._status()
        elif request.command == cni.GC:
            await self._collect(request)
        else:
            async with self.ledger.hold(request.container_id):
                if request.command == cni.ADD:
                    return await self._add(request)
                if request.command == cni.CHECK:
                    self._check(request)
                else:
                    await self._delete(request)
        return b""

    async def _add(self, request: Request) -> bytes:
        cni.refuse_runtime_config(request.config, pods.CAPABILITIES)
        previous = results.previous_result(request.config)
        self._refuse_second(request)
        plan = await self._plan(request)
        wanted = pods.wanted(plan, self._view, request.config)
        if request.ifname != wanted[0].name:
            raise CNIError(
                spec.INVALID_ENVIRONMENT,
                f"CNI_IFNAME is {request.ifname}, the pod's first interface is {wanted[0].name}",
                f"call ADD once, with CNI_IFNAME={wanted[0].name}: it attaches the pod to all its networks",
            )
        pod = plan.machine.pod
        await self._replace(pod.uid, request.container_id)
        made = self._datapath.plan(request.container_id, request.netns, pod.key, pod.uid, wanted)
        made = replace(made, cni_network=request.network)
        record = Record(made, request.network, request.ifname)
        if planted("status-before-add"):
            early = pods.attached(made, plan.interfaces)
            await self._reporter.report(plan.machine, early, pods.network_status(early, plan.interfaces))
        try:
            await self._guard.admit(made)
            await self._host_ports.admit(made)
        except BaseException:
            self._guard.dismiss(made.container_id)
            raise
        await self.ledger.make(record)
        try:
            seen = pods.attached(made, plan.interfaces)
            written = self._dialect.controller_writes_status
            status = None if written else pods.network_status(seen, plan.interfaces)
            await self._reporter.report(plan.machine, seen, status)
            self.ledger.commit(record)
        except BaseException:
            await self.ledger.forget(record)
            raise
        return spec.encode(pods.result(made, plan.interfaces).to_object(request.version, previous))

    async def _plan(self, request: Request) -> PodPlan:
        namespace, pod = request.arg("K8S_POD_NAMESPACE"), request.arg("K8S_POD_NAME")
        if not namespace or not pod:
            raise CNIError(
                spec.INVALID_ENVIRONMENT,
                "CNI_ARGS does not say which pod this is",
                "set K8S_POD_NAMESPACE, K8S_POD_NAME and K8S_POD_UID in CNI_ARGS, as Kubernetes runtimes do",
            )
        return await self._view.wait_plan(namespace, pod, request.arg("K8S_POD_UID"), self._limit_s)

    def _refuse_second(self, request: Request) -> None:
        if self.ledger.find(request.container_id) is not None:
            raise CNIError(
                spec.ATTACHMENT_REFUSED,
                f"container {request.container_id} is attached already, to all networks of its pod",
                "call DEL before another ADD; nothing was changed",
            )

    async def _replace(self, pod_uid: str, container_id: str) -> None:
        """A pod's new sandbox takes over: the interfaces of its older one go first, names are the same."""
        for record in self.ledger.records:
            older = record.attachment
            if older.pod_uid == pod_uid and older.container_id != container_id:
                async with self.ledger.hold(older.container_id):
                    if self.ledger.find(older.container_id) is record:
                        await self.ledger.forget(record)

    async def _delete(self, request: Request) -> None:
        record = self.ledger.find(request.container_id)
        if record is not None and record.ifname == request.ifname:
            await self.ledger.forget(record)
        elif record is None:
            await self.ledger.purge(request.container_id)

    def _check(self, request: Request) -> None:
        record = self.ledger.find(request.container_id)
        if record is None or record.ifname != request.ifname:
            raise CNIError(
                spec.UNKNOWN_CONTAINER,
                f"container {request.container_id} is not attached by {request.ifname}",
                "nothing to check: call ADD",
            )
        previous = results.previous_result(request.config)
        if previous is None:
            raise CNIError(
                spec.INVALID_CONFIG, "CHECK without prevResult", "give the result of ADD as prevResult"
            )
        found = [
            *pods.contradictions(previous, record.attachment),
            *self._datapath.check(record.attachment),
            *self._host_ports.missing(record.attachment),
        ]
        if found:
            raise CNIError(
                spec.CHECK_FAILED,
                f"pod {record.attachment.pod} is not attached as it was: {found[0]}",
                "; ".join(found) + "; delete the pod to have it attached anew",
            )

    async def _collect(self, request: Request) -> None:
        keep = cni.valid_attachments(request.config)
        failed: list[str] = []
        for record in self.ledger.records:
            container_id = record.attachment.container_id
            if record.network != request.network or (container_id, record.ifname) in keep:
                continue
            async with self.ledger.hold(container_id):
                try:
                    await self.ledger.forget(record)
                except (MultinetError, OSError) as error:
                    failed.append(f"{record.attachment.pod}: {error}")
        names = {short_id(container_id) for container_id, _ in keep}
        for container in {
            stray.container for stray in self._datapath.strays() if stray.network == request.network
        } - names:
            try:
                await self.ledger.purge(container)
            except (MultinetError, OSError) as error:
                failed.append(f"container {container}: {error}")
        if failed:
            raise CNIError(spec.DATAPATH_FAILED, "some interfaces could not be removed", "; ".join(failed))

    async def _status(self) -> None:
        try:
            await wait_for("the default network", self._ready.wait(), _STATUS_LIMIT_S)
        except WaitExpiredError as error:
            raise CNIError(
                spec.NOT_AVAILABLE,
                "the default network is not known on this node yet",
                "is the controller running, and the Kubernetes API reachable from this node?",
            ) from error


def _refusal(error: Exception) -> CNIError:
    if isinstance(error, CNIError):
        return error
    if isinstance(error, WaitExpiredError | ApiError | DeviceBusyError):
        return CNIError(spec.TRY_AGAIN_LATER, error.what, _evidence(error))
    if isinstance(error, NetnsError):
        return CNIError(spec.INVALID_ENVIRONMENT, f"CNI_NETNS: {error.what}", _evidence(error))
    if isinstance(error, MultinetError):
        return CNIError(spec.DATAPATH_FAILED, error.what, _evidence(error))
    if isinstance(error, OSError):
        return CNIError(spec.IO_FAILURE, "the node agent met an I/O error", str(error))
    _log.error("a CNI call failed in an unforeseen way", exc_info=error)
    return CNIError(
        spec.INTERNAL, "the node agent failed", f"{json.dumps(repr(error))}; please report this, with its log"
    )


def _evidence(error: MultinetError) -> str:
    return "; ".join(part for part in (error.where, error.why, error.next_step) if part)
