"""DaemonSets: one pod on each node that fits. Source: kubernetes ``pkg/controller/daemon``."""

from __future__ import annotations

import time

from multinet.kube.resources import DAEMON_SETS, NODES, PODS
from multinet.model.objects import Obj, metadata_of, name_of, section
from multinet.model.placement import fits_daemon
from multinet.workloads.cluster import Cluster
from multinet.workloads.owned import (
    available_in,
    is_active,
    is_ending,
    is_finished,
    is_ready,
    pod_from,
    revision_label,
    template_hash,
)
from multinet.workloads.replicasets import make_pods, remove_pods

# What every daemon bears: a node that is not ready, cordoned or short of something keeps its daemons.
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


class DaemonSets:
    """Reconciles one DaemonSet at a time."""

    resource = DAEMON_SETS

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: str) -> float | None:
        """Bring one pod to each node that fits, replace those of an older template, write the status."""
        owner = self._cluster.get(DAEMON_SETS, key)
        if owner is None:
            return None
        revision = template_hash(section(owner, "spec").get("template") or {})
        pods = await self._cluster.claimed(PODS, owner)
        if not is_ending(owner):
            await self._place(owner, pods, revision)
            await self._replace(owner, revision)
        return await self._report(owner, revision)

    def _wanted(self, owner: Obj) -> set[str]:
        pod = daemon_pod(owner, "", "")
        return {name_of(node) for node in self._cluster.all(NODES) if fits_daemon(pod, node)}

    async def _place(self, owner: Obj, pods: list[Obj], revision: str) -> None:
        wanted = self._wanted(owner)
        alive = [pod for pod in pods if not is_finished(pod)]
        taken = {node_of(pod) for pod in alive}
        doomed = [
            pod for pod in pods if not is_ending(pod) and (is_finished(pod) or node_of(pod) not in wanted)
        ]
        seen: set[str] = set()
        for pod in (pod for pod in alive if pod not in doomed and not is_ending(pod)):
            if node_of(pod) in seen:
                doomed.append(pod)
            seen.add(node_of(pod))
        await remove_pods(self._cluster, owner, doomed)
        missing = sorted(wanted - taken)
        await make_pods(self._cluster, owner, [daemon_pod(owner, node, revision) for node in missing])

    async def _replace(self, owner: Obj, revision: str) -> None:
        """Delete pods of an older template, as many at a time as ``maxUnavailable`` allows."""
        strategy = section(owner, "spec").get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        pods = [pod for pod in self._cluster.owned(PODS, owner) if is_active(pod)]
        wanted = self._wanted(owner)
        allowed = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
        if isinstance(allowed, str):
            allowed = -(-int(allowed.removesuffix("%")) * len(wanted) // 100)
        old = [pod for pod in pods if revision_label(pod) != revision]
        room = max(1, int(allowed)) - (len(wanted) - sum(map(is_ready, pods)))
        broken = [pod for pod in old if not is_ready(pod)]
        whole = [pod for pod in old if is_ready(pod)][: max(0, room)]
        await remove_pods(self._cluster, owner, [*broken, *whole])

    async def _report(self, owner: Obj, revision: str) -> float | None:
        wanted = self._wanted(owner)
        pods = [pod for pod in self._cluster.owned(PODS, owner) if is_active(pod)]
        placed = [pod for pod in pods if node_of(pod) in wanted]
        least = float(section(owner, "spec").get("minReadySeconds") or 0)
        waits = [available_in(pod, least, time.time()) for pod in placed]
        status = {
            "currentNumberScheduled": len({node_of(pod) for pod in placed}),
            "numberMisscheduled": len(pods) - len(placed),
            "desiredNumberScheduled": len(wanted),
            "numberReady": sum(map(is_ready, placed)),
            "updatedNumberScheduled": sum(revision_label(pod) == revision for pod in placed),
            "numberAvailable": waits.count(0.0),
            "numberUnavailable": len(wanted) - waits.count(0.0),
            "observedGeneration": metadata_of(owner).get("generation", 1),
        }
        await self._cluster.write_status(DAEMON_SETS, owner, status)
        return min((wait for wait in waits if wait), default=None)


def daemon_pod(owner: Obj, node: str, revision: str) -> Obj:
    """The daemon of one node: bound to it by affinity, and tolerant of the node's troubles."""
    pod = pod_from(owner, labels={"controller-revision-hash": revision, "pod-template-generation": "1"})
    spec = pod["spec"]
    added = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
        for key, effect in _TOLERATED
    ]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *added]
    if node:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    return pod


def node_of(pod: Obj) -> str:
    """The node a daemon is on, or is meant for."""
    spec = section(pod, "spec")
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str((field.get("values") or [""])[0])
    return ""
