"""ReplicaSets: as many pods as asked for. Source: kubernetes ``pkg/controller/replicaset``."""

from __future__ import annotations

import asyncio
import time

from multinet.errors import ApiError
from multinet.kube.resources import PODS, REPLICA_SETS
from multinet.model.objects import Obj, labels_of, name_of, section
from multinet.workloads.cluster import Cluster
from multinet.workloads.owned import available_in, first_to_go, is_active, is_ending, is_ready, pod_from


async def make_pods(cluster: Cluster, owner: Obj, pods: list[Obj]) -> None:
    """Create pods side by side; the first refusal is told by an Event of the owner and raised."""
    results = await asyncio.gather(*(cluster.create(PODS, pod) for pod in pods), return_exceptions=True)
    for result in results:
        if isinstance(result, ApiError):
            cluster.recorder.record(owner, "Warning", "FailedCreate", f"Error creating: {result}")
        elif isinstance(result, dict):
            message = f"Created pod: {name_of(result)}"
            cluster.recorder.record(owner, "Normal", "SuccessfulCreate", message)
        if isinstance(result, BaseException):
            raise result


async def remove_pods(cluster: Cluster, owner: Obj, pods: list[Obj]) -> None:
    """Delete pods side by side."""
    await asyncio.gather(*(cluster.delete(PODS, pod) for pod in pods))
    for pod in pods:
        cluster.recorder.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")


class ReplicaSets:
    """Reconciles one ReplicaSet at a time; see :class:`multinet.workloads.controllers.Controller`."""

    resource = REPLICA_SETS

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: str) -> float | None:
        """Create or delete what is missing or too much, and write the status."""
        owner = self._cluster.get(REPLICA_SETS, key)
        if owner is None:
            return None
        pods = [pod for pod in await self._cluster.claimed(PODS, owner) if is_active(pod)]
        if not is_ending(owner):
            await self._scale(owner, pods)
        return await self._report(owner)

    async def _scale(self, owner: Obj, pods: list[Obj]) -> None:
        missing = int(section(owner, "spec").get("replicas", 1)) - len(pods)
        if missing > 0:
            await make_pods(self._cluster, owner, [pod_from(owner) for _ in range(missing)])
        elif missing < 0:
            doomed = sorted(pods, key=first_to_go, reverse=True)[:-missing]
            await remove_pods(self._cluster, owner, doomed)

    async def _report(self, owner: Obj) -> float | None:
        pods = [pod for pod in self._cluster.owned(PODS, owner) if is_active(pod)]
        spec = section(owner, "spec")
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        waits = [available_in(pod, float(spec.get("minReadySeconds") or 0), time.time()) for pod in pods]
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(labels.items() <= labels_of(pod).items() for pod in pods),
            "readyReplicas": sum(map(is_ready, pods)),
            "availableReplicas": waits.count(0.0),
            "observedGeneration": owner["metadata"].get("generation", 1),
        }
        await self._cluster.write_status(REPLICA_SETS, owner, status)
        return min((wait for wait in waits if wait), default=None)
