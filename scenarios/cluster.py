"""What the runner knows of the cluster: local copies of the collections, and a memory of what there was.

Every wait of a step is a question to these copies, asked again whenever one of them changes; nothing
polls. What pods had (interfaces, addresses, MACs) is remembered after they are gone, since that is what a
search for left-overs needs.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.resources import Resource
from multinet.model.objects import Obj, key_of, metadata_of, name_of, namespace_of, section, uid_of
from multinet.waits import wait_for

T = TypeVar("T")
Emit = Callable[[str, dict[str, Any]], None]

WATCHED: tuple[Resource, ...] = (
    resources.NAMESPACES,
    resources.NODES,
    resources.PODS,
    resources.EVENTS,
    resources.NADS,
    resources.VIRTUAL_NETWORKS,
    resources.VIRTUAL_MACHINES,
    resources.VIRTUAL_MACHINE_INTERFACES,
    resources.INSTANCE_IPS,
    resources.NETWORK_POLICIES,
    resources.MULTI_NETWORK_POLICIES,
)
_SYNC_LIMIT_S = 10.0
_FOLLOW_LIMIT_S = 10.0


@dataclass(slots=True)
class PodRecord:
    """What a pod had while it lived; ``macs`` and ``addresses`` are those that the API told."""

    namespace: str
    name: str
    uid: str
    node: str = ""
    gone: bool = False
    macs: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


def is_ready(pod: Obj) -> bool:
    """Whether the pod has the condition Ready."""
    conditions = section(pod, "status").get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def phase_of(pod: Obj) -> str:
    """The pod's phase; a new pod's is Pending."""
    return str(section(pod, "status").get("phase") or "Pending")


def _number(resource_version: str) -> int:
    """The embedded API's versions are numbers that grow with every write, as etcd's."""
    return int(resource_version or 0)


def _version(obj: Obj) -> int:
    return _number(str(metadata_of(obj).get("resourceVersion") or ""))


class Cluster:
    """Copies of the collections in :data:`WATCHED`. Use as an async context manager."""

    def __init__(self, client: Client, emit: Emit) -> None:
        self.client = client
        self.records: dict[str, PodRecord] = {}
        self._emit = emit
        self._informers = {resource: Informer(client, resource) for resource in WATCHED}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._announced: set[str] = set()

    async def __aenter__(self) -> Cluster:
        for resource, informer in self._informers.items():
            informer.on_change(functools.partial(self._on_change, resource))
            self._tasks.append(asyncio.create_task(informer.run(), name=f"informer {resource.plural}"))
        for resource, informer in self._informers.items():
            await wait_for(f"the list of {resource.plural}", informer.synced.wait(), _SYNC_LIMIT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def objects(self, resource: Resource) -> Mapping[str, Obj]:
        """The copy of a collection, by ``namespace/name`` or ``name``."""
        return self._informers[resource].store

    def all(self, resource: Resource) -> list[Obj]:
        """A collection's objects, sorted by key."""
        store = self.objects(resource)
        return [store[key] for key in sorted(store)]

    def pod(self, key: str) -> Obj | None:
        """One pod, None when there is none."""
        return self.objects(resources.PODS).get(key)

    def events_of(self, namespace: str, name: str) -> list[Obj]:
        """Events about a pod, oldest first."""
        found = [
            event
            for event in self.all(resources.EVENTS)
            if (event.get("involvedObject") or {}).get("name") == name
            and (event.get("involvedObject") or {}).get("namespace") == namespace
        ]
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or ""))

    async def until(
        self, name: str, predicate: Callable[[], T | None], limit_s: float, *, step: int, hint: str = ""
    ) -> T:
        """The first answer of ``predicate`` that is not None; asked again at each change."""
        begun = time.monotonic()
        try:
            return await wait_for(name, self._ask(predicate), limit_s, hint=hint)
        finally:
            seconds = round(time.monotonic() - begun, 4)
            self._emit("wait", {"step": step, "name": name, "seconds": seconds, "limit": limit_s})

    async def follow(self, resource: Resource, written: Obj) -> None:
        """Return when the copy of a collection is as new as ``written``, the API's answer to a write.

        A collection that is not in :data:`WATCHED` has no copy.
        """
        informer = self._informers.get(resource)
        if informer is None:
            return

        def caught_up() -> bool | None:
            return True if _number(informer.resource_version) >= _version(written) else None

        name = f"the copy of {resource.plural} to show {key_of(written)}"
        await wait_for(name, self._ask(caught_up), _FOLLOW_LIMIT_S)

    async def catch_up(self) -> None:
        """Return when all copies are as new as the API is now: somebody else may have written anything."""
        for resource, informer in self._informers.items():
            listed = await self.client.list(resource)
            newest = max(map(_version, listed.items), default=0)
            there = {key_of(item) for item in listed.items}

            def caught_up(
                informer: Informer = informer,
                newest: int = newest,
                there: set[str] = there,
                moment: int = _number(listed.resource_version),
            ) -> bool | None:
                vanished = (obj for key, obj in informer.store.items() if key not in there)
                current = _number(informer.resource_version) >= newest
                return True if current and all(_version(obj) > moment for obj in vanished) else None

            name = f"the copy of {resource.plural} to catch up"
            await wait_for(name, self._ask(caught_up), _FOLLOW_LIMIT_S)

    async def _ask(self, predicate: Callable[[], T | None]) -> T:
        while True:
            self._changed.clear()
            answer = predicate()
            if answer is not None:
                return answer
            await self._changed.wait()

    def _on_change(self, resource: Resource, old: Obj | None, new: Obj | None) -> None:
        if resource is resources.PODS:
            self._remember_pod(old, new)
        elif resource is resources.VIRTUAL_MACHINE_INTERFACES and new is not None:
            self._remember_interface(new)
        self._changed.set()

    def _remember_pod(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and (new is None or uid_of(new) != uid_of(old)):
            self._record(uid_of(old), namespace_of(old), name_of(old)).gone = True
        if new is None:
            return
        record = self._record(uid_of(new), namespace_of(new), name_of(new))
        record.node = str(section(new, "spec").get("nodeName") or record.node)
        if not section(new, "spec").get("hostNetwork"):
            addresses = section(new, "status").get("podIPs") or ()
            record.addresses.update(str(item.get("ip")) for item in addresses)
        if phase_of(new) == "Running" and record.uid not in self._announced:
            self._announced.add(record.uid)
            ip = str(section(new, "status").get("podIP") or "")
            data = {"namespace": record.namespace, "name": record.name, "node": record.node, "ip": ip}
            self._emit("pod-running", data)

    def _remember_interface(self, vmi: Obj) -> None:
        spec = section(vmi, "spec")
        pod = spec.get("pod") or {}
        record = self._record(str(pod.get("uid")), str(pod.get("namespace")), str(pod.get("name")))
        record.macs.add(str(spec.get("mac")))
        record.addresses.update(str(item.get("address")) for item in spec.get("addresses") or ())

    def _record(self, uid: str, namespace: str, name: str) -> PodRecord:
        return self.records.setdefault(uid, PodRecord(namespace, name, uid))

    def gone(self) -> Iterable[PodRecord]:
        """Pods that were and are no more."""
        return sorted((r for r in self.records.values() if r.gone), key=lambda r: (r.key, r.uid))
