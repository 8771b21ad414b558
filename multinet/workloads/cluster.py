"""The controllers' view of the cluster, and their writes: what was written is seen before the next look.

A reconcile that creates a pod and looks again at once must not create it twice because its copy of the pods
is older than its own write. So each write waits until the copy has caught up with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multinet.errors import WaitExpiredError
from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from multinet.kube.informer import Informer
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import Resource
from multinet.model.objects import Obj, key_of, labels_of, metadata_of, name_of, namespace_of, section, uid_of
from multinet.workloads.owned import controller_of, is_ending, reference_to, selects

_log = logging.getLogger(__name__)
WATCHED = (
    resources.DEPLOYMENTS,
    resources.REPLICA_SETS,
    resources.DAEMON_SETS,
    resources.STATEFUL_SETS,
    resources.JOBS,
    resources.PODS,
    resources.NODES,
)
_SYNC_LIMIT_S = 30.0
_FOLLOW_LIMIT_S = 5.0
_BY_OWNER, _BY_NAMESPACE = "owner", "namespace"


class Cluster:
    """Copies of :data:`WATCHED` while :meth:`run` runs."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self.recorder = recorder
        self._client = client
        self._informers = {resource: Informer(client, resource) for resource in WATCHED}
        for informer in self._informers.values():
            informer.add_index(_BY_OWNER, lambda obj: [str(controller_of(obj).get("uid", ""))])
            informer.add_index(_BY_NAMESPACE, lambda obj: [namespace_of(obj)])

    def on_change(self, resource: Resource, callback: Callable[[Obj | None, Obj | None], None]) -> None:
        """Call ``callback(old, new)`` at each change of the collection."""
        self._informers[resource].on_change(callback)

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow the API until cancelled; ``ready`` is called when all copies are complete."""
        async with asyncio.TaskGroup() as tasks:
            for resource, informer in self._informers.items():
                tasks.create_task(informer.run(), name=f"informer {resource.plural}")
            for resource, informer in self._informers.items():
                await informer.wait_until(f"the list of {resource.plural}", lambda _: True, _SYNC_LIMIT_S)
            ready()

    def get(self, resource: Resource, key: str) -> Obj | None:
        """One object by ``namespace/name``, or a node by its name."""
        return self._informers[resource].store.get(key)

    def all(self, resource: Resource) -> list[Obj]:
        """All objects of a collection."""
        return list(self._informers[resource].store.values())

    def owned(self, resource: Resource, owner: Obj) -> list[Obj]:
        """What ``owner`` controls, by name."""
        return sorted(self._informers[resource].by_index(_BY_OWNER, uid_of(owner)), key=name_of)

    async def claimed(self, resource: Resource, owner: Obj) -> list[Obj]:
        """What ``owner`` controls, after adopting orphans that its selector matches."""
        selector = section(owner, "spec").get("selector")
        orphans = [
            obj
            for obj in self._informers[resource].by_index(_BY_NAMESPACE, namespace_of(owner))
            if not controller_of(obj) and not is_ending(obj) and selects(selector, labels_of(obj))
        ]
        # Asked of the API itself: what a deletion has just orphaned would go with its dead owner.
        if orphans and await self._lives(owner):
            for obj in orphans:
                await self._adopt(resource, obj, owner)
        return self.owned(resource, owner)

    async def create(self, resource: Resource, obj: Obj) -> Obj | None:
        """Create; None when there is one of that name already."""
        try:
            made = await self._client.create(resource, obj)
        except AlreadyExistsError as error:
            _log.info("%s", error)
            return None
        await self._follow(resource, made)
        return made

    async def patch(
        self, resource: Resource, obj: Obj, change: Mapping[str, Any], *, status: bool = False
    ) -> None:
        """Merge ``change`` into an object; one that is gone or another by now is left alone."""
        body = {**change, "metadata": {**(change.get("metadata") or {}), "uid": uid_of(obj)}}
        try:
            made = await self._client.patch(
                resource,
                name_of(obj),
                body,
                namespace_of(obj) or None,
                subresource="status" if status else "",
            )
        except NotFoundError:
            return
        await self._follow(resource, made)

    async def write_status(self, resource: Resource, obj: Obj, status: Obj) -> None:
        """Bring the status to ``status`` if it differs in any of its keys."""
        known = section(obj, "status")
        change = {key: value for key, value in status.items() if known.get(key) != value}
        if change:
            await self.patch(resource, obj, {"status": change}, status=True)

    async def delete(self, resource: Resource, obj: Obj) -> None:
        """Delete this very object; one that is gone is fine."""
        try:
            await self._client.delete(resource, name_of(obj), namespace_of(obj), uid=uid_of(obj))
        except (NotFoundError, ConflictError):
            return
        await self._until(
            f"{resource.plural} {name_of(obj)} to end",
            resource,
            lambda: self._is_going(resource, obj),
        )

    def _is_going(self, resource: Resource, obj: Obj) -> bool:
        key = f"{namespace_of(obj)}/{name_of(obj)}"
        now = self.get(resource, key)
        return now is None or uid_of(now) != uid_of(obj) or is_ending(now)

    async def _lives(self, owner: Obj) -> bool:
        resource = next(each for each in WATCHED if each.kind == owner["kind"])
        try:
            found = await self._client.get(resource, name_of(owner), namespace_of(owner))
        except NotFoundError:
            return False
        return uid_of(found) == uid_of(owner) and not is_ending(found)

    async def _adopt(self, resource: Resource, obj: Obj, owner: Obj) -> None:
        references = [*(metadata_of(obj).get("ownerReferences") or ()), reference_to(owner)]
        await self.patch(resource, obj, {"metadata": {"ownerReferences": references}})

    async def _follow(self, resource: Resource, written: Obj) -> None:
        version = _version(written)
        informer = self._informers[resource]

        def caught_up() -> bool:
            held = informer.store.get(key_of(written))
            seen = _version(held) if held is not None else int(informer.resource_version or 0)
            return seen >= version

        await self._until(f"the copy of {resource.plural}", resource, caught_up)

    async def _until(self, name: str, resource: Resource, holds: Callable[[], bool]) -> None:
        try:
            await self._informers[resource].wait_until(name, lambda _: holds(), _FOLLOW_LIMIT_S)
        except WaitExpiredError as error:
            _log.warning("%s", error)


def _version(obj: Obj) -> int:
    """The embedded API's versions are numbers that grow with every write, as etcd's."""
    return int(metadata_of(obj).get("resourceVersion") or 0)


def now_text() -> str:
    """The present as the API writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def merged_conditions(existing: Iterable[Mapping[str, Any]], wanted: Iterable[Obj]) -> list[Obj]:
    """Conditions with their times: one whose status is unchanged keeps that of its last transition."""
    before = {item.get("type"): item for item in existing}
    found = []
    for item in wanted:
        old = before.get(item["type"]) or {}
        now = now_text()
        same = old.get("status") == item["status"]
        equal = same and all(old.get(key) == value for key, value in item.items())
        updated = str(old.get("lastUpdateTime") or now) if equal else now
        found.append(
            {
                **item,
                "lastTransitionTime": str(old.get("lastTransitionTime") or now) if same else now,
                "lastUpdateTime": updated,
            }
        )
    return found
