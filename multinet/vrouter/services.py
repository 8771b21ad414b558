"""Services on this node: keeps the table of :mod:`multinet.vrouter.servicetable` equal to the cluster.

Only the default network and those of isolated namespaces know services. A packet gets to the rules by a
routed pod interface, by the underlay or from the node itself; interfaces in NAD networks are bridged and
never get there. Which pods an isolated namespace's service is for follows from routing: a translated address
leads only to where its sender may go anyway.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.queue import KeyedQueue
from multinet.kube.resources import ENDPOINT_SLICES, SERVICES
from multinet.model.networks import DEFAULT_SERVICE_CIDR, DEFAULT_SERVICE_CIDR6
from multinet.model.objects import Obj, join_key, key_of, section
from multinet.model.services import Endpoint, EndpointSlice, Service
from multinet.vrouter import addressing, conntrack, netns, nft, servicetable, underlay
from multinet.vrouter.conntrack import Place
from multinet.vrouter.datapath import BRIDGED, DatapathError
from multinet.vrouter.netlink import Socket
from multinet.vrouter.servicetable import Rules
from multinet.vrouter.view import ClusterView

_log = logging.getLogger(__name__)

Targets = dict[Place, frozenset[Place]]


class Places(Protocol):
    """Where pods are (:class:`multinet.vrouter.view.ClusterView` knows)."""

    node: str

    def pod_blocks(self) -> tuple[str, ...]:
        """The blocks that routed pods have their addresses from."""

    def is_bridged(self, pod: str) -> bool:
        """Whether that pod's first interface is in a bridged network, out of reach for services."""


class ServiceProxy:
    """One node's services. Make it in the node's network namespace; ``inside`` names that for nft.

    A node without an IPv6 address has no services of that family.
    """

    def __init__(
        self, node_ip: str, places: Places, *, node_ip6: str = "", inside: int | None = None
    ) -> None:
        self._node_ip, self._node_ip6 = node_ip, node_ip6
        self._places = places
        self._inside = inside
        self._services: dict[str, Service] = {}
        self._slices: dict[str, EndpointSlice] = {}
        self._by_service: dict[str, set[str]] = {}
        self._made: dict[str, Rules] = {}
        self._dirty: set[str] = set()
        self._udp: dict[str, Targets] = {}
        self._applied: Rules | None = None
        self._base = ""
        self._turn = asyncio.Lock()

    def open(self) -> None:
        """Have the way to the services' block, and find what an earlier agent made."""
        through = Socket()
        try:
            index, name = underlay.device_of(self._node_ip, through)
            # Services send packets back where they came from: no reason to tell of a shorter way. And each
            # client is to be refused at once, not the first of a second (the global limit stays).
            settings = {f"ipv4/conf/{each}/send_redirects": "0" for each in ("all", "default", name)}
            netns.write_settings({**settings, "ipv4/icmp_ratelimit": "0"})
            # Rules are asked when there is a way; what they do not translate they refuse.
            ways = [(DEFAULT_SERVICE_CIDR, self._node_ip)]
            if self._node_ip6:
                netns.write_settings({"ipv6/icmp/ratelimit": "0"})
                ways.append((DEFAULT_SERVICE_CIDR6, self._node_ip6))
            through.send([addressing.route(block, index, source=own) for block, own in ways])
        finally:
            through.close()
        self._base = servicetable.base(self._node_ip, name, self._node_ip6)
        try:
            if not nft.exists("inet", servicetable.TABLE, inside=self._inside):
                return
            listing = json.loads(nft.listing("table", "inet", servicetable.TABLE, inside=self._inside))
        except DatapathError:
            return
        self._applied = servicetable.read(listing, self._base.rsplit("chain ", 1)[1].split()[0])

    def service_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a Service; one that can't be read is logged and left out."""
        key = key_of(new or old or {})
        self._services.pop(key, None)
        self._dirty.add(key)
        if new is None:
            return
        try:
            self._services[key] = self._known(Service.from_object(new))
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("left out: Service %s: %r", key, error)

    def _known(self, service: Service) -> Service:
        """The service with those of its addresses that this node can have rules for."""
        own = tuple(each for each in service.addresses if self._node_ip6 or ":" not in each)
        return replace(service, addresses=own)

    def slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take an EndpointSlice."""
        key = key_of(new or old or {})
        before = self._slices.pop(key, None)
        if before is not None:
            self._by_service.get(before.service, set()).discard(key)
            self._dirty.add(before.service)
        if new is None:
            return
        try:
            after = self._slices[key] = EndpointSlice.from_object(new)
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("left out: EndpointSlice %s: %r", key, error)
            return
        self._by_service.setdefault(after.service, set()).add(key)
        self._dirty.add(after.service)

    def pod_changed(self, pod: str) -> None:
        """The first interface of a pod is known, or is another one: its services look again."""
        for each in self._slices.values():
            if any(endpoint.pod == pod for _, _, endpoint in each.endpoints):
                self._dirty.add(each.service)

    async def apply(self) -> None:
        """Make the rules what they should be; ``DatapathError`` when nft refuses the whole table, too."""
        dirty, self._dirty = self._dirty, set()
        blocks = self._places.pod_blocks()
        wanted = servicetable.pods(each for each in blocks if self._node_ip6 or ":" not in each)
        moved: Targets = {}
        for key in dirty:
            ready = self._ready(key)
            moved |= self._retarget(key, ready)
            self._made[key] = self._rules_of(key, ready)
            if not self._made[key].elements:
                del self._made[key]
        for rules in self._made.values():
            wanted.update(rules)
        async with self._turn:
            await self._carry_out(wanted)
        if moved:
            await self._forget(moved)

    async def _carry_out(self, wanted: Rules) -> None:
        before, self._applied = self._applied, None
        if before is not None:
            try:
                for text in servicetable.transactions(before, wanted):
                    await nft.apply_async(text, inside=self._inside)
                self._applied = wanted
                return
            except DatapathError as error:
                _log.warning("the table of services is made anew: %s", error)
        await self._make_anew(wanted)

    async def restore(self, *, anyway: bool = False) -> bool:
        """Make the table again if somebody deleted it, or ``anyway``; whether that was done.

        ``DatapathError`` on failure.
        """
        async with self._turn:
            wanted = self._applied
            if wanted is None:
                return False
            if not anyway and nft.exists("inet", servicetable.TABLE, inside=self._inside):
                return False
            await self._make_anew(wanted)
        return True

    async def _make_anew(self, wanted: Rules) -> None:
        for text in servicetable.rebuilt(self._base, wanted):
            await nft.apply_async(text, inside=self._inside)
        self._applied = wanted

    async def _forget(self, moved: Targets) -> None:
        """What the kernel remembers of UDP clients whose endpoint is gone."""
        try:
            count = await asyncio.to_thread(conntrack.forget_udp, moved, inside=self._inside)
        except OSError as error:
            _log.warning("UDP clients of services stay with endpoints that are gone: %s", error)
            return
        if count:
            _log.info("%d UDP connections of services start anew", count)

    def _retarget(self, key: str, ready: Mapping[tuple[str, str], Sequence[Endpoint]]) -> Targets:
        """The UDP places of a service whose endpoints are others than before, with those of now."""
        service, before = self._services.get(key), self._udp.pop(key, {})
        now: Targets = {}
        for address in service.addresses if service is not None else ():
            for port in service.ports if service is not None else ():
                if port.protocol != "UDP":
                    continue
                targets = frozenset((each.address, each.port) for each in ready.get((port.name, "UDP"), ()))
                now[address, port.port] = targets
                if port.node_port:
                    now[self._node_ip6 if ":" in address else self._node_ip, port.node_port] = targets
        if now:
            self._udp[key] = now
        gone = {place: frozenset[Place]() for place in before if place not in now}
        return gone | {place: targets for place, targets in now.items() if before.get(place) != targets}

    def _ready(self, key: str) -> dict[tuple[str, str], list[Endpoint]]:
        """Who answers for a service, by port name and protocol."""
        ready: dict[tuple[str, str], list[Endpoint]] = {}
        for name in sorted(self._by_service.get(key, ())):
            for port, protocol, endpoint in self._slices[name].endpoints:
                if not (endpoint.pod and self._places.is_bridged(endpoint.pod)):
                    ready.setdefault((port, protocol), []).append(endpoint)
        return ready

    def _rules_of(self, key: str, ready: Mapping[tuple[str, str], Sequence[Endpoint]]) -> Rules:
        service = self._services.get(key)
        return Rules() if service is None else servicetable.rules_of(service, ready, self._places.node)


async def follow(client: Client, view: ClusterView, interfaces: Informer, proxy: ServiceProxy) -> None:
    """Keep this node's rules equal to the cluster until cancelled; ``view`` is complete already."""
    queue = KeyedQueue(lambda _key: proxy.apply(), workers=1, name="services")
    blocks = view.pod_blocks()

    def changed(_old: Obj | None, _new: Obj | None) -> None:
        queue.add("services")

    def network_changed(_vni: int) -> None:
        nonlocal blocks
        if view.pod_blocks() != blocks:
            blocks = view.pod_blocks()
            queue.add("services")

    def interface_changed(old: Obj | None, new: Obj | None) -> None:
        for spec in (section(each, "spec") for each in (old, new) if each is not None):
            if not spec.get("index") and spec.get("forwardingMode") == BRIDGED:
                pod = spec.get("pod") or {}
                proxy.pod_changed(join_key(str(pod.get("namespace") or ""), str(pod.get("name") or "")))
                queue.add("services")

    proxy.open()
    listed = (
        (Informer(client, SERVICES), proxy.service_changed),
        (Informer(client, ENDPOINT_SLICES), proxy.slice_changed),
    )
    async with asyncio.TaskGroup() as group:
        for informer, take in listed:
            informer.on_change(take)
            informer.on_change(changed)
            group.create_task(informer.run(), name=f"{informer.resource.plural} informer")
        for informer, _ in listed:
            await informer.synced.wait()
        view.on_network(network_changed)
        interfaces.on_change(interface_changed)
        # Not before: with half a view, services would lose endpoints that they have.
        queue.add("services")
        group.create_task(queue.run(), name="services")
