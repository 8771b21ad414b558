"""The workers of all pods on this node, one per pod uid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from multinet.kube.errors import KubeError
from multinet.kube.informer import Informer
from multinet.kube.resources import PODS
from multinet.kubelet.context import NodeContext
from multinet.kubelet.pods import PodWorker
from multinet.kubelet.sandbox import Sandbox
from multinet.model.objects import Obj, annotations_of, name_of, namespace_of, uid_of

_log = logging.getLogger(__name__)


# The annotation of a mirror: it holds the uid of the static pod that it shows.
MIRROR = "kubernetes.io/config.mirror"
MirrorCallback = Callable[[Obj | None, Obj | None], None]


class PodSet:
    """Starts a worker for each pod of the informer, and ends sandboxes whose pods are gone."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._recovered: dict[str, Sandbox] = {}
        self._waiting: set[str] = set()
        self._mirror_callback: MirrorCallback = _nobody
        self._discards: set[asyncio.Task[None]] = set()

    def recover(self) -> None:
        """Find what an earlier kubelet left: before anything is started or adopted."""
        self._context.sandboxes.end_unfinished()
        self._recovered = {sandbox.uid: sandbox for sandbox in self._context.sandboxes.recorded()}

    def on_mirror(self, callback: MirrorCallback) -> None:
        """Who is told of changes of mirrors; the pods that they show are no pods of the API."""
        self._mirror_callback = callback

    def make_static(self, pod: Obj) -> PodWorker:
        """The worker of a static pod, not started yet."""
        worker = PodWorker(self._context, pod, self._recovered.pop(uid_of(pod), None), static=True)
        self._workers[uid_of(pod)] = worker
        self._waiting.add(uid_of(pod))
        return worker

    def start_static(self, worker: PodWorker) -> None:
        """Let it run, unless it does already."""
        uid = uid_of(worker.pod)
        if uid in self._waiting:
            self._waiting.discard(uid)
            self._run(uid, worker)

    def discard_mirror(self, mirror: Obj) -> None:
        """Remove a mirror whose static pod is gone."""
        work = self._delete_mirror(mirror)
        task = asyncio.get_running_loop().create_task(work, name=f"old mirror {name_of(mirror)}")
        self._discards.add(task)
        task.add_done_callback(self._discards.discard)

    def adopt(self, informer: Informer) -> None:
        """Follow the informer (which must be synced); what nobody claims of the recovered is ended."""
        informer.on_change(self._on_change)
        for sandbox in list(self._recovered.values()):
            _log.info("sandbox of %s/%s is left over: its pod is gone", sandbox.namespace, sandbox.name)
            worker = self._start(_remembered(sandbox))
            worker.gone()

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod; of two with that name (one is ending), the newer."""
        found = [
            worker
            for worker in self._workers.values()
            if namespace_of(worker.pod) == namespace and name_of(worker.pod) == name
        ]
        return found[-1] if found else None

    def wake_all(self) -> None:
        """Let every worker look again."""
        for worker in self._workers.values():
            worker.wake()

    async def close(self) -> None:
        """End the workers; what they run lives on."""
        tasks = (*self._tasks.values(), *self._discards)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
        if MIRROR in annotations_of(new or old or {}):
            self._mirror_callback(old, new)
            return
        if old is not None and (new is None or uid_of(old) != uid_of(new)):
            worker = self._workers.get(uid_of(old))
            if worker is not None:
                worker.gone()
        if new is None:
            return
        worker = self._workers.get(uid_of(new))
        if worker is not None:
            worker.update(new)
        else:
            self._start(new)

    def _start(self, pod: Obj) -> PodWorker:
        uid = uid_of(pod)
        worker = PodWorker(self._context, pod, self._recovered.pop(uid, None))
        self._workers[uid] = worker
        self._run(uid, worker)
        return worker

    def _run(self, uid: str, worker: PodWorker) -> None:
        task = asyncio.get_running_loop().create_task(worker.run(), name=f"pod {name_of(worker.pod)}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._ended(uid, done))

    async def _delete_mirror(self, mirror: Obj) -> None:
        try:
            await self._context.client.delete(
                PODS, name_of(mirror), namespace_of(mirror), grace_seconds=0, uid=uid_of(mirror)
            )
        except KubeError as error:
            _log.info("mirror %s: %s", name_of(mirror), error)

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the worker of pod %s failed", uid, exc_info=error)


def _nobody(_old: Obj | None, _new: Obj | None) -> None:
    return None


def _remembered(sandbox: Sandbox) -> Obj:
    """As much of a vanished pod as its sandbox file tells."""
    metadata = {"name": sandbox.name, "namespace": sandbox.namespace, "uid": sandbox.uid}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": {}}
