"""One pod on this node: a task that brings what runs to what the API asks for, and says so in the status.

The worker sleeps on one event, set by whatever may matter (the pod changed, a container or the sandbox
ended, the node's network changed), and then looks at everything anew. A deletion interrupts a pending ADD.

Which sandbox the pod has is what the sandbox store has on file, not what the worker remembers: a set-up that
failed may have left one which no ``set_up`` ever returned.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

from multinet.errors import MultinetError, NetworkingError, WaitExpiredError
from multinet.kube.errors import ConflictError, KubeError, NotFoundError
from multinet.kube.resources import PODS
from multinet.kubelet import podnetwork
from multinet.kubelet.cleanup import settled
from multinet.kubelet.context import NodeContext
from multinet.kubelet.podcontainers import PodContainers
from multinet.kubelet.podspec import grace_seconds, ignored_fields
from multinet.kubelet.references import references_of
from multinet.kubelet.sandbox import Sandbox
from multinet.kubelet.status import CONDITIONS, PodView, pod_status, timestamp
from multinet.kubelet.statuswriter import StatusWriter
from multinet.kubelet.wakeup import wait_or_timeout
from multinet.model.objects import Obj, key_of, name_of, namespace_of, section, uid_of

T = TypeVar("T")
_log = logging.getLogger(__name__)
_GONE_GRACE_S = 1.0


class PodWorker:
    """The life of one pod (one uid) on this node. ``sandbox`` is one found from an earlier kubelet.

    A ``static`` pod is not from the API: what the API has of it is a mirror (:meth:`mirrored_by`).
    """

    def __init__(
        self, context: NodeContext, pod: Obj, sandbox: Sandbox | None = None, *, static: bool = False
    ) -> None:
        self.pod = pod
        self.sandbox = sandbox
        self.containers = PodContainers(context, pod, self.wake)
        self._context = context
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._gone = asyncio.Event()
        self._failures = 0
        self._status: Obj = dict(section(pod, "status"))
        self._writer = StatusWriter(context.client, {} if static else pod, context.timing.api, lasting=static)
        self._static = static
        self._mirror: Obj = {}
        self._ended: tuple[str, str] | None = None
        self._sandbox_watch: asyncio.Task[None] | None = None
        if _is_ending(pod):
            self._ending.set()

    def update(self, pod: Obj) -> None:
        """The pod changed in the API; our own status writes wake nobody."""
        if _is_ending(pod):
            self._ending.set()
        if _concern(pod) != _concern(self.pod):
            self._wake.set()
        self.pod = pod

    @property
    def mirror_uid(self) -> str:
        """The uid of the object that shows the static pod; empty where there is none."""
        return uid_of(self._mirror)

    def mirrored_by(self, mirror: Obj) -> None:
        """Know which object in the API shows the static pod now."""
        if uid_of(mirror) != uid_of(self._mirror):
            self._writer.retarget(mirror)
            self._wake.set()
        self._mirror = mirror

    def retire(self) -> None:
        """The static pod is wanted no more: end it with its grace."""
        self._ending.set()
        self._wake.set()

    def gone(self) -> None:
        """The pod is no longer in the API: end it without grace."""
        self._gone.set()
        self._ending.set()
        self._wake.set()

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()

    async def run(self) -> None:
        """Live until the pod is deleted; when cancelled, everything runs on."""
        writer = asyncio.create_task(self._writer.run(), name=f"status of {key_of(self.pod)}")
        try:
            self.containers.recover()
            self._say_what_is_ignored()
            if self.sandbox is not None:
                self._watch_sandbox(self.sandbox)
            await self._live()
            writer.cancel()
            await self._end()
        finally:
            writer.cancel()
            self.containers.abandon()
            self._context.references.unfollow(uid_of(self.pod))
            if self._sandbox_watch is not None:
                self._sandbox_watch.cancel()

    async def _live(self) -> None:
        while not self._ending.is_set():
            self._wake.clear()
            try:
                delay = await self._sync()
            except _EndingError:
                return
            except WaitExpiredError as error:
                self._failures += 1
                _log.warning("%s is looked at later: %s", key_of(self.pod), error)
                delay = self._context.timing.api.delay(self._failures)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                delay = self._report_unreadable(error)
            await wait_or_timeout(self._wake, delay)

    async def _sync(self) -> float | None:
        """One look at everything; returns in how many seconds to look again (None: when woken)."""
        # What was published last is newer than what the API has shown us since.
        if self._status.get("phase") in ("Succeeded", "Failed"):
            return await self._release()
        wanted = references_of(self.pod)
        self._context.references.follow(uid_of(self.pod), wanted, self.wake)
        await self._unless_ending(self._context.references.synced(wanted))
        sandbox = await self._ensure_sandbox()
        if sandbox is None:
            delay: float | None = self._context.timing.sandbox.delay(self._failures)
        else:
            delay = await self.containers.sync(self.pod, sandbox)
        # It counts from when the node took the pod: also one that can't be attached reaches it.
        left = self._deadline()
        phase = self._publish()
        if phase in ("Succeeded", "Failed"):
            return await self._release()
        return min((item for item in (delay, left) if item is not None), default=None)

    def _deadline(self) -> float | None:
        """Seconds until ``activeDeadlineSeconds`` are over; when they are, the pod has failed."""
        limit = section(self.pod, "spec").get("activeDeadlineSeconds")
        started = self._status.get("startTime")
        if limit is None or not started:
            return None
        left = datetime.fromisoformat(started).timestamp() + float(limit) - time.time()
        if left <= 0:
            self._ended = (
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            )
            return None
        return left

    async def _release(self) -> float | None:
        """Give back the network of a pod that is done; its containers' logs stay."""
        await self._stop_containers()
        held = self._held()
        if held is None or await self._tear_down(held):
            return None
        return self._context.timing.teardown.delay(self._failures)

    async def _ensure_sandbox(self) -> Sandbox | None:
        sandbox = self.sandbox
        if sandbox is not None and sandbox.attached and sandbox.is_alive() and not self._outdated(sandbox):
            return sandbox
        held = self._held()
        if held is not None:
            message = "Pod sandbox changed, it will be killed and re-created."
            self._context.recorder.record(self.pod, "Normal", "SandboxChanged", message)
            await self._stop_containers()
            if not await self._tear_down(held):
                return None
            self.containers.sandbox_changed()
        self._publish(within_s=self._context.timing.pending_status_s)
        try:
            self.sandbox = await self._unless_ending(
                podnetwork.set_up(self._context, self.pod, api_uid=uid_of(self._mirror))
            )
        except (MultinetError, OSError) as error:
            self._failures += 1
            self._report_set_up(error)
            return None
        self._failures = 0
        self._watch_sandbox(self.sandbox)
        return self.sandbox

    def _outdated(self, sandbox: Sandbox) -> bool:
        """Whether the network is that of a mirror which has been replaced."""
        now = uid_of(self._mirror)
        return self._static and bool(now) and not sandbox.host_network and sandbox.api_uid != now

    def _say_what_is_ignored(self) -> None:
        fields = ignored_fields(self.pod)
        if fields and not self._ending.is_set():
            message = (
                f"fields without effect on an emulated node: {', '.join(f'spec.{name}' for name in fields)}"
            )
            self._context.recorder.record(self.pod, "Warning", "FieldsIgnored", message)

    def _report_unreadable(self, error: Exception) -> float | None:
        _log.warning("%s: its spec can't be read", key_of(self.pod), exc_info=error)
        self.containers.refuse_all(self.pod, f"the pod's spec can't be read: {type(error).__name__}: {error}")
        self._publish()
        return None

    def _held(self) -> Sandbox | None:
        return self.sandbox or self._context.sandboxes.find(uid_of(self.pod))

    def _report_set_up(self, error: Exception) -> None:
        _log.warning("%s: sandbox: %s", key_of(self.pod), error)
        unready = isinstance(error, NetworkingError) and not self._context.network.ready
        reason = "NetworkNotReady" if unready else "FailedCreatePodSandBox"
        message = str(error) if unready else f"Failed to create pod sandbox: {error}"
        self._context.recorder.record(self.pod, "Warning", reason, message)
        self._publish()

    def _watch_sandbox(self, sandbox: Sandbox) -> None:
        async def watch() -> None:
            await sandbox.ended()
            self.wake()

        self._sandbox_watch = asyncio.create_task(watch(), name=f"sandbox of {sandbox.name}")

    async def _unless_ending(self, work: Awaitable[T]) -> T:
        """The result of ``work``; it is cancelled, and ``_EndingError`` raised, when the pod is deleted."""
        task = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            if not task.done():
                task.cancel()
                await settled(task)
        if task.cancelled():
            raise _EndingError
        return task.result()

    def _publish(self, *, within_s: float = 0.0) -> str:
        sandbox = self.sandbox
        attached = sandbox is not None and sandbox.attached and sandbox.is_alive()
        view = PodView(
            init=self.containers.init,
            main=self.containers.main,
            waiting=self.containers.waiting,
            has_network=attached,
            pod_ips=sandbox.addresses if sandbox is not None else (),
            host_ips=self._context.node_ips,
            ended=self._ended,
        )
        # The last status computed is newer than the one in the informer, except for others' conditions.
        shown = self._mirror if self._static else self.pod
        said = section(shown, "status").get("conditions") or ()
        own = [item for item in self._status.get("conditions") or () if item.get("type") in CONDITIONS]
        conditions = [*own, *(item for item in said if item.get("type") not in CONDITIONS)]
        before = {**self._status, "conditions": conditions}
        self._status = pod_status({**self.pod, "status": before}, view, timestamp(time.time()))
        self._writer.publish(self._status, within_s=within_s)
        return str(self._status["phase"])

    async def _end(self) -> None:
        await self._stop_containers()
        failures = 0
        while (held := self._held()) is not None:
            if await self._tear_down(held):
                continue
            failures += 1
            self._wake.clear()
            await wait_or_timeout(self._wake, self._context.timing.teardown.delay(failures))
        directory = self._context.pods_dir / uid_of(self.pod)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        await self._delete_from_api()

    async def _stop_containers(self) -> None:
        grace = _GONE_GRACE_S if self._gone.is_set() else grace_seconds(self.pod)
        try:
            await self.containers.stop(self.pod, grace, self._gone)
        except WaitExpiredError as error:
            # Whatever holds it up is in the sandbox, whose end nothing in it survives.
            _log.warning("%s: %s; its sandbox is ended all the same", key_of(self.pod), error)

    async def _tear_down(self, sandbox: Sandbox) -> bool:
        if self._sandbox_watch is not None:
            self._sandbox_watch.cancel()
        try:
            await podnetwork.tear_down(self._context, sandbox)
        except (MultinetError, OSError) as error:
            self._failures += 1
            _log.warning("%s: teardown: %s", key_of(self.pod), error)
            message = f"error killing pod: failed to destroy network for sandbox: {error}"
            self._context.recorder.record(self.pod, "Warning", "FailedKillPodSandBox", message)
            return False
        self.sandbox = None
        return True

    async def _delete_from_api(self) -> None:
        shown = self._mirror if self._static else self.pod
        failures = 0
        while not self._gone.is_set() and uid_of(shown):
            try:
                await self._context.client.delete(
                    PODS, name_of(shown), namespace_of(shown), grace_seconds=0, uid=uid_of(shown)
                )
                return
            except (NotFoundError, ConflictError):
                return
            except KubeError as error:
                failures += 1
                _log.warning("%s: final delete: %s", key_of(self.pod), error)
                await self._context.client.pause(
                    "pod delete back-off", self._context.timing.api.delay(failures)
                )


class _EndingError(Exception):
    """The pod is being deleted: what was under way has been undone."""


def _is_ending(pod: Obj) -> bool:
    return bool(pod.get("metadata", {}).get("deletionTimestamp"))


def _concern(pod: Obj) -> tuple[object, ...]:
    """The part of a pod whose change should wake its worker."""
    metadata = pod.get("metadata", {})
    return (
        pod.get("spec"),
        metadata.get("annotations"),
        metadata.get("labels"),
        metadata.get("deletionTimestamp"),
        [
            (item.get("type"), item.get("status"))
            for item in section(pod, "status").get("conditions") or ()
            if item.get("type") not in CONDITIONS
        ],
    )
