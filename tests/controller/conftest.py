"""A small in-memory API with the interface of ``multinet.kube.Client``: quick, and able to be unkind.

It can deliver watch events late, out of step between kinds and twice, answer slowly, and lose answers
after having done the work.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from multinet.controller.controller import Controller
from multinet.controller.settings import Settings
from multinet.kube.client import ObjList
from multinet.kube.errors import AlreadyExistsError, ConflictError, NotFoundError, UnreachableError
from multinet.kube.resources import (
    INSTANCE_IPS,
    NADS,
    NAMESPACES,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
    Resource,
)
from multinet.kube.watch import WatchEvent
from multinet.model.dialect import CONTRAIL_CLASSIC
from multinet.model.objects import Obj, key_of, labels_of, name_of, namespace_of, uid_of
from multinet.waits import pause, wait_for

HAS_STATUS = {VIRTUAL_NETWORKS, VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS, PODS}


def copied(obj: Any) -> Any:
    """A deep copy of a JSON object (``copy.deepcopy`` takes ten times as long)."""
    return orjson.loads(orjson.dumps(obj))


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge(made.get(key), value)
    return made


@dataclass
class Api:
    """Objects, versions and watchers. ``mood`` is a random source for unkindness; None is kind.

    ``bundles`` False: it creates one object at a time, as Kubernetes does.
    """

    mood: random.Random | None = None
    losses: float = 0.0
    bundles: bool = True
    version: int = 0
    objects: dict[Resource, dict[str, Obj]] = field(default_factory=dict)
    history: list[tuple[int, Resource, WatchEvent]] = field(default_factory=list)
    watchers: set[asyncio.Event] = field(default_factory=set)
    requests: int = 0
    latest: dict[Resource, int] = field(default_factory=dict)

    def all(self, resource: Resource) -> list[Obj]:
        return list(self.objects.setdefault(resource, {}).values())

    def named(self, resource: Resource, key: str) -> Obj | None:
        return self.objects.setdefault(resource, {}).get(key)

    def _emit(self, resource: Resource, kind: str, obj: Obj) -> None:
        self.history.append((self.version, resource, WatchEvent(kind, obj)))
        self.latest[resource] = self.version
        for watcher in self.watchers:
            watcher.set()

    def put(self, resource: Resource, obj: Obj) -> Obj:
        table = self.objects.setdefault(resource, {})
        key = key_of(obj)
        known = table.get(key)
        stored = copied(obj)
        self.version += 1
        meta = stored["metadata"]
        meta["resourceVersion"] = str(self.version)
        if known is not None:
            # As an update keeps them, whatever the writer sends.
            meta["uid"] = known["metadata"]["uid"]
            meta["creationTimestamp"] = known["metadata"]["creationTimestamp"]
        else:
            meta.setdefault(
                "uid", str(uuid.UUID(int=random.Random(self.version).getrandbits(128), version=4))
            )
            meta["creationTimestamp"] = (
                f"2026-01-01T{self.version // 3600:02}:{self.version // 60 % 60:02}:{self.version % 60:02}Z"
            )
        stored.setdefault("kind", resource.kind)
        stored.setdefault("apiVersion", resource.api_version)
        table[key] = stored
        self._emit(resource, "ADDED" if known is None else "MODIFIED", stored)
        return stored

    def remove(self, resource: Resource, key: str) -> None:
        """Delete; an object with finalizers is marked, and goes when the last of them does."""
        stored = self.objects[resource][key]
        if stored["metadata"].get("finalizers"):
            self.put(resource, merge(stored, {"metadata": {"deletionTimestamp": "2026-01-02T00:00:00Z"}}))
            return
        gone = copied(self.objects[resource].pop(key))
        self.version += 1
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._emit(resource, "DELETED", gone)

    async def until(self, what: str, predicate: Callable[[], Any], limit_s: float = 30.0) -> Any:
        """The first true answer of ``predicate``, asked after each change."""
        changed = asyncio.Event()
        self.watchers.add(changed)

        async def ask() -> Any:
            while not (answer := predicate()):
                await changed.wait()
                changed.clear()
            return answer

        try:
            return await wait_for(what, ask(), limit_s)
        finally:
            self.watchers.discard(changed)


class FakeClient:
    """What the controller uses of ``multinet.kube.Client``."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.pause = pause
        self.renewals = 0

    async def _request(self) -> None:
        self.api.requests += 1
        turns = self.api.mood.randrange(4) if self.api.mood else 1
        for _ in range(turns):
            await pause("simulated latency", 0)

    def _lose(self) -> None:
        if self.api.mood and self.api.mood.random() < self.api.losses:
            raise UnreachableError("the connection broke", where="fake")

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Obj:
        await self._request()
        found = self.api.named(resource, f"{namespace}/{name}" if namespace else name)
        if found is None:
            raise NotFoundError(f"{resource.plural} {name} not found", status=404)
        return copied(found)

    async def list(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", **_: str
    ) -> ObjList:
        await self._request()
        found = [o for o in self.api.all(resource) if namespace in (None, namespace_of(o))]
        if label_selector:
            label, _, value = label_selector.partition("=")
            found = [o for o in found if labels_of(o).get(label) == value]
        return ObjList(copied(found), str(self.api.version))

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        await self._request()
        self._lose()
        if self.api.named(resource, key_of(obj)) is not None:
            raise AlreadyExistsError(f"{key_of(obj)} exists", status=409)
        made = {
            k: v
            for k, v in obj.items()
            if not (k == "status" and resource in HAS_STATUS and resource != PODS)
        }
        stored = self.api.put(resource, made)
        self._lose()
        return copied(stored)

    async def create_together(self, objects: list[Obj]) -> bool:
        if not self.api.bundles:
            return False
        await self._request()
        self._lose()
        for obj in objects:
            resource = next(each for each in HAS_STATUS if each.kind == obj["kind"])
            if self.api.named(resource, key_of(obj)) is not None:
                raise AlreadyExistsError(f"{key_of(obj)} exists", status=409)
            self.api.put(resource, obj)
        self._lose()
        return True

    async def replace(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        await self._request()
        current = self.api.named(resource, key_of(obj))
        if current is None:
            raise NotFoundError(f"{key_of(obj)} not found", status=404)
        if obj["metadata"].get("resourceVersion") not in (None, current["metadata"]["resourceVersion"]):
            raise ConflictError("changed", status=409)
        return copied(self.api.put(resource, obj))

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
        await self._request()
        self._lose()
        current = self.api.named(resource, f"{namespace}/{name}" if namespace else name)
        if current is None:
            raise NotFoundError(f"{name} not found", status=404)
        asked = patch.get("metadata", {})
        for key in ("resourceVersion", "uid"):
            if asked.get(key) not in (None, current["metadata"][key]):
                raise ConflictError("changed", status=409)
        made = merge(current, patch)
        if made == current:
            return copied(current)
        stored = self.api.put(resource, made)
        if stored["metadata"].get("deletionTimestamp") and not stored["metadata"].get("finalizers"):
            self.api.remove(resource, key_of(stored))
        self._lose()
        return copied(stored)

    async def delete(
        self, resource: Resource, name: str, namespace: str | None = None, *, uid: str | None = None, **_: Any
    ) -> Obj:
        await self._request()
        self._lose()
        key = f"{namespace}/{name}" if namespace else name
        current = self.api.named(resource, key)
        if current is None:
            raise NotFoundError(f"{name} not found", status=404)
        if uid is not None and uid_of(current) != uid:
            raise ConflictError("another uid", status=409)
        self.api.remove(resource, key)
        self._lose()
        return current

    async def watch(
        self, resource: Resource, namespace: str | None = None, *, resource_version: str, **_: Any
    ) -> AsyncGenerator[WatchEvent]:
        api, changed = self.api, asyncio.Event()
        seen, at = int(resource_version), 0
        api.watchers.add(changed)
        try:
            while True:
                while at < len(api.history):
                    version, kind, event = api.history[at]
                    at += 1
                    if kind != resource or version <= seen:
                        continue
                    for _turn in range(api.mood.randrange(6) if api.mood else 0):
                        await pause("simulated delivery", 0)
                    yield WatchEvent(event.type, copied(event.object))
                    if api.mood and api.mood.random() < 0.2:
                        yield WatchEvent(event.type, copied(event.object))
                changed.clear()
                if at == len(api.history):
                    await changed.wait()
        finally:
            api.watchers.discard(changed)


@dataclass
class Said:
    """Events in the order in which they were recorded."""

    events: list[tuple[str, str, str, str]] = field(default_factory=list)

    def record(self, obj: Obj, type: str, reason: str, message: str) -> None:
        self.events.append((key_of(obj), type, reason, message))

    def warnings(self, key: str) -> list[tuple[str, str]]:
        return [(reason, message) for k, t, reason, message in self.events if k == key and t == "Warning"]


class Alarm:
    """One call of a :class:`QuickClock`."""

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self._call: Callable[[], object] | None = lambda: callback(*args)

    def cancel(self) -> None:
        self._call = None

    def ring(self) -> None:
        if self._call is not None:
            self._call()


class QuickClock:
    """Time twenty-five times as quick as the event loop's, of which each turn of that has a little at most.

    So delays and graces keep their order, and what is done within one on a quick machine is so on a busy one,
    which may not run us for a tenth of a second.
    """

    TICK_S, WORTH_S = 0.001, 0.025

    def __init__(self) -> None:
        self._now = 1000.0
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._number = itertools.count()
        self._runs = False

    def time(self) -> float:
        self._run()
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Alarm:
        self._run()
        alarm = Alarm(callback, args)
        heapq.heappush(self._alarms, (self._now + delay, next(self._number), alarm))
        return alarm

    def _run(self) -> None:
        if not self._runs:
            self._runs = True
            asyncio.get_running_loop().call_later(self.TICK_S, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._now += self.WORTH_S
        while self._alarms and self._alarms[0][0] <= self._now:
            loop.call_soon(heapq.heappop(self._alarms)[2].ring)
        loop.call_later(self.TICK_S, self._tick)


class World:
    """An API with a controller on it, and short words for what tests do."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.said = Said()
        self.settings = Settings()
        self.controller: Controller | None = None
        self._task: asyncio.Task[None] | None = None
        self.namespace("default")

    async def start(self) -> None:
        ready = asyncio.Event()
        self.controller = Controller(
            FakeClient(self.api), self.said, settings=self.settings, clock=QuickClock()
        )
        self._task = asyncio.create_task(self.controller.run(ready.set))
        await wait_for("the controller", ready.wait(), 30.0)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def settle(self) -> None:
        """Return when nothing moves any more, delayed retries of failed passes included."""
        quiet, version = 0, -1
        # Between a change and the next one are a few turns of the loop, more when deliveries are late.
        enough = 30 if self.api.mood else 15
        while quiet < enough:
            for queue in self.controller.queues:
                if not queue._idle.is_set():
                    await queue.wait_idle(30.0)
            await pause("a turn", 0.002 if self.api.mood else 0)
            behind = any(
                int(informer.resource_version or 0) < self.api.latest.get(informer.resource, 0)
                for informer in (*self.controller.view.informers, self.controller._policies.informer)
            )
            delayed = self.controller.status_queue._delayed or self.controller.policy_queue._delayed
            failing = any(queue._failures for queue in self.controller.queues) or bool(delayed)
            quiet = 0 if behind or failing or version != self.api.version else quiet + 1
            version = self.api.version

    def namespace(self, name: str, **annotations: str) -> None:
        marked = {f"opencontrail.org/{k}": v for k, v in annotations.items()}
        self.api.put(NAMESPACES, {"metadata": {"name": name, "annotations": marked}})

    def nad(self, key: str, config: str | None = '{"type": "contrail-k8s-cni"}', **annotations: str) -> Obj:
        namespace, name = key.split("/")
        marked = {f"opencontrail.org/{k}": v for k, v in annotations.items()}
        meta = {"name": name, "namespace": namespace, "annotations": marked}
        return self.api.put(NADS, {"metadata": meta, "spec": {} if config is None else {"config": config}})

    def pod(
        self, key: str, networks: str | None = None, annotations: dict[str, str] | None = None, **extra: Any
    ) -> Obj:
        namespace, name = key.split("/")
        meta: Obj = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
        if networks is not None:
            meta["annotations"]["k8s.v1.cni.cncf.io/networks"] = networks
        spec = {"nodeName": "node1"} | extra
        return self.api.put(PODS, {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})

    def touch(self, key: str, **annotations: str) -> None:
        """Change a pod's annotations: an event about it."""
        self.api.put(PODS, merge(self.api.named(PODS, key), {"metadata": {"annotations": annotations}}))

    def status(self, key: str) -> str | None:
        found = self.api.named(PODS, key) or {}
        return found["metadata"].get("annotations", {}).get("k8s.v1.cni.cncf.io/network-status")

    def vm(self, key: str) -> Obj | None:
        namespace, name = key.split("/")
        for found in self.api.all(VIRTUAL_MACHINES):
            if (found["spec"]["pod"]["namespace"], found["spec"]["pod"]["name"]) == (namespace, name):
                return found
        return None

    def resolved(self, key: str) -> Obj | None:
        for condition in (self.vm(key) or {}).get("status", {}).get("conditions", ()):
            return condition
        return None

    def interfaces(self, key: str) -> list[Obj]:
        namespace, name = key.split("/")
        found = [
            vmi["spec"]
            for vmi in self.api.all(VIRTUAL_MACHINE_INTERFACES)
            if (vmi["spec"]["pod"]["namespace"], vmi["spec"]["pod"]["name"]) == (namespace, name)
        ]
        return sorted(found, key=lambda spec: spec["index"])

    def networks(self) -> list[str]:
        return sorted(name_of(vn) for vn in self.api.all(VIRTUAL_NETWORKS))

    async def attached(self, key: str) -> list[Obj]:
        await self.api.until(f"{key} attached", lambda: (self.resolved(key) or {}).get("status") == "True")
        return self.interfaces(key)

    async def refused(self, key: str, reason: str) -> str:
        """Wait until the pod is refused for that reason; returns the message."""
        await self.api.until(
            f"{key} refused with {reason}, not {self.resolved(key)}",
            lambda: (self.resolved(key) or {}).get("reason") == reason,
        )
        return self.resolved(key)["message"]


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def make_world() -> Callable[[Api], World]:
    return World


@pytest.fixture
def fake_client() -> type[FakeClient]:
    return FakeClient


@pytest.fixture
def make_api() -> type[Api]:
    return Api


Made = Callable[..., Awaitable[World]]


@pytest.fixture
async def start_world() -> AsyncGenerator[Made]:
    """Starts a controller with settings on an API of its own."""
    worlds: list[World] = []

    async def start(**settings: Any) -> World:
        made = World(Api())
        made.settings = Settings(**settings)
        worlds.append(made)
        await made.start()
        return made

    yield start
    for made in worlds:
        await made.stop()


@pytest.fixture
async def classic(start_world: Made) -> World:
    """A controller in the dialect ``contrail-classic``."""
    return await start_world(dialect=CONTRAIL_CLASSIC)


@pytest.fixture
async def world(api: Api) -> AsyncGenerator[World]:
    made = World(api)
    await made.start()
    yield made
    await made.stop()


Restart = Callable[[], Awaitable[None]]
