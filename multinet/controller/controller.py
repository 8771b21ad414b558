"""The controller: informers feed keys into queues, reconcilers work them off; state lives in the API only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from multinet.controller import statuses
from multinet.controller.addresses import Addresses
from multinet.controller.announcer import Announcer, Recorder
from multinet.controller.machines import Machines
from multinet.controller.macs import Macs
from multinet.controller.nads import Nads
from multinet.controller.networks import Networks
from multinet.controller.plan import Planner
from multinet.controller.pods import Pods
from multinet.controller.statuses import Statuses
from multinet.controller.usage import Usage
from multinet.controller.view import BY_FQ_NAME, BY_TARGET, View
from multinet.controller.vnis import Vnis
from multinet.controller.waiting import Waiting, namespace_topic
from multinet.kube.client import Client
from multinet.kube.queue import KeyedQueue
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.naming import DEFAULT_CLUSTER
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
    """One controller on one cluster; exactly one runs at a time."""

    def __init__(
        self,
        client: Client,
        recorder: Recorder,
        *,
        cluster: str = DEFAULT_CLUSTER,
        dialect: Dialect = DEFAULT,
    ) -> None:
        self.view = View(client, cluster=cluster)
        announcer = Announcer(recorder)
        self.waiting = Waiting(lambda key: self.pod_queue.add(key))
        usage = Usage(self.view)
        vnis = Vnis(self.view)
        self._nads = Nads(
            self.view,
            cluster=cluster,
            vnis=vnis,
            usage=usage,
            waiting=self.waiting,
            announcer=announcer,
            recheck=lambda name: self.network_queue.add(name),
        )
        self._networks = Networks(
            self.view,
            cluster=cluster,
            vnis=vnis,
            usage=usage,
            waiting=self.waiting,
            announcer=announcer,
            dialect=dialect,
            target_of=self._nads.target_of,
        )
        self._pods = Pods(
            self.view,
            planner=Planner(self.view, cluster=cluster, dialect=dialect),
            addresses=Addresses(self.view, self.waiting),
            machines=Machines(self.view),
            macs=Macs(self.view, self.waiting),
            waiting=self.waiting,
            usage=usage,
            announcer=announcer,
            dialect=dialect,
            later=lambda key, delay: self.pod_queue.add_after(key, delay),
        )
        self._statuses = Statuses(self.view, lambda key, delay: self.status_queue.add_after(key, delay))
        self.network_queue = KeyedQueue(
            self._networks.reconcile, workers=_DEFINITION_WORKERS, name="networks"
        )
        self.nad_queue = KeyedQueue(self._nads.reconcile, workers=_DEFINITION_WORKERS, name="nads")
        self.pod_queue = KeyedQueue(self._pods.reconcile, workers=POD_WORKERS, name="pods")
        self.status_queue = KeyedQueue(self._statuses.reconcile, workers=_DEFINITION_WORKERS, name="statuses")
        self._connect()

    @property
    def queues(self) -> tuple[KeyedQueue, ...]:
        """All queues."""
        return (self.network_queue, self.nad_queue, self.pod_queue, self.status_queue)

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until cancelled; ``on_ready`` is called when all caches are filled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.view.informers:
                group.create_task(informer.run(), name=f"informer-{informer.resource.plural}")
            # No reconciler runs before it can see everything: half a view would remove what it can't see.
            await self.view.synced()
            self.network_queue.add(self._networks.default_name)
            for queue in self.queues:
                group.create_task(queue.run())
            _log.info("all caches are filled")
            on_ready()

    def _connect(self) -> None:
        view = self.view
        view.namespaces.on_change(self._namespace_changed)
        view.nads.on_change(self._nad_changed)
        view.networks.on_change(self._network_changed)
        view.pods.on_change(self._pod_changed)
        view.machines.on_change(self._machine_changed)
        view.interfaces.on_change(self._interface_changed)
        view.instance_ips.on_change(self._address_changed)

    def _namespace_changed(self, old: Obj | None, new: Obj | None) -> None:
        self.waiting.wake(namespace_topic(name_of(new or old or {})))

    def _nad_changed(self, old: Obj | None, new: Obj | None) -> None:
        self.nad_queue.add(key_of(new or old or {}))

    def _network_changed(self, old: Obj | None, new: Obj | None) -> None:
        seen = new or old or {}
        self.network_queue.add(name_of(seen))
        self._networks.changed(old, new)
        if new is None or old is None:
            self._revisit_nads(seen)

    def _revisit_nads(self, vn: Obj) -> None:
        """A network appeared or went: the NADs that make it or map to it look again."""
        fq_name = ":".join(map(str, section(vn, "spec").get("fqName") or ()))
        for nad in self.view.nads.by_index(BY_TARGET, fq_name):
            self.nad_queue.add(key_of(nad))
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
        if new is None:
            self._pods.forget_machine(key)
        if new is None or old is None:
            self.pod_queue.add(key)
        if new is not None:
            self.status_queue.add(key)

    def _interface_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None and new is not None:
            self.pod_queue.add(_pod_key(new))
        if new is None and old is not None:
            self._recheck_network(old)

    def _address_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None and new is not None:
            key = annotations_of(new).get(ANNOTATION_POD)
            if key:
                self.pod_queue.add(key)

    def _recheck_network(self, interface: Obj) -> None:
        name = str(section(interface, "spec").get("network", ""))
        vn = self.view.networks.store.get(name)
        if vn is not None and self._networks.may_remove(vn):
            self.network_queue.add(name)


def _pod_key(o: Obj) -> str:
    pod = section(o, "spec").get("pod") or {}
    return join_key(str(pod.get("namespace", "")), str(pod.get("name", "")))
