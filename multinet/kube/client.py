"""The API's verbs on one cluster.

Objects are plain JSON objects (``Obj``), exactly as the server sent them: no generated classes, since the
custom resources are ours and the standard kinds are read in a few fields only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from multinet.kube.config import ClusterAccess
from multinet.kube.errors import KubeError, NotFoundError, error_from_status
from multinet.kube.resources import BUNDLES, Resource
from multinet.kube.transport import Pause, Transport
from multinet.kube.watch import WatchEvent, watch_events
from multinet.model.objects import Obj
from multinet.waits import pause

PatchKind = Literal["merge", "json", "strategic"]

_PATCH_TYPES: dict[PatchKind, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_WATCH_S = 300.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObjList:
    """A collection as of one ``resource_version``; items have ``kind`` and ``apiVersion`` filled in."""

    items: list[Obj]
    resource_version: str


@dataclass(frozen=True, slots=True)
class MergePatch:
    """One of several merge patches (RFC 7386) to apply together."""

    resource: Resource
    name: str
    namespace: str
    patch: Obj
    subresource: str = ""

    def to_spec(self) -> Obj:
        """As an element of a Bundle."""
        named = {"apiVersion": self.resource.api_version, "kind": self.resource.kind, "name": self.name}
        spec: Obj = {**named, "patch": self.patch, "subresource": self.subresource}
        return spec | {"namespace": self.namespace} if self.namespace else spec


class Client:
    """Access to one cluster; an async context manager.

    Every call raises the errors of :mod:`multinet.kube.errors` and ends within ``timeout_s`` per try.
    ``wait`` is the pause between tries (tests inject one that takes no time).
    """

    def __init__(self, access: ClusterAccess, *, timeout_s: float = 30.0, wait: Pause = pause) -> None:
        self.access = access
        self._transport = Transport(access, timeout_s=timeout_s, wait=wait)
        self._takes_bundles = True
        self._renewed = asyncio.Event()
        self.renewals = 0
        """How often the connections were renewed."""

    async def __aenter__(self) -> Client:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def renew(self) -> None:
        """Give up all connections, since the way to the cluster is another or whole again.

        What is under way fails with ``UnreachableError`` at once, or is asked anew where that can't do it
        twice; who pauses before another try tries.
        """
        self.renewals += 1
        await self._transport.renew()
        self._renewed.set()
        self._renewed = asyncio.Event()

    async def pause(self, name: str, seconds: float) -> None:
        """Let time pass before another try for the stated reason; :meth:`renew` ends it early."""
        _log.debug("pause %r for at most %.3f s", name, seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._renewed.wait()

    async def get_path(self, path: str) -> Any:
        """GET any path of the API that answers JSON (``/version``, discovery)."""
        return await self._transport.request("GET", path)

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Obj:
        """Read one object."""
        return _obj(await self._transport.request("GET", resource.path(name, namespace)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjList:
        """Read a collection (``namespace=None``: all namespaces) as of now, never from a stale cache."""
        query = _selectors(label_selector, field_selector)
        answer = await self._transport.request("GET", resource.collection_path(namespace), query=query)
        items: list[Obj] = answer.get("items") or []
        for item in items:
            # Items of built-in kinds come without them (API conventions, "Lists and Simple kinds").
            item.setdefault("kind", resource.kind)
            item.setdefault("apiVersion", resource.api_version)
        return ObjList(items, str(answer.get("metadata", {}).get("resourceVersion", "")))

    async def create(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Create an object, or post to a subresource of the object named in its metadata (binding)."""
        metadata = obj.get("metadata", {})
        namespace = metadata.get("namespace")
        if subresource:
            path = resource.path(metadata["name"], namespace, subresource)
        else:
            if resource.namespaced and not namespace:
                raise ValueError(f"{resource.kind} to create has no metadata.namespace")
            path = resource.collection_path(namespace)
        return _obj(await self._transport.request("POST", path, body=obj))

    async def create_together(self, objects: Sequence[Obj]) -> bool:
        """Create custom objects in order, status included, by one request; false where the API has no such.

        Raises the error of the first that is refused; those before it are created then, the others not.
        Kubernetes itself has no such request: it is the embedded API's (``multinet.apiserver.bundles``).
        """
        return await self._bundle({"objects": objects})

    async def patch_together(self, patches: Sequence[MergePatch]) -> bool:
        """Patch objects in order by one request; false where the API has no such.

        Raises the error of the first that is refused; those before it are applied then, the others not.
        """
        return await self._bundle({"patches": [each.to_spec() for each in patches]})

    async def _bundle(self, spec: Obj) -> bool:
        if not self._takes_bundles:
            return False
        body = {"apiVersion": BUNDLES.api_version, "kind": BUNDLES.kind, "spec": spec}
        try:
            answer = await self._transport.request("POST", BUNDLES.collection_path(None), body=body)
        except NotFoundError:
            self._takes_bundles = False
            return False
        raise_refusal(answer)
        return True

    async def replace(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """Replace an object; with a resourceVersion in it, only if it is unchanged (``ConflictError``)."""
        metadata = obj["metadata"]
        path = resource.path(metadata["name"], metadata.get("namespace"), subresource)
        return _obj(await self._transport.request("PUT", path, body=obj))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: object,
        namespace: str | None = None,
        *,
        subresource: str = "",
        kind: PatchKind = "merge",
    ) -> Obj:
        """Patch an object: RFC 7386 merge, RFC 6902 JSON patch (a list), or strategic merge."""
        path = resource.path(name, namespace, subresource)
        content_type = _PATCH_TYPES[kind]
        return _obj(await self._transport.request("PATCH", path, body=patch, content_type=content_type))

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
        """Delete an object; with ``uid``, only that incarnation (``ConflictError`` for another).

        Returns the object as it is being deleted, or the server's Status.
        """
        options: Obj = {}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if propagation is not None:
            options["propagationPolicy"] = propagation
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None
        return _obj(await self._transport.request("DELETE", resource.path(name, namespace), body=body))

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float | None = None,
    ) -> AsyncGenerator[WatchEvent]:
        """Events after ``resource_version``, bookmarks included, until the server ends the watch.

        Raises ``GoneError`` where that version can't be resumed (list again), ``UnreachableError`` where
        the connection breaks or is silent beyond ``timeout_s``. Wrap in ``contextlib.aclosing``.
        """
        limit = _WATCH_S if timeout_s is None else timeout_s
        query = _selectors(label_selector, field_selector)
        query |= {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        query["timeoutSeconds"] = str(max(1, round(limit)))
        return watch_events(self._transport, resource.collection_path(namespace), query, timeout_s=limit)


def raise_refusal(bundle: Obj) -> None:
    """Raise the error of the object that a bundle's answer says was refused, if one was."""
    status = bundle.get("status")
    if not isinstance(status, dict):
        raise KubeError("the answer is no Bundle", where=BUNDLES.plural, why=repr(bundle)[:200])
    if "failure" in status:
        done = f"after {status.get('created')} objects and {status.get('patched')} patches of a bundle"
        raise error_from_status(status["failure"], 500, done)


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query: dict[str, str] = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query


def _obj(answer: Any) -> Obj:
    obj: Obj = answer
    return obj
