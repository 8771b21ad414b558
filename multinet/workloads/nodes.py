"""The taint of a cordoned node, as the node lifecycle controller keeps it beside ``spec.unschedulable``."""

from __future__ import annotations

from multinet.kube.resources import NODES
from multinet.model.objects import section
from multinet.model.placement import UNSCHEDULABLE_TAINT
from multinet.workloads.cluster import Cluster, now_text


class NodeTaints:
    """Reconciles one node at a time."""

    resource = NODES

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: str) -> float | None:
        """Add or remove the taint."""
        node = self._cluster.get(NODES, key)
        if node is None:
            return None
        spec = section(node, "spec")
        taints = [dict(taint) for taint in spec.get("taints") or ()]
        kept = [taint for taint in taints if taint.get("key") != UNSCHEDULABLE_TAINT["key"]]
        has, wanted = len(kept) != len(taints), bool(spec.get("unschedulable"))
        if has != wanted:
            added = [{**UNSCHEDULABLE_TAINT, "timeAdded": now_text()}] if wanted else []
            await self._cluster.patch(NODES, node, {"spec": {"taints": [*kept, *added] or None}})
        return None
