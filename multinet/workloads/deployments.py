"""Deployments: ReplicaSets, one per template, scaled against each other.

Source: kubernetes ``pkg/controller/deployment``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from time import time
from typing import Any

from multinet.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from multinet.model.objects import Obj, annotations_of, metadata_of, name_of, namespace_of, section
from multinet.workloads.cluster import Cluster, merged_conditions
from multinet.workloads.owned import (
    condition,
    is_active,
    is_ending,
    is_finished,
    reference_to,
    template_hash,
)

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a rolling update may go: pods above ``replicas``, and pods below it."""

    replicas: int
    surge: int
    unavailable: int

    @classmethod
    def of(cls, deployment: Obj) -> Bounds:
        """From ``spec.strategy``; percentages of the replicas, surge rounded up and unavailable down."""
        spec = section(deployment, "spec")
        replicas = int(spec.get("replicas", 1))
        rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
        surge = _amount(rolling.get("maxSurge", "25%"), replicas, math.ceil)
        unavailable = _amount(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
        # Both zero would leave nothing that could be done.
        return cls(replicas, surge, unavailable if surge or unavailable else 1)

    def new_size(self, now: int, all_pods: int) -> int:
        """How many the new ReplicaSet may have, which has ``now`` of ``all_pods``."""
        if now >= self.replicas:
            return self.replicas
        room = self.replicas + self.surge - all_pods
        return min(self.replicas, now + max(0, room))

    def removable(self, all_pods: int, new_pods: int, new_available: int) -> int:
        """How many old pods may go now, if all of them were available."""
        least = self.replicas - self.unavailable
        return max(0, all_pods - least - (new_pods - new_available))


def _amount(given: object, whole: int, rounded: Any) -> int:
    if isinstance(given, str) and given.endswith("%"):
        return int(rounded(int(given[:-1]) * whole / 100))
    return int(str(given))


class Deployments:
    """Reconciles one Deployment at a time."""

    resource = DEPLOYMENTS

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: str) -> float | None:
        """Take one step towards the template and the number of replicas, and write the status."""
        owner = self._cluster.get(DEPLOYMENTS, key)
        if owner is None:
            return None
        sets = await self._cluster.claimed(REPLICA_SETS, owner)
        if is_ending(owner):
            return await self._report(owner, sets, _newest(owner, sets))
        new = _newest(owner, sets)
        old = [item for item in sets if new is None or name_of(item) != name_of(new)]
        if not section(owner, "spec").get("paused"):
            new = await self._roll(owner, new, old)
        elif new is not None:
            await self._resize(owner, new, Bounds.of(owner).replicas - sum(map(_size, old)))
        sets = self._cluster.owned(REPLICA_SETS, owner)
        new = _newest(owner, sets)
        await self._forget(owner, sets, new)
        return await self._report(owner, sets, new)

    async def _roll(self, owner: Obj, new: Obj | None, old: list[Obj]) -> Obj | None:
        recreate = (section(owner, "spec").get("strategy") or {}).get("type") == "Recreate"
        bounds = Bounds.of(owner)
        if recreate:
            for item in old:
                await self._resize(owner, item, 0)
            if any(_pods(self._cluster, item) for item in old):
                return new
        total = sum(map(_size, old)) + (_size(new) if new is not None else 0)
        size = bounds.replicas if recreate else bounds.new_size(_size(new) if new is not None else 0, total)
        if new is None:
            return await self._make(owner, old, size)
        await self._keep_revision(owner, new, old)
        await self._resize(owner, new, size)
        if not recreate:
            await self._shrink(owner, bounds, new, old)
        return new

    async def _make(self, owner: Obj, old: list[Obj], size: int) -> Obj | None:
        template = section(owner, "spec").get("template") or {}
        mark = template_hash(template)
        given = template.get("metadata") or {}
        labels = {**(given.get("labels") or {}), HASH: mark}
        selector = section(owner, "spec").get("selector") or {}
        made = await self._cluster.create(
            REPLICA_SETS,
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"{name_of(owner)}-{mark}",
                    "namespace": namespace_of(owner),
                    "labels": labels,
                    "annotations": {REVISION: str(_last_revision(old) + 1)},
                    "ownerReferences": [reference_to(owner)],
                },
                "spec": {
                    "replicas": size,
                    "minReadySeconds": section(owner, "spec").get("minReadySeconds", 0),
                    "selector": {
                        **selector,
                        "matchLabels": {**(selector.get("matchLabels") or {}), HASH: mark},
                    },
                    "template": {**template, "metadata": {**given, "labels": labels}},
                },
            },
        )
        if made is not None:
            await self._keep_revision(owner, made, old)
            self._tell_scaled(owner, made, size, "up")
        return made

    async def _keep_revision(self, owner: Obj, new: Obj, old: list[Obj]) -> None:
        """The template in use has the highest revision, also after a roll-back to an older one."""
        wanted = max(_revision(new), _last_revision(old) + 1 if _revision(new) <= _last_revision(old) else 0)
        note = {"metadata": {"annotations": {REVISION: str(wanted)}}}
        if annotations_of(new).get(REVISION) != str(wanted):
            await self._cluster.patch(REPLICA_SETS, new, note)
        if annotations_of(owner).get(REVISION) != str(wanted):
            await self._cluster.patch(DEPLOYMENTS, owner, note)

    async def _shrink(self, owner: Obj, bounds: Bounds, new: Obj, old: list[Obj]) -> None:
        """Scale the old ones down as far as enough pods stay available; the unavailable go first."""
        current = self._cluster.get(REPLICA_SETS, f"{namespace_of(new)}/{name_of(new)}") or new
        total = sum(map(_size, old)) + _size(current)
        removable = bounds.removable(total, _size(current), _available(current))
        sizes = {name_of(item): _size(item) for item in old}
        for item in old:
            unhealthy = min(removable, max(0, _size(item) - _available(item)))
            sizes[name_of(item)] -= unhealthy
            removable -= unhealthy
        least = bounds.replicas - bounds.unavailable
        spare = max(0, _available(current) + sum(map(_available, old)) - least)
        for item in old:
            healthy = min(spare, removable, sizes[name_of(item)])
            sizes[name_of(item)] -= healthy
            removable -= healthy
            spare -= healthy
        for item in old:
            await self._resize(owner, item, sizes[name_of(item)])

    async def _resize(self, owner: Obj, item: Obj, size: int) -> None:
        before = _size(item)
        if before != max(0, size):
            await self._cluster.patch(REPLICA_SETS, item, {"spec": {"replicas": max(0, size)}})
            self._tell_scaled(owner, item, max(0, size), "up" if size > before else "down")

    def _tell_scaled(self, owner: Obj, item: Obj, size: int, way: str) -> None:
        message = f"Scaled {way} replica set {name_of(item)} to {size}"
        self._cluster.recorder.record(owner, "Normal", "ScalingReplicaSet", message)

    async def _forget(self, owner: Obj, sets: list[Obj], new: Obj | None) -> None:
        """Delete old, empty ReplicaSets beyond ``revisionHistoryLimit``."""
        limit = int(section(owner, "spec").get("revisionHistoryLimit", 10))
        empty = [
            item
            for item in sets
            if item is not new and not _size(item) and not section(item, "status").get("replicas")
        ]
        for item in sorted(empty, key=_revision)[: max(0, len(empty) - limit)]:
            await self._cluster.delete(REPLICA_SETS, item)

    async def _report(self, owner: Obj, sets: list[Obj], new: Obj | None) -> float | None:
        bounds = Bounds.of(owner)
        updated = int(section(new, "status").get("replicas", 0)) if new is not None else 0
        available = sum(map(_available, sets))
        replicas = sum(int(section(item, "status").get("replicas", 0)) for item in sets)
        complete = updated == replicas == bounds.replicas == available
        conditions, left = _conditions(owner, bounds, available, updated, new, complete=complete)
        status = {
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": sum(int(section(item, "status").get("readyReplicas", 0)) for item in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(map(_size, sets)) - available),
            "observedGeneration": metadata_of(owner).get("generation", 1),
            "conditions": merged_conditions(section(owner, "status").get("conditions") or (), conditions),
        }
        await self._cluster.write_status(DEPLOYMENTS, owner, status)
        return left


def _conditions(
    owner: Obj, bounds: Bounds, available: int, updated: int, new: Obj | None, *, complete: bool
) -> tuple[list[Obj], float | None]:
    """Available and Progressing, and in how many seconds the deadline of the progress is due."""
    enough = available >= bounds.replicas - bounds.unavailable
    reason, text = (
        ("MinimumReplicasAvailable", "has") if enough else ("MinimumReplicasUnavailable", "does not have")
    )
    first = {
        "type": "Available",
        "status": "True" if enough else "False",
        "reason": reason,
        "message": f"Deployment {text} minimum availability.",
    }
    name = name_of(new) if new is not None else ""
    progress: Obj = {"type": "Progressing", "status": "True"}
    if complete:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return [first, {**progress, "reason": "NewReplicaSetAvailable", "message": message}], None
    message = f'ReplicaSet "{name}" is progressing: {updated} updated, {available} available.'
    progress |= {"reason": "ReplicaSetUpdated", "message": message}
    known = condition(owner, "Progressing")
    limit = float(section(owner, "spec").get("progressDeadlineSeconds", 600))
    if known.get("reason") == "ProgressDeadlineExceeded" and known.get("message", "").startswith(message):
        return [first, dict(_bare(known))], None
    if known.get("message") != message or not known.get("lastUpdateTime"):
        return [first, progress], limit
    left = datetime.fromisoformat(known["lastUpdateTime"]).timestamp() + limit - time()
    if left > 0:
        return [first, progress], left
    late = {"status": "False", "reason": "ProgressDeadlineExceeded", "message": f"{message} Timed out."}
    return [first, {**progress, **late}], None


def _bare(known: Mapping[str, Any]) -> Obj:
    return {key: known[key] for key in ("type", "status", "reason", "message")}


def _newest(owner: Obj, sets: list[Obj]) -> Obj | None:
    """The ReplicaSet made of the present template: equal but for the label with its hash."""
    wanted = section(owner, "spec").get("template") or {}
    return next((item for item in sets if _bare_template(item) == _without_hash(wanted)), None)


def _bare_template(item: Obj) -> Obj:
    return _without_hash(section(item, "spec").get("template") or {})


def _without_hash(template: Mapping[str, Any]) -> Obj:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH}
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": metadata}


def _pods(cluster: Cluster, item: Obj) -> list[Obj]:
    return [
        pod
        for pod in cluster.owned(PODS, item)
        if is_active(pod) or (is_ending(pod) and not is_finished(pod))
    ]


def _size(item: Obj) -> int:
    return int(section(item, "spec").get("replicas", 1))


def _available(item: Obj) -> int:
    return int(section(item, "status").get("availableReplicas", 0))


def _revision(item: Obj) -> int:
    text = annotations_of(item).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def _last_revision(sets: list[Obj]) -> int:
    return max(map(_revision, sets), default=0)
