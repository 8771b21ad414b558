"""The embedded API server's verbs as a client in the same process, and the ways a connection can be unkind.

The real client (:class:`multinet.kube.client.Client`) says everything over HTTP; this one calls the same
operations directly, with the same objects and the same typed errors, so controller, agents and config API
run on it unchanged. Each role has a connection of its own, which can be cut, lose answers after the work was
done, and deliver watch events twice.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from multinet.apiserver import cluster, patches
from multinet.apiserver.errors import StatusError
from multinet.apiserver.lifecycle import Lifecycle
from multinet.apiserver.operations import Deletion, Operations, Options, Target
from multinet.apiserver.selectors import select
from multinet.apiserver.store import Watcher
from multinet.apiserver.strategic import strategic_merge
from multinet.kube.client import Client, MergePatch, ObjList, raise_refusal
from multinet.kube.errors import KubeError, UnreachableError, error_from_status
from multinet.kube.resources import BUNDLES, Resource
from multinet.kube.watch import WatchEvent
from multinet.model.objects import Obj
from multinet.waits import pause, turn

# A sequence of steps makes a few dozen events; one cluster serves hundreds of sequences, and each event holds
# two states of an object.
_HISTORY = 512


@dataclass(slots=True)
class Line:
    """One role's connection. ``cut``: nothing gets through; ``losses``, ``repeats``: chances, 0 to 1.

    A lost answer is that of a request which was carried out; a repeated event is delivered twice.
    """

    role: str
    losses: float = 0.0
    repeats: float = 0.0
    luck: random.Random = field(default_factory=lambda: random.Random(0))
    cut: bool = False
    _watchers: set[Watcher] = field(default_factory=set)
    _whole: asyncio.Event = field(default_factory=asyncio.Event)

    def cut_off(self) -> None:
        """Cut it: requests fail, watches break."""
        self.cut = True
        for watcher in tuple(self._watchers):
            watcher.close()

    def mend(self) -> None:
        """Whole again."""
        self.cut = False
        self._whole.set()

    async def pause(self, name: str, seconds: float) -> None:
        """A client's pause between two tries. It lasts as long as the cut: tries before would all fail."""
        if self.cut:
            self._whole.clear()
            await self._whole.wait()
        else:
            await pause(name, seconds)

    def check(self) -> None:
        """``UnreachableError`` while it is cut."""
        if self.cut:
            raise UnreachableError("the API can't be reached", where=self.role)

    def lose(self) -> None:
        """``UnreachableError`` where chance will have it so."""
        if self.losses and self.luck.random() < self.losses:
            raise UnreachableError("the connection broke before the answer came", where=self.role)

    def twice(self) -> bool:
        """Whether the next event comes twice."""
        return bool(self.repeats) and self.luck.random() < self.repeats


class LocalApi:
    """A cluster's API without a server; make one inside a running event loop."""

    def __init__(self) -> None:
        self.operations: Operations
        self.lifecycle: Lifecycle
        self.operations, self.lifecycle = cluster.assemble(history=_HISTORY)
        # Which types are served never changes here; nor do the few names that steps use.
        self._target = functools.lru_cache(maxsize=1024)(self._find)

    def client(self, line: Line) -> Client:
        """A client on a connection."""
        return cast(Client, LocalClient(self, line))

    def target(self, resource: Resource, name: str = "", namespace: str = "", sub: str = "") -> Target:
        """The target of a request; ``KubeError`` (404) for a resource that is not served."""
        return self._target(resource, name, namespace, sub)

    def _find(self, resource: Resource, name: str, namespace: str, sub: str) -> Target:
        found = self.operations.types.find(resource.group, resource.plural)
        if found is None:
            raise KubeError(f"{resource.plural} is not served", status=404)
        return Target(found, found.versions[0], namespace, name, sub)

    def objects(self, resource: Resource) -> list[Obj]:
        """All objects of a resource, to read; sorted by namespace and name."""
        return [entry.view() for entry in self.operations.store.entries(self.target(resource).type.key)]

    def find(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """One object, to read."""
        entry = self.operations.store.get(self.target(resource).type.key, namespace, name)
        return None if entry is None else entry.view()


class LocalClient:
    """What the roles use of :class:`multinet.kube.client.Client`."""

    def __init__(self, api: LocalApi, line: Line) -> None:
        self._api = api
        self._line = line
        self.pause = line.pause
        self.renewals = 0

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Obj:
        """Read one object."""
        await self._turn()
        with _translated():
            return self._api.operations.get(self._api.target(resource, name, namespace or "")).copy()

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjList:
        """Read a collection as of now."""
        await self._turn()
        store = self._api.operations.store
        with _translated():
            found = self._api.target(resource)
            selects = select(label_selector, field_selector, found.type)
            entries = store.entries(found.type.key, namespace or "")
            items = [entry.view() for entry in entries if selects is None or selects(entry)]
        return ObjList(items, str(store.revision))

    async def create(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Create an object."""
        if subresource:
            raise NotImplementedError(f"{subresource} of {resource.plural} in this process")
        await self._turn()
        with _translated():
            target = self._api.target(resource, "", str(obj["metadata"].get("namespace") or ""))
            entry = self._api.operations.create(target, _own(obj), Options())
        self._line.lose()
        return entry.view()

    async def create_together(self, objects: Sequence[Obj]) -> bool:
        """Create objects in order by one request."""
        return await self._bundle({"objects": objects})

    async def patch_together(self, patches: Sequence[MergePatch]) -> bool:
        """Patch objects in order by one request."""
        return await self._bundle({"patches": [each.to_spec() for each in patches]})

    async def _bundle(self, spec: Obj) -> bool:
        await self._turn()
        bundle: Obj = {"spec": _own(spec)}
        with _translated():
            bundle = self._api.operations.create(self._api.target(BUNDLES), bundle, Options()).view()
        self._line.lose()
        raise_refusal(bundle)
        return True

    async def replace(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace an object."""
        await self._turn()
        metadata = obj["metadata"]
        with _translated():
            target = self._api.target(
                resource, metadata["name"], str(metadata.get("namespace") or ""), subresource
            )
            entry = self._api.operations.update(target, _own(obj), Options())
        self._line.lose()
        return entry.view()

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        subresource: str = "",
        kind: str = "merge",
    ) -> Obj:
        """Patch an object: merge or strategic merge."""
        await self._turn()
        asked = _own(patch)
        with _translated():
            target = self._api.target(resource, name, namespace or "", subresource)
            if kind == "strategic":
                entry = self._api.operations.modify(
                    target, lambda tree: strategic_merge(tree, asked, target.type.merge), Options()
                )
            else:
                entry = self._api.operations.modify(
                    target, lambda tree: patches.merge(tree, asked), Options()
                )
        self._line.lose()
        return entry.view()

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
        propagation: str | None = None,
    ) -> Obj:
        """Delete an object."""
        await self._turn()
        with _translated():
            target = self._api.target(resource, name, namespace or "")
            deletion = Deletion(grace_seconds, uid=uid or "", propagation=propagation or "Background")
            entry, _ = self._api.operations.delete(target, deletion)
        self._line.lose()
        return entry.view()

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float | None = None,
    ) -> AsyncGenerator[WatchEvent]:
        """Events after ``resource_version`` until the connection is cut; it has no time limit."""
        del timeout_s
        await self._turn()
        store = self._api.operations.store
        with _translated():
            found = self._api.target(resource)
            watcher = Watcher(namespace or "", select(label_selector, field_selector, found.type))
            store.watch(found.type.key, watcher, int(resource_version))
        self._line._watchers.add(watcher)
        line = self._line
        try:
            while True:
                for type_, event in watcher.take():
                    yield WatchEvent(type_, event.entry.view())
                    if line.twice():
                        yield WatchEvent(type_, event.entry.view())
                if watcher.closed:
                    raise UnreachableError("the watch broke", where=self._line.role)
                await watcher.wait()
        finally:
            self._line._watchers.discard(watcher)
            store.unwatch(found.type.key, watcher)

    async def _turn(self) -> None:
        """A request takes at least a turn of the loop, so that others can come in between."""
        self._line.check()
        await turn()
        self._line.check()


class _translated:
    """Turns the server's refusals into what the client raises for them."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StatusError):
            raise error_from_status(error.status(), error.code, "the API") from error


def _own(tree: Any) -> Any:
    """A copy that the operations may keep."""
    return orjson.loads(orjson.dumps(tree))
