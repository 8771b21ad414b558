"""Follows services and pods, and keeps EndpointSlices and Endpoints equal to them.

Level-triggered: a pass looks at one service, its namespace's pods and what is written, and writes what
differs. Somebody's own slices (not marked as ours) and Endpoints of services without a selector stay theirs;
of the latter, slices are mirrored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError, NotFoundError
from multinet.kube.informer import Informer
from multinet.kube.queue import KeyedQueue
from multinet.kube.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Resource
from multinet.model.objects import Obj, join_key, key_of, labels_of, name_of, namespace_of
from multinet.model.services import LABEL_MANAGED_BY, LABEL_SERVICE, Service
from multinet.workloads import endpoints

_log = logging.getLogger(__name__)
_NAMESPACE, _SERVICE = "namespace", "service"
_WORKERS = 4


class ServiceController:
    """One on each cluster that has no kube-controller-manager."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._services = Informer(client, SERVICES)
        self._pods = Informer(client, PODS)
        self._slices = Informer(client, ENDPOINT_SLICES)
        self._endpoints = Informer(client, ENDPOINTS)
        self._services.add_index(_NAMESPACE, lambda obj: [namespace_of(obj)])
        self._pods.add_index(_NAMESPACE, lambda obj: [namespace_of(obj)])
        self._slices.add_index(_SERVICE, lambda obj: _service_of(obj))
        self.queue = KeyedQueue(self._reconcile, workers=_WORKERS, name="services")

    async def run(self, ready: asyncio.Event) -> None:
        """Work until cancelled; ``ready`` is set when all caches are filled."""
        informers = (self._services, self._pods, self._slices, self._endpoints)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run(), name=f"{informer.resource.plural} informer")
            for informer in informers:
                await informer.synced.wait()
            self._services.on_change(lambda old, new: self.queue.add(key_of(new or old or {})))
            self._endpoints.on_change(lambda old, new: self.queue.add(key_of(new or old or {})))
            self._slices.on_change(self._slice_changed)
            self._pods.on_change(self._pod_changed)
            group.create_task(self.queue.run(), name="services")
            ready.set()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if endpoints.concern(old) == endpoints.concern(new):
            return
        for service in self._services.by_index(_NAMESPACE, namespace_of(new or old or {})):
            selector = _read(service)
            if selector and any(selector.selects(labels_of(pod)) for pod in (old, new) if pod is not None):
                self.queue.add(key_of(service))

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for key in {*_service_of(old or {}), *_service_of(new or {})}:
            self.queue.add(key)

    async def _reconcile(self, key: str) -> None:
        obj = self._services.store.get(key)
        service = _read(obj) if obj is not None else None
        written = self._slices.by_index(_SERVICE, key)
        held = self._endpoints.store.get(key)
        if obj is None or service is None:
            # The slices go with their owner.
            if held is not None and _is_ours(held):
                await self._delete_endpoints(held)
            return
        wanted: list[Obj] = []
        if service.selector:
            pods = list(self._pods.by_index(_NAMESPACE, service.namespace))
            listed = {family: endpoints.members(service, pods, family) for family in service.families}
            for family, found in listed.items():
                wanted += endpoints.slices(service, obj, found, family)
            first = endpoints.endpoints(service, obj, listed[service.families[0]])
            await self._put_endpoints(first, held)
        elif held is not None and not _is_ours(held) and not _skips(held):
            wanted = endpoints.mirrored(held)
        ours = (endpoints.MANAGED_BY, endpoints.MIRRORED_BY)
        await self._put_slices(wanted, [each for each in written if _manager_of(each) in ours])

    async def _put_slices(self, wanted: Iterable[Obj], written: Iterable[Obj]) -> None:
        before = {name_of(item): item for item in written}
        for item in wanted:
            old = before.pop(name_of(item), None)
            if old is None:
                await self._create_slice(item)
            elif _differs(old, item, ("endpoints", "ports", "addressType")):
                await self._replace(ENDPOINT_SLICES, old, item)
        for name, old in before.items():
            with contextlib.suppress(NotFoundError):
                await self._client.delete(ENDPOINT_SLICES, name, namespace_of(old))

    async def _create_slice(self, item: Obj) -> None:
        try:
            await self._client.create(ENDPOINT_SLICES, item)
        except AlreadyExistsError:
            # Our caches are behind, or somebody took the name: the watch brings us back here.
            _log.debug("slice %s is there already", key_of(item))

    async def _put_endpoints(self, wanted: Obj, held: Obj | None) -> None:
        if held is None:
            try:
                await self._client.create(ENDPOINTS, wanted)
            except AlreadyExistsError:
                _log.debug("endpoints %s are there already", key_of(wanted))
        elif _differs(held, wanted, ("subsets",)):
            await self._replace(ENDPOINTS, held, wanted)

    async def _replace(self, resource: Resource, old: Obj, item: Obj) -> None:
        version = old["metadata"]["resourceVersion"]
        made = {**item, "metadata": {**item["metadata"], "resourceVersion": version}}
        try:
            await self._client.replace(resource, made)
        except NotFoundError:
            _log.debug("%s is gone", key_of(item))

    async def _delete_endpoints(self, held: Obj) -> None:
        with contextlib.suppress(NotFoundError):
            await self._client.delete(ENDPOINTS, name_of(held), namespace_of(held))


def _read(obj: Obj) -> Service | None:
    try:
        return Service.from_object(obj)
    except (KeyError, TypeError, ValueError) as error:
        _log.warning("left out: Service %s: %r", key_of(obj), error)
        return None


def _service_of(obj: Obj) -> list[str]:
    name = labels_of(obj).get(LABEL_SERVICE)
    return [join_key(namespace_of(obj), name)] if name else []


def _manager_of(endpoint_slice: Obj) -> str | None:
    return labels_of(endpoint_slice).get(LABEL_MANAGED_BY)


def _is_ours(obj: Obj) -> bool:
    return labels_of(obj).get("endpoints.kubernetes.io/managed-by") == "endpoint-controller"


def _skips(obj: Obj) -> bool:
    return labels_of(obj).get(endpoints.LABEL_SKIP_MIRROR) == "true"


def _differs(old: Obj, new: Obj, fields: Iterable[str]) -> bool:
    same = all((old.get(field) or []) == (new.get(field) or []) for field in fields)
    return not same or dict(labels_of(old)) != dict(labels_of(new))
