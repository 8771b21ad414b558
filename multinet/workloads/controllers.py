"""The controllers of Deployments, ReplicaSets, DaemonSets, StatefulSets and Jobs, and of node taints.

Each kind has a queue of keys; a change of an object adds its own key and that of its controller. Work for
one key never overlaps, and what depends on time comes back when it is due.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from multinet.kube.client import Client
from multinet.kube.queue import KeyedQueue
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import DAEMON_SETS, NODES, Resource
from multinet.model.objects import Obj, key_of, labels_of, namespace_of, section
from multinet.workloads.cluster import WATCHED, Cluster
from multinet.workloads.daemonsets import DaemonSets
from multinet.workloads.deployments import Deployments
from multinet.workloads.jobs import Jobs
from multinet.workloads.nodes import NodeTaints
from multinet.workloads.owned import controller_of
from multinet.workloads.replicasets import ReplicaSets
from multinet.workloads.statefulsets import StatefulSets


class Controller(Protocol):
    """Brings the cluster towards one object of a kind. ``reconcile`` returns when to look again (seconds)."""

    @property
    def resource(self) -> Resource:
        """Whose keys it takes."""

    async def reconcile(self, key: str) -> float | None:
        """Take a look, and a step if one is needed; never waits for anything but the API."""


class Workloads:
    """All controllers over one view of the cluster."""

    def __init__(self, client: Client) -> None:
        self.cluster = Cluster(client, EventRecorder(client, "workload-controller"))
        controllers: tuple[Controller, ...] = (
            Deployments(self.cluster),
            ReplicaSets(self.cluster),
            DaemonSets(self.cluster),
            StatefulSets(self.cluster),
            Jobs(self.cluster),
            NodeTaints(self.cluster),
        )
        self._queues = {one.resource: self._queue(one) for one in controllers}
        self._by_kind = {one.resource.kind: self._queues[one.resource] for one in controllers}
        for resource in WATCHED:
            self.cluster.on_change(resource, self._listener(resource))

    async def run(self, ready: asyncio.Event) -> None:
        """Work until cancelled; ``ready`` is set when the first look at everything is possible."""
        async with asyncio.TaskGroup() as tasks:
            complete = asyncio.Event()
            tasks.create_task(self.cluster.run(complete.set), name="cluster")
            await complete.wait()
            for resource, queue in self._queues.items():
                tasks.create_task(queue.run(), name=f"queue of {resource.plural}")
            ready.set()

    def _queue(self, controller: Controller) -> KeyedQueue:
        async def reconcile(key: str) -> None:
            again = await controller.reconcile(key)
            if again is not None:
                queue.add_after(key, again)

        queue = KeyedQueue(reconcile, name=controller.resource.plural)
        return queue

    def _listener(self, resource: Resource) -> _Listener:
        def changed(old: Obj | None, new: Obj | None) -> None:
            for obj in (old, new):
                if obj is not None:
                    self._note(resource, obj)
            if resource is NODES and _facts(old) != _facts(new):
                for daemon_set in self.cluster.all(DAEMON_SETS):
                    self._queues[DAEMON_SETS].add(key_of(daemon_set))

        return changed

    def _note(self, resource: Resource, obj: Obj) -> None:
        if resource in self._queues:
            self._queues[resource].add(key_of(obj))
        owner = controller_of(obj)
        queue = self._by_kind.get(str(owner.get("kind", "")))
        if queue is not None:
            queue.add(f"{namespace_of(obj)}/{owner.get('name')}")


class _Listener(Protocol):
    def __call__(self, old: Obj | None, new: Obj | None) -> None: ...


def _facts(node: Obj | None) -> object:
    """What of a node decides about its daemons; heartbeats change none of it."""
    return None if node is None else (labels_of(node), section(node, "spec"))
