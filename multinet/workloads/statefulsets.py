"""StatefulSets: pods with fixed names, made and replaced in order. Source: ``pkg/controller/statefulset``.

Volumes per pod are not served (``volumeClaimTemplates`` is told to be ignored); names, order, partition and
revisions are.
"""

from __future__ import annotations

import time

from multinet.kube.resources import PODS, STATEFUL_SETS
from multinet.model.objects import Obj, metadata_of, name_of, section
from multinet.workloads.cluster import Cluster
from multinet.workloads.owned import (
    available_in,
    is_ending,
    is_finished,
    is_ready,
    ordinal,
    pod_from,
    revision_label,
    template_hash,
)
from multinet.workloads.replicasets import make_pods, remove_pods


class StatefulSets:
    """Reconciles one StatefulSet at a time."""

    resource = STATEFUL_SETS

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: str) -> float | None:
        """Take the next step in order, and write the status."""
        owner = self._cluster.get(STATEFUL_SETS, key)
        if owner is None:
            return None
        pods = await self._cluster.claimed(PODS, owner)
        revision = f"{name_of(owner)}-{template_hash(section(owner, 'spec').get('template') or {})}"
        if not is_ending(owner):
            if section(owner, "spec").get("volumeClaimTemplates") and not pods:
                message = "spec.volumeClaimTemplates has no effect: there are no persistent volumes here"
                self._cluster.recorder.record(owner, "Warning", "FieldsIgnored", message)
            await self._step(owner, {ordinal(pod, owner): pod for pod in pods}, revision)
        return await self._report(owner, revision)

    async def _step(self, owner: Obj, pods: dict[int, Obj], revision: str) -> None:
        spec = section(owner, "spec")
        size, at_once = int(spec.get("replicas", 1)), spec.get("podManagementPolicy") == "Parallel"
        missing = [number for number in range(size) if number not in pods]
        done = [
            pods[number]
            for number in sorted(pods)
            if is_finished(pods[number]) and not is_ending(pods[number])
        ]
        if done:
            await remove_pods(self._cluster, owner, done)
            return
        # In order: a pod is made only when all before it are ready.
        ready = [
            number in pods and is_ready(pods[number]) and not is_ending(pods[number])
            for number in range(size)
        ]
        if missing and not at_once:
            missing = missing[:1] if all(ready[: missing[0]]) else []
        # Only the present template is kept: what is made anew, also below the partition, is made of it.
        await make_pods(self._cluster, owner, [_pod(owner, number, revision) for number in missing])
        surplus = [number for number in sorted(pods, reverse=True) if number >= size]
        ending = any(is_ending(pod) for pod in pods.values())
        if surplus and (at_once or (not ending and all(ready))):
            chosen = [pods[number] for number in surplus if not is_ending(pods[number])]
            await remove_pods(self._cluster, owner, chosen if at_once else chosen[:1])
        elif not surplus and not missing and not ending:
            await self._replace(owner, pods, size, revision)

    async def _replace(self, owner: Obj, pods: dict[int, Obj], size: int, revision: str) -> None:
        """Delete the pod with the highest number that is of an older template; one that is broken at once."""
        strategy = section(owner, "spec").get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
        for number in range(size - 1, partition - 1, -1):
            pod = pods[number]
            if revision_label(pod) != revision:
                await remove_pods(self._cluster, owner, [pod])
                return
            if not is_ready(pod):
                return

    async def _report(self, owner: Obj, revision: str) -> float | None:
        pods = [pod for pod in self._cluster.owned(PODS, owner) if not is_finished(pod)]
        spec, before = section(owner, "spec"), section(owner, "status")
        updated = [pod for pod in pods if revision_label(pod) == revision]
        waits = [available_in(pod, float(spec.get("minReadySeconds") or 0), time.time()) for pod in pods]
        size = int(spec.get("replicas", 1))
        current = str(before.get("currentRevision") or revision)
        if len(updated) == len(pods) == size and all(map(is_ready, pods)):
            current = revision
        status = {
            "replicas": len(pods),
            "readyReplicas": sum(map(is_ready, pods)),
            "availableReplicas": waits.count(0.0),
            "currentReplicas": sum(revision_label(pod) == current for pod in pods),
            "updatedReplicas": len(updated),
            "currentRevision": current,
            "updateRevision": revision,
            "observedGeneration": metadata_of(owner).get("generation", 1),
        }
        await self._cluster.write_status(STATEFUL_SETS, owner, status)
        return min((wait for wait in waits if wait), default=None)


def _pod(owner: Obj, number: int, revision: str) -> Obj:
    name = f"{name_of(owner)}-{number}"
    labels = {
        "controller-revision-hash": revision,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(number),
    }
    pod = pod_from(owner, name=name, labels=labels)
    pod["spec"]["hostname"] = name
    pod["spec"]["subdomain"] = str(section(owner, "spec").get("serviceName") or "")
    return pod
