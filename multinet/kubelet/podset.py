"""The workers of all pods on this node, one per pod uid."""

from __future__ import annotations

import asyncio
import logging

from multinet.kube.informer import Informer
from multinet.kubelet.context import NodeContext
from multinet.kubelet.pods import PodWorker
from multinet.kubelet.sandbox import Sandbox
from multinet.model.objects import Obj, name_of, namespace_of, uid_of

_log = logging.getLogger(__name__)


class PodSet:
    """Starts a worker for each pod of the informer, and ends sandboxes whose pods are gone."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._recovered: dict[str, Sandbox] = {}

    def adopt(self, informer: Informer) -> None:
        """Take over what an earlier kubelet left, then follow the informer (which must be synced)."""
        self._context.sandboxes.end_unfinished()
        self._recovered = {sandbox.uid: sandbox for sandbox in self._context.sandboxes.recorded()}
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
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
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
        task = asyncio.get_running_loop().create_task(worker.run(), name=f"pod {name_of(pod)}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._ended(uid, done))
        return worker

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the worker of pod %s failed", uid, exc_info=error)


def _remembered(sandbox: Sandbox) -> Obj:
    """As much of a vanished pod as its sandbox file tells."""
    metadata = {"name": sandbox.name, "namespace": sandbox.namespace, "uid": sandbox.uid}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": {}}
