"""The config API's view of the cluster: one informer per kind, and the wait that makes writes readable.

Reads come from the informers' stores. After each write the writer waits until the store shows it
(:meth:`View.settle`), so a client reads what it wrote; the wait is for an event that is on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.resources import (
    CONFIGMAPS,
    INSTANCE_IPS,
    NADS,
    NAMESPACES,
    NODES,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
    Resource,
)
from multinet.model.objects import API_GROUP, Obj, key_of, metadata_of, uid_of

RECORD_NAMESPACE = "kube-system"
LABEL_RECORD = f"{API_GROUP}/config-object"
SETTLE_LIMIT_S = 10.0


class View:
    """Informers by resource. ``cluster`` is the prefix of project names (``k8s``)."""

    def __init__(self, client: Client, *, cluster: str) -> None:
        self.client = client
        self.cluster = cluster
        self.informers: dict[Resource, Informer] = {
            resource: Informer(client, resource)
            for resource in (
                NAMESPACES,
                NODES,
                NADS,
                PODS,
                VIRTUAL_NETWORKS,
                VIRTUAL_MACHINES,
                VIRTUAL_MACHINE_INTERFACES,
                INSTANCE_IPS,
            )
        }
        self.informers[CONFIGMAPS] = Informer(
            client, CONFIGMAPS, namespace=RECORD_NAMESPACE, label_selector=LABEL_RECORD
        )

    def objects(self, resource: Resource) -> Mapping[str, Obj]:
        """The store of one resource: objects by key, read-only."""
        return self.informers[resource].store

    def on_change(self, callback: Callable[[Resource], None]) -> None:
        """Call ``callback(resource)`` on each change of any object."""
        for resource, informer in self.informers.items():
            informer.on_change(_forget_objects(callback, resource))

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Keep the stores current until cancelled; ``on_ready`` is called when all are filled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run(), name=f"informer-{informer.resource.plural}")
            for informer in self.informers.values():
                await informer.synced.wait()
            on_ready()

    async def settle(self, resource: Resource, written: Obj) -> None:
        """Return when the store shows an object as it was written, or a later state of it."""
        key, version, uid = key_of(written), _version(written), uid_of(written)

        def is_shown(store: Mapping[str, Obj]) -> bool:
            found = store.get(key)
            return found is not None and (uid_of(found) != uid or _version(found) >= version)

        await self.informers[resource].wait_until(f"{resource.kind} {key} to show", is_shown, SETTLE_LIMIT_S)

    async def settle_gone(self, resource: Resource, deleted: Obj) -> None:
        """Return when the store no longer shows that incarnation of an object."""
        key, uid = key_of(deleted), uid_of(deleted)

        def is_gone(store: Mapping[str, Obj]) -> bool:
            found = store.get(key)
            return found is None or uid_of(found) != uid

        await self.informers[resource].wait_until(f"{resource.kind} {key} to go", is_gone, SETTLE_LIMIT_S)


def _forget_objects(
    callback: Callable[[Resource], None], resource: Resource
) -> Callable[[Obj | None, Obj | None], None]:
    return lambda _old, _new: callback(resource)


def _version(o: Obj) -> int:
    """Kubernetes promises that versions of one resource compare as integers (KEP 5504)."""
    text = str(metadata_of(o).get("resourceVersion") or "0")
    return int(text) if text.isdecimal() else 0
