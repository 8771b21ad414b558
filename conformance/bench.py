"""What tests work with on a cluster: objects made, pods observed by three oracles, everything cleared away.

Tests are plain functions; the API is spoken to in one event loop in a thread of this module, and local copies
of pods and events make every wait a question that is asked again when something changes.

A pod *settles* when it runs, or when somebody says in a Warning event that it can't. Neither within the limit
is an answer as well: it does not run, and nobody says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import uvloop

from conformance.livecluster import RUN
from conformance.oracles import Seen, look
from conformance.profiles import Feature
from conformance.target import CannotObserveError, ClusterTarget, Network
from multinet.errors import LabError, WaitExpiredError
from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import NotFoundError
from multinet.kube.informer import Informer
from multinet.kube.resources import Resource
from multinet.model.objects import (
    ANNOTATION_SELECTION,
    ANNOTATION_STATUS,
    Obj,
    annotations_of,
    join_key,
    name_of,
    namespace_of,
    uid_of,
)
from multinet.waits import pause, wait_for
from traffic.observation import Observation
from traffic.probe import Pair, Prober

T = TypeVar("T")
_SETTLE_LIMIT_S = 30.0
# A live cluster has other work besides, and its kubelets try a refused pod again until it is deleted.
_LIVE_SETTLE_LIMIT_S = 120.0
_LIVE_AT_ONCE = 8
# A kubelet tries a sandbox that failed again after 10 to 15 s, and then what hindered it may be over.
_LIVE_GRACE_S = 16.0
_SYNC_LIMIT_S = 60.0
_CALL_LIMIT_S = 60.0
_GONE_LIMIT_S = 60.0
_MARGIN_S = 20.0
_GRACE_S = 0.2
_GOODBYE_S = 0.2
_ASK_S = 0.2
_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
# Warnings of the scheduler and the kubelet that say nothing of how a pod gets its networks; those of
# DNS come before the first try, also of pods that run a second later.
_NOT_ABOUT_NETWORKS = frozenset(
    {
        *(
            "FailedScheduling",
            "FailedMount",
            "BackOff",
            "Failed",
            "Unhealthy",
            "ProbeWarning",
            "InspectFailed",
        ),
        *("ErrImageNeverPull", "FailedToRetrieveImagePullSecret", "MissingClusterDNS", "DNSConfigForming"),
    }
)
_KINDS = {
    resource.kind: resource
    for resource in (resources.PODS, resources.NADS, resources.NAMESPACES, resources.SERVICES)
}


@dataclass(frozen=True, slots=True)
class PodWish:
    """A pod to be: its selection (None: no annotation at all) and what else is special about it.

    ``node`` is a position in the target's nodes; None spreads pods over all but the last one, which some
    tests disturb. ``spec`` is merged into the pod's spec, ``labels`` and ``annotations`` into its metadata.
    """

    networks: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    node: int | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)


class Bench:
    """One per process of a test run. Use as a context manager."""

    def __init__(self, target: ClusterTarget, run: str, name: str) -> None:
        self.target = target
        self.settle_limit_s = _SETTLE_LIMIT_S if target.isolated else _LIVE_SETTLE_LIMIT_S
        self.grace_s = 0.0 if target.isolated else _LIVE_GRACE_S
        self._run = run
        self._name = name
        self._count = itertools.count(1)
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._copies: dict[Resource, Informer] = {}
        self._opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Client]] = Future()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._live()), name="bench", daemon=True)

    def __enter__(self) -> Bench:
        self._thread.start()
        self._opened.result(_CALL_LIMIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, end, _client = self._opened.result()
        loop.call_soon_threadsafe(end.set)
        self._thread.join(_CALL_LIMIT_S)

    async def _live(self) -> None:
        """The thread's event loop, from the first list to the end."""
        end = asyncio.Event()
        try:
            async with Client(load_kubeconfig(self.target.kubeconfig)) as client:
                await self._follow(client)
                self._opened.set_result((asyncio.get_running_loop(), end, client))
                await end.wait()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
            # The loop may not end while TLS connections are still saying goodbye.
            await pause("the last connections to close", _GOODBYE_S)
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def _follow(self, client: Client) -> None:
        for resource in (resources.PODS, resources.EVENTS):
            informer = self._copies[resource] = Informer(client, resource)
            informer.on_change(lambda _old, _new: self._changed.set())
            self._tasks.append(asyncio.create_task(informer.run(), name=f"copy of {resource.plural}"))
        for resource, informer in self._copies.items():
            await wait_for(f"the list of {resource.plural}", informer.synced.wait(), _SYNC_LIMIT_S)

    def call(self, work: Coroutine[Any, Any, T], limit_s: float = _CALL_LIMIT_S) -> T:
        """The result of a coroutine in the bench's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._opened.result()[0]).result(limit_s)

    @property
    def client(self) -> Client:
        """For calls of its own kind: ``bench.call(bench.client.get(...))``."""
        return self._opened.result()[2]

    def until(self, name: str, predicate: Callable[[], T | None], limit_s: float) -> T:
        """The first answer of ``predicate`` that is not None; asked again at each change."""

        async def ask() -> T:
            while True:
                self._changed.clear()
                answer = predicate()
                if answer is not None:
                    return answer
                await self._changed.wait()

        return self.call(wait_for(name, ask(), limit_s), limit_s + _MARGIN_S)

    # -- objects ---------------------------------------------------------------------------------------------

    def space(self, hint: str = "") -> Space:
        """A namespace of its own, with ranges of addresses nobody else uses."""
        number = next(self._count)
        name = f"conform-{self._run}-{self._name}-{number}" + (f"-{hint}" if hint else "")
        metadata = {"name": name, "labels": {RUN: self._run}}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return Space(self, name)

    def create(self, *objects: Obj) -> list[Obj]:
        """Create objects side by side; the API's answers in the same order."""

        async def every() -> list[Obj]:
            return list(await asyncio.gather(*(self.client.create(_KINDS[o["kind"]], o) for o in objects)))

        return self.call(every())

    def delete(self, resource: Resource, *objects: Obj) -> None:
        """Delete; objects that are gone already are fine. A pod goes when it has been torn down."""

        async def one(obj: Obj) -> None:
            try:
                await self.client.delete(resource, name_of(obj), namespace_of(obj) or None)
            except NotFoundError:
                return

        async def every() -> None:
            await asyncio.gather(*(one(obj) for obj in objects))

        self.call(every())

    def pod_object(self, namespace: str, name: str) -> Obj | None:
        """The newest copy of a pod."""
        return self._copies[resources.PODS].store.get(join_key(namespace, name))

    def events_about(self, pod: Obj) -> list[Obj]:
        """Events about this incarnation of a pod, as they came."""
        uid = uid_of(pod)
        every = self._copies[resources.EVENTS].store.values()
        return [event for event in every if (event.get("involvedObject") or {}).get("uid") == uid]

    def refusals(self, pod: Obj) -> list[str]:
        """What Warning events say of why it can't run."""
        return [
            f"{event.get('reason')}: {event.get('message')}"
            for event in self.events_about(pod)
            if event.get("type") == "Warning" and event.get("reason") not in _NOT_ABOUT_NETWORKS
        ]

    def gone(self, namespace: str, names: Iterable[str]) -> None:
        """Return when none of these pods exists."""
        wanted = list(names)

        def none_left() -> bool | None:
            return True if all(self.pod_object(namespace, name) is None for name in wanted) else None

        self.until(f"the end of pods {', '.join(wanted)} in {namespace}", none_left, _GONE_LIMIT_S)


class Space:
    """A namespace for one test, or for the pods that several tests look at."""

    def __init__(self, bench: Bench, namespace: str) -> None:
        self.bench = bench
        self.namespace = namespace
        self._position = itertools.count()

    def network(self, name: str, *subnets: str, **wish: Any) -> Network:
        """A network made by a NAD in this namespace; a subnet of its own when none is given."""
        chosen = subnets or (() if wish else (self.subnet(),))
        network = Network(name, self.namespace, chosen, **wish)
        self.bench.create(self.bench.target.nad(network))
        return network

    def subnet(self) -> str:
        """An IPv4 block of 254 addresses that nobody else has."""
        return f"{next(_blocks)}.0/24"

    def subnet6(self) -> str:
        """An IPv6 block that nobody else has."""
        return f"fd00:{next(_blocks).replace('.', ':')}::/64"

    def start(self, **wishes: PodWish | str | None) -> None:
        """Create pods by name (``_`` stands for ``-``), without waiting."""
        self.bench.create(*(self._pod(name.replace("_", "-"), wish) for name, wish in wishes.items()))

    def pods(self, **wishes: PodWish | str | None) -> dict[str, Seen]:
        """Create pods and look at each when all have settled."""
        self.start(**wishes)
        return self.settled(*(name.replace("_", "-") for name in wishes))

    def pod(self, networks: PodWish | str | None) -> Seen:
        """One pod, looked at when it has settled."""
        return self.batch(networks)[0]

    def batch(
        self,
        *wishes: PodWish | str | None,
        limit_s: float = 0.0,
        together: bool = False,
        controlled: bool = False,
    ) -> list[Seen]:
        """Pods with names of no meaning, side by side; looked at when all have settled.

        On a live cluster a few at a time, if not asked for ``together``; those that don't run are deleted.
        Where one of them is the control (``controlled``), no second try of the others is waited for.
        """
        named = [(f"p{next(self._position)}", wish) for wish in wishes]
        live = not self.bench.target.isolated
        size = _LIVE_AT_ONCE if live and not together else len(named)
        found: dict[str, Seen] = {}
        for first in range(0, len(named), size or 1):
            part = dict(named[first : first + size])
            self.start(**part)
            limit = max(limit_s, self.bench.settle_limit_s)
            seen = self.settled(*part, limit_s=limit, retried=not controlled)
            if live:
                self.bench.delete(resources.PODS, *(pod.obj for pod in seen.values() if not pod.runs))
            found |= seen
        return list(found.values())

    def settled(self, *names: str, limit_s: float = 0.0, retried: bool = True) -> dict[str, Seen]:
        """Look at pods when all have settled, or the limit is reached (0: the target's own)."""
        limit_s = limit_s or self.bench.settle_limit_s
        begun = time.monotonic()
        # Where a limit is reached: which of them did not settle is told by what is seen of each.
        with contextlib.suppress(WaitExpiredError):
            self._all(names, "to run or to be refused", self._settled, limit_s)
            # A warning may be about a pod that runs all the same: as much time again for those.
            least = self.bench.grace_s if retried else 0.0
            grace = max(time.monotonic() - begun, least) + _GRACE_S
            self._all(names, "to run in spite of warnings", self._runs, grace)
        return {name: self.look(name) for name in names}

    def _all(self, names: Iterable[str], what: str, predicate: Callable[[str], bool], limit_s: float) -> None:
        wanted = list(names)

        def answer() -> bool | None:
            return True if all(predicate(name) for name in wanted) else None

        self.bench.until(f"pods {', '.join(wanted)} in {self.namespace} {what}", answer, limit_s)

    def running(self, name: str) -> Seen:
        """Look at a pod when it runs, whatever it was warned of; or at the limit."""
        with contextlib.suppress(WaitExpiredError):
            self._all([name], "to run", self._runs, self.bench.settle_limit_s)
        return self.look(name)

    def told_or_gone(self, name: str) -> str:
        """What a Warning event says of a pod that is being deleted; empty when it goes without one."""

        def answer() -> str | None:
            obj = self.bench.pod_object(self.namespace, name)
            if obj is None:
                return ""
            return "; ".join(self.bench.refusals(obj)) or None

        return self.bench.until(f"a word about {name}, or its end", answer, self.bench.settle_limit_s)

    def look(self, name: str) -> Seen:
        """What there is to see of a pod now."""
        obj = self.bench.pod_object(self.namespace, name)
        if obj is None:
            raise LabError("this pod does not exist", where=f"{self.namespace}/{name}")
        return look(self.bench.target, obj, self.bench.refusals(obj))

    def remove(self, *names: str) -> None:
        """Delete pods and wait until they are gone."""
        self.bench.delete(resources.PODS, *({"metadata": self._named(name)} for name in names))
        self.bench.gone(self.namespace, names)

    def annotate(self, name: str, annotations: Mapping[str, str]) -> None:
        """Change annotations of a pod."""
        patch = {"metadata": {"annotations": dict(annotations)}}
        client = self.bench.client
        self.bench.call(client.patch(resources.PODS, name, patch, self.namespace))

    def endpoints(self, service: str) -> set[str]:
        """Addresses behind a service, as soon as there are any."""
        label = f"kubernetes.io/service-name={service}"

        async def read() -> set[str]:
            for _ in range(round(self.bench.settle_limit_s / _ASK_S)):
                slices = await self.bench.client.list(_SLICES, self.namespace, label_selector=label)
                found = {
                    address
                    for item in slices.items
                    for endpoint in item.get("endpoints") or ()
                    for address in endpoint["addresses"]
                }
                if found:
                    return found
                await pause("an EndpointSlice", _ASK_S)
            return set()

        return self.bench.call(read())

    def probe(
        self, pairs: Iterable[tuple[tuple[Seen, str], tuple[Seen, str]]], protocols: Iterable[str] = ("icmp",)
    ) -> list[Observation]:
        """The wire: send from one named interface to another, and look for it on all interfaces."""
        chosen = list(pairs)
        seen = {one.key: one for pair in chosen for one, _ in pair}
        endpoints = [endpoint for one in seen.values() for endpoint in one.interfaces]
        if not all(endpoint.netns for endpoint in endpoints):
            raise CannotObserveError("the wire can't be reached: no way into the pods' namespaces")
        places: list[Pair] = [((a.key, left), (b.key, right)) for (a, left), (b, right) in chosen]
        prober = Prober(endpoints, control_netns=self.bench.target.control_netns())
        return prober.run(places, list(protocols))

    def close(self) -> None:
        """Delete the namespace, and with it all that is in it; nobody waits."""
        self.bench.delete(resources.NAMESPACES, {"metadata": {"name": self.namespace}})

    def _settled(self, name: str) -> bool:
        obj = self.bench.pod_object(self.namespace, name)
        return self._runs(name) or (obj is not None and bool(self.bench.refusals(obj)))

    def _runs(self, name: str) -> bool:
        """Whether it runs, and has the status that the target claims to write."""
        obj = self.bench.pod_object(self.namespace, name) or {}
        if (obj.get("status") or {}).get("phase") in (None, "Pending"):
            return False
        claimed = Feature.STATUS in self.bench.target.claim.features
        return not claimed or ANNOTATION_STATUS in annotations_of(obj)

    def _named(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self.namespace}

    def _pod(self, name: str, wish: PodWish | str | None) -> Obj:
        wish = wish if isinstance(wish, PodWish) else PodWish(wish)
        annotations = dict(wish.annotations)
        if wish.networks is not None:
            annotations[ANNOTATION_SELECTION] = wish.networks
        metadata = self._named(name) | {"annotations": annotations, "labels": dict(wish.labels)}
        nodes = self.bench.target.nodes
        position = next(self._position) % max(1, len(nodes) - 1) if wish.node is None else wish.node
        # Not 0: then the API would forget the pod at once, and not wait for its teardown.
        spec = {"terminationGracePeriodSeconds": 1, "containers": [self.bench.target.container()]}
        if nodes:
            spec["nodeName"] = nodes[position]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | dict(wish.spec)}


def _prefixes() -> Iterable[str]:
    # 10.64.0.0 to 10.95.255.0, a part for each process by its number; cluster networks are elsewhere.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    for number in itertools.count():
        block = number % (4 * 256)
        yield f"10.{64 + worker * 4 + block // 256}.{block % 256}"


_blocks = iter(_prefixes())


def selection(*elements: Mapping[str, Any], **keys: Any) -> str:
    """The JSON form of a selection: of elements, and of one made of ``keys`` (``_`` stands for ``-``)."""
    if keys:
        elements = (*elements, {key.replace("_", "-"): value for key, value in keys.items()})
    return json.dumps(list(elements))
