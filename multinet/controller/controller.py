"""The controller: informers feed keys into queues, reconcilers work them off; state lives in the API only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from multinet.controller import statuses
from multinet.controller.addresses import Addresses
from multinet.controller.announcer import Announcer, Recorder
from multinet.controller.definitions import Definitions
from multinet.controller.machines import Machines
from multinet.controller.macs import Macs
from multinet.controller.nads import Nads
from multinet.controller.namespaces import Namespaces
from multinet.controller.networks import Networks
from multinet.controller.plan import Planner
from multinet.controller.pods import Pods
from multinet.controller.policies import Policies
from multinet.controller.repairs import Repairs
from multinet.controller.settings import Settings
from multinet.controller.statuses import Statuses
from multinet.controller.usage import Usage
from multinet.controller.view import BY_FQ_NAME, BY_TARGET, View
from multinet.controller.vnis import Vnis
from multinet.controller.waiting import Waiting, namespace_topic
from multinet.kube.client import Client
from multinet.kube.queue import Clock, KeyedQueue
from multinet.model.objects import (
    ANNOTATION_POD,
    Obj,
    annotations_of,
    join_key,
    key_of,
    name_of,
    section,
)

_log = logging.getLogger(__name__)

POD_WORKERS = 16
_DEFINITION_WORKERS = 4


class Controller:
    """One controller on one cluster; one works at a time (:mod:`multinet.controller.lease`).

    ``clock`` is the time for delays and graces; the running event loop's where none is given.
    """

    def __init__(
        self,
        client: Client,
        recorder: Recorder,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = settings or Settings()
        self._settings = settings
        self._clock = clock
        self.view = View(client, cluster=settings.cluster, project=settings.cluster_project)
        announcer = Announcer(recorder, tells_users=settings.dialect.tells_users)
        self.waiting = Waiting(lambda key: self.pod_queue.add(key))
        self._definitions = Definitions(self.view, settings)
        self._usage = Usage(self.view)
        vnis = Vnis(self.view)
        self._nads = Nads(
            self.view,
            settings=settings,
            definitions=self._definitions,
            vnis=vnis,
            usage=self._usage,
            waiting=self.waiting,
            announcer=announcer,
            recheck=lambda name: self.network_queue.add(name),
        )
        self._namespaces = Namespaces(
            self.view, settings=settings, vnis=vnis, recheck=lambda name: self.network_queue.add(name)
        )
        self._networks = Networks(
            self.view,
            settings=settings,
            vnis=vnis,
            usage=self._usage,
            waiting=self.waiting,
            announcer=announcer,
            target_of=self._definitions.target_of,
            is_wanted_by_namespace=self._namespaces.is_wanted,
        )
        self._statuses = Statuses(
            self.view, settings.dialect, lambda key, delay: self.status_queue.add_after(key, delay)
        )
        self._policies = Policies(
            client, self.view, announcer, lambda key, delay: self.policy_queue.add_after(key, delay)
        )
        self._pods = self._make_pods(announcer)
        self._make_queues()

    def _make_pods(self, announcer: Announcer) -> Pods:
        planner = Planner(self.view, settings=self._settings, definitions=self._definitions)
        addresses, machines = Addresses(self.view, self.waiting), Machines(self.view)
        self._repairs = Repairs(
            self.view, planner=planner, addresses=addresses, machines=machines, announcer=announcer
        )
        return Pods(
            self.view,
            planner=planner,
            addresses=addresses,
            machines=machines,
            macs=Macs(self.view, self.waiting),
            waiting=self.waiting,
            usage=self._usage,
            announcer=announcer,
            dialect=self._settings.dialect,
            statuses=self._statuses,
            repairs=self._repairs,
            later=lambda key, delay: self.pod_queue.add_after(key, delay),
            clock=lambda: (self._clock or asyncio.get_running_loop()).time(),
        )

    def _make_queues(self) -> None:
        def queue(reconcile: Callable[[str], Awaitable[None]], name: str, workers: int) -> KeyedQueue:
            return KeyedQueue(reconcile, workers=workers, name=name, clock=self._clock)

        self.namespace_queue = queue(self._namespaces.reconcile, "namespaces", _DEFINITION_WORKERS)
        self.network_queue = queue(self._networks.reconcile, "networks", _DEFINITION_WORKERS)
        self.nad_queue = queue(self._nads.reconcile, "nads", _DEFINITION_WORKERS)
        self.pod_queue = queue(self._pods.reconcile, "pods", POD_WORKERS)
        self.policy_queue = queue(self._policies.reconcile, "policies", 1)
        self.status_queue = queue(self._statuses.reconcile, "statuses", _DEFINITION_WORKERS)

    @property
    def queues(self) -> tuple[KeyedQueue, ...]:
        """All queues."""
        return (
            self.namespace_queue,
            self.network_queue,
            self.nad_queue,
            self.pod_queue,
            self.status_queue,
            self.policy_queue,
        )

    async def run(
        self,
        on_ready: Callable[[], None] = lambda: None,
        may_work: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Work until cancelled, from when ``may_work()`` returns; until then only the caches are kept.

        ``on_ready`` is called when all caches are filled and the work begins.
        """
        async with asyncio.TaskGroup() as group:
            for informer in self.view.informers:
                group.create_task(informer.run(), name=f"informer-{informer.resource.plural}")
            group.create_task(self._policies.informer.run(), name="informer-policies")
            # No reconciler runs before it can see everything: half a view would remove what it can't see.
            await self.view.synced()
            if may_work is not None:
                await may_work()
            # Only now: a standby must not gather keys, and connecting reports all that there is.
            self._connect()
            self.network_queue.add(self._networks.default_name)
            for queue in self.queues:
                group.create_task(queue.run())
            _log.info("all caches are filled")
            on_ready()

    def _connect(self) -> None:
        view = self.view
        view.namespaces.on_change(self._namespace_changed)
        view.nads.on_change(self._nad_changed)
        view.nads.on_change(self._policies.nad_changed)
        self._policies.informer.on_change(self._policies.changed)
        view.networks.on_change(self._network_changed)
        view.pods.on_change(self._pod_changed)
        view.machines.on_change(self._machine_changed)
        view.interfaces.on_change(self._interface_changed)
        view.instance_ips.on_change(self._address_changed)

    def _namespace_changed(self, old: Obj | None, new: Obj | None) -> None:
        name = name_of(new or old or {})
        self.namespace_queue.add(name)
        self.waiting.wake(namespace_topic(name))

    def _nad_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._definitions.changed(old, new)
        self.nad_queue.add(key_of(new or old or {}))

    def _network_changed(self, old: Obj | None, new: Obj | None) -> None:
        seen = new or old or {}
        self.network_queue.add(name_of(seen))
        parts = tuple(map(str, section(seen, "spec").get("fqName") or ()))
        if len(parts) == 3:
            self._definitions.seen(parts)
        self._networks.changed(old, new)
        if (new is None or old is None) and self._settings.dialect.repairs_damage:
            self._revisit_makers(seen)

    def _revisit_makers(self, vn: Obj) -> None:
        """A network appeared or went: the NADs that make it or map to it look again."""
        fq_name = ":".join(map(str, section(vn, "spec").get("fqName") or ()))
        for nad in self.view.nads.by_index(BY_TARGET, fq_name):
            self.nad_queue.add(key_of(nad))
        for namespace in map(name_of, self.view.namespaces.store.values()):
            if ":".join(self._settings.network_of_namespace(namespace)) == fq_name:
                self.namespace_queue.add(namespace)
        # Another network of the same fq name may count now.
        for other in self.view.networks.by_index(BY_FQ_NAME, fq_name):
            self.network_queue.add(name_of(other))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        key = key_of(new or old or {})
        self.pod_queue.add(key)
        if statuses.changed(old, new):
            self.status_queue.add(key)

    def _machine_changed(self, old: Obj | None, new: Obj | None) -> None:
        key = _pod_key(new or old or {})
        if not key:
            return
        if new is None:
            self._pods.forget_machine(key)
        # A machine that was not resolved when it appeared could not be looked after then.
        if new is None or old is None or self._repairs.suspects(key):
            self.pod_queue.add(key)
        if new is not None:
            self.status_queue.add(key)

    def _interface_changed(self, old: Obj | None, new: Obj | None) -> None:
        key = _pod_key(new or old or {})
        if new is None and old is not None:
            self._recheck_network(old)
            nad = str(section(old, "spec").get("nad") or "")
            if nad:
                self.nad_queue.add(nad)
            self._repairs.lost(key, old)
        if (new is None or old is None) and key and not self._is_own(key, new):
            self.pod_queue.add(key)

    def _address_changed(self, old: Obj | None, new: Obj | None) -> None:
        key = annotations_of(new or old or {}).get(ANNOTATION_POD)
        if not key or (old is not None and new is not None):
            return
        if new is None and old is not None:
            self._repairs.lost(key, old)
        if not self._is_own(key, new):
            self.pod_queue.add(key)

    def _is_own(self, pod_key: str, new: Obj | None) -> bool:
        return new is not None and self._pods.wrote(pod_key, name_of(new))

    def _recheck_network(self, interface: Obj) -> None:
        name = str(section(interface, "spec").get("network", ""))
        vn = self.view.networks.store.get(name)
        if vn is not None and self._networks.may_remove(vn):
            self.network_queue.add(name)


def _pod_key(o: Obj) -> str:
    pod = section(o, "spec").get("pod") or {}
    name = str(pod.get("name") or "")
    # An interface made in the config API belongs to no pod.
    return join_key(str(pod.get("namespace") or ""), name) if name else ""
