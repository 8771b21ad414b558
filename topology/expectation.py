"""The oracle: what must be attached and what must reach what, from Kubernetes objects alone.

It never reads what the implementation under test made for a pod (VirtualMachineInterface, InstanceIP,
network-status): those are what it is compared with. The rules are those of :mod:`multinet.model`, by the
dialect: which network is interface 0's (annotations of pod and namespace, isolated namespaces, the cluster's
default network), then one interface per selection, in order, each request met exactly.

An attachment is decided once, when the pod is made: editing the annotation of a running pod, or deleting a
NAD in use, changes nothing for it. :class:`Expectations` remembers the decision by pod UID.

Not judged here is what depends on which of several pods came first: the last free address of a pool, a
requested address or MAC that two pods ask for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from multinet.errors import InputError
from multinet.model import default_network, naming, requests
from multinet.model.definitions import NadReader, check_made_network, check_target, selected_by
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.networks import DEFAULT_POD_CIDR, L2_L3, L3, IPAddress, Subnet, VirtualNetwork
from multinet.model.objects import (
    ANNOTATION_SELECTION,
    Obj,
    annotations_of,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
    section,
    uid_of,
)
from multinet.model.requests import Wanted
from multinet.model.selected import NetworkSelection

FqName = naming.FqName


@dataclass(frozen=True, slots=True)
class ExpectedInterface:
    """One interface a pod must have, with one address of each of ``subnets``.

    ``nad`` is empty for the default network; ``network`` is the name of the VirtualNetwork object; ``vni`` is
    0 while the network has none. ``addresses`` are those the pod asked for, without prefix; the others are
    free to choose. ``gateways`` are the pod's default routes through this interface where a selection moved
    them (empty: none through it); None without such a request, when index 0 alone has its network's. Of a
    network that is not ``joined`` nobody knows whether its nodes reach each other. An empty ``mac`` and no
    ``subnets`` stand for any. ``device``: it is that NIC of the node, and the network is what it is wired to.
    ``underlay``: the network is routed in the nodes' own, without an overlay. ``services`` are what the
    network itself answers for: ``("gateway", address)`` and ``("dns", address)``; of IPv6 ``gateway6`` and
    ``dns6``.
    """

    index: int
    interface: str
    mac: str
    network: str
    fq_name: FqName
    nad: str
    vni: int
    forwarding_mode: str
    subnets: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] | None = None
    joined: bool = True
    device: str = ""
    underlay: bool = False
    services: tuple[tuple[str, str], ...] = ()

    def has(self, version: int) -> bool:
        """Whether one of its addresses is of that family (4, 6); of an interface with any, IPv4 is one."""
        if not self.subnets:
            return version == 4
        return any((":" in block) == (version == 6) for block in self.subnets)

    @property
    def carries_default_route(self) -> bool:
        """Whether the pod's default routes lead through this interface."""
        return self.index == 0 if self.gateways is None else bool(self.gateways)

    @property
    def status_name(self) -> str:
        """The name its entry in network-status must have."""
        return self.nad or naming.DEFAULT_NETWORK_STATUS_NAME


@dataclass(frozen=True, slots=True)
class ExpectedPod:
    """What one pod must have; ``problem`` says why it can't be attached at all (it then has no interface).

    ``annotated``: whether network-status must tell it.
    """

    pod: str
    uid: str
    node: str
    interfaces: tuple[ExpectedInterface, ...]
    problem: str = ""
    annotated: bool = True

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        made = asdict(self)
        for item, interface in zip(made["interfaces"], self.interfaces, strict=True):
            item["fq_name"] = list(interface.fq_name)
            item["subnets"] = list(interface.subnets)
            item["addresses"] = list(interface.addresses)
            item["gateways"] = None if interface.gateways is None else list(interface.gateways)
            item["services"] = dict(interface.services)
            item["status_name"] = interface.status_name
        made["interfaces"] = list(made["interfaces"])
        return made


class Oracle(Protocol):
    """Says what pods must have, from Kubernetes objects alone."""

    def observe(
        self,
        pods: Iterable[Obj],
        nads: Iterable[Obj],
        networks: Iterable[Obj],
        namespaces: Iterable[Obj] = (),
        /,
    ) -> tuple[ExpectedPod, ...]:
        """The expectation for each pod that is on a node and not ending, sorted by ``namespace/name``."""


class Expectations:
    """What every pod must have, kept over a run. Give it the objects whenever they may have changed."""

    def __init__(self, dialect: Dialect = DEFAULT, *, cluster: str = naming.DEFAULT_CLUSTER) -> None:
        self._dialect = dialect
        self._cluster = cluster
        self._reader = NadReader(dialect, cluster=cluster)
        self._nads: dict[str, Obj] = {}
        self._decided: dict[str, ExpectedPod] = {}
        self._final: set[str] = set()

    def observe(
        self,
        pods: Iterable[Obj],
        nads: Iterable[Obj],
        networks: Iterable[Obj],
        namespaces: Iterable[Obj] = (),
    ) -> tuple[ExpectedPod, ...]:
        """The expectation for each pod that is on a node and not ending, sorted by ``namespace/name``.

        A pod that could not be attached so far is judged anew each time, since its NAD may come later;
        except where the dialect leaves it half-built for good. A namespace that is not among ``namespaces``
        counts as one without annotations.
        """
        self._read(nads)
        known = _by_fq_name(networks)
        spaces = {name_of(item): item for item in namespaces}
        found: dict[str, ExpectedPod] = {}
        for pod in pods:
            if not takes_part(pod):
                continue
            uid = uid_of(pod)
            decided = self._decided.get(uid)
            if decided is None or (decided.problem and uid not in self._final):
                space = spaces.get(namespace_of(pod)) or {"metadata": {"name": namespace_of(pod)}}
                decided = self._decide(pod, space, known)
            elif any(item.vni == 0 for item in decided.interfaces):
                decided = _with_vnis(decided, known)
            found[uid] = decided
        self._decided = found
        self._final &= set(found)
        return tuple(sorted(found.values(), key=lambda item: item.pod))

    def _read(self, nads: Iterable[Obj]) -> None:
        """Tell the reader what happened to each NAD since the last look."""
        now = {key_of(item): item for item in nads}
        for key in {*self._nads, *now}:
            old, new = self._nads.get(key), now.get(key)
            if old is not None and new is not None and uid_of(old) != uid_of(new):
                self._reader.changed(old, None)
                old = None
            if old != new:
                self._reader.changed(old, new)
        self._nads = now

    def _decide(self, pod: Obj, namespace: Obj, networks: Mapping[FqName, VirtualNetwork]) -> ExpectedPod:
        uid, node = uid_of(pod), str(section(pod, "spec").get("nodeName") or "")
        try:
            selected = selected_by(
                annotations_of(pod).get(ANNOTATION_SELECTION, ""),
                pod_namespace=namespace_of(pod),
                dialect=self._dialect,
                knows=self._knows,
            )
            names = requests.interface_names(selected, self._dialect)
            requests.port_security(annotations_of(pod))
            rerouted = any(item.default_route is not None for item in selected)
            first = self._default_network(pod, namespace, networks)
            interfaces = [requests.default_wanted(first, uid, rerouted=rerouted)]
        except InputError as error:
            return ExpectedPod(key_of(pod), uid, node, (), str(error))
        try:
            for index, (item, name) in enumerate(zip(selected, names, strict=True), start=1):
                network = self._network(item, networks)
                interfaces.append(requests.wanted(index, item, network, name, uid))
            requests.check_devices(interfaces)
        except InputError as error:
            if self._dialect.half_built_pods:
                self._final.add(uid)
            return ExpectedPod(key_of(pod), uid, node, (), str(error))
        return ExpectedPod(key_of(pod), uid, node, tuple(map(_expected, interfaces)))

    def _knows(self, key: str) -> bool:
        return self._reader.knows(key, self._nads.get(key))

    def _default_network(
        self, pod: Obj, namespace: Obj, networks: Mapping[FqName, VirtualNetwork]
    ) -> VirtualNetwork:
        choice = default_network.choose(pod, namespace, cluster=self._cluster, dialect=self._dialect)
        if not choice.is_own:
            return _there(choice.fq_name, choice.what, networks)
        made = VirtualNetwork(choice.fq_name, (Subnet.of(DEFAULT_POD_CIDR),), forwarding_mode=L3)
        return networks.get(choice.fq_name, made)

    def _network(self, item: NetworkSelection, networks: Mapping[FqName, VirtualNetwork]) -> VirtualNetwork:
        """The network that a selection stands for; ``InputError`` when there is none.

        A network that the NAD itself makes need not exist yet: what it will be follows from the NAD.
        """
        if not self._knows(item.nad):
            raise InputError(f"NetworkAttachmentDefinition {item.nad} does not exist")
        definition = self._nads.get(item.nad)
        intent = self._reader.intent_of(item.nad, definition)
        target = check_target(intent)
        if target not in networks and definition is not None:
            coming = self._reader.judge(definition)
            if coming.kind == "create" and coming.target == target:
                return VirtualNetwork(
                    target,
                    coming.subnets,
                    forwarding_mode=L2_L3,
                    ip_fabric_forwarding=coming.ip_fabric_forwarding,
                    nad=item.nad,
                    device=coming.device,
                )
        network = _there(target, f"the network of {item.nad}", networks)
        check_made_network(intent, network, self._dialect)
        return network


def _there(fq_name: FqName, what: str, networks: Mapping[FqName, VirtualNetwork]) -> VirtualNetwork:
    """A network that somebody else makes."""
    network = networks.get(fq_name)
    if network is None:
        raise InputError(
            f"{what} does not exist", why=f"there is no VirtualNetwork {naming.fq_text(fq_name)}"
        )
    if network.ready is not None and not network.ready.is_true:
        raise InputError(f"{what} is not ready", why=network.ready.message)
    return network


def takes_part(pod: Obj) -> bool:
    """Whether a pod has a network of its own: it is on a node, not its host's, and not over or ending."""
    spec, phase = section(pod, "spec"), section(pod, "status").get("phase")
    return bool(
        spec.get("nodeName")
        and not spec.get("hostNetwork")
        and not metadata_of(pod).get("deletionTimestamp")
        and phase not in ("Succeeded", "Failed")
    )


def _by_fq_name(networks: Iterable[Obj]) -> dict[FqName, VirtualNetwork]:
    """Networks that can be read; of several with one fq name the oldest, which is the one that counts."""
    found: dict[FqName, VirtualNetwork] = {}
    for item in sorted(networks, key=_age, reverse=True):
        try:
            network = VirtualNetwork.from_object(item)
        except InputError:
            # The controller marks it as not Ready; nothing can be attached to it.
            continue
        found[network.fq_name] = network
    return found


def _age(o: Obj) -> tuple[str, str]:
    return (str(metadata_of(o).get("creationTimestamp", "")), name_of(o))


def _expected(wanted: Wanted) -> ExpectedInterface:
    network = wanted.network
    return ExpectedInterface(
        index=wanted.index,
        interface=wanted.interface,
        mac=wanted.mac,
        network=network.name,
        fq_name=network.fq_name,
        nad=wanted.nad,
        vni=network.vni,
        forwarding_mode=network.mode,
        subnets=_subnets(network, tuple(map(str, wanted.fixed))),
        addresses=tuple(map(str, wanted.fixed)),
        gateways=wanted.default_route,
        device=network.device,
        underlay=network.is_underlay,
        services=services_of(network, wanted.fixed),
    )


def services_of(network: VirtualNetwork, addresses: Iterable[IPAddress] = ()) -> tuple[tuple[str, str], ...]:
    """Gateway and DNS address of the subnets that an interface has its addresses in, asked for or not.

    Where nodes route, neighbour discovery finds the gateway alone: no DNS address of IPv6 is asked for.
    """
    if network.device:
        return ()
    blocks = _subnets(network, tuple(map(str, addresses)))
    named: dict[str, IPAddress | None] = {}
    for family, suffix in (("v4", ""), ("v6", "6")):
        found = [
            subnet for subnet in network.subnets if subnet.family == family and str(subnet.cidr) in blocks
        ]
        if found:
            named[f"gateway{suffix}"] = found[0].completed().gateway
        if found and (family == "v4" or network.mode != L3):
            named[f"dns{suffix}"] = found[0].completed().dns
    return tuple((name, str(address)) for name, address in named.items() if address is not None)


def _subnets(network: VirtualNetwork, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The blocks of the addresses asked for, else the first of each family, as long as it has room."""
    if addresses:
        asked = [network.subnet_of(ipaddress.ip_address(address)) for address in addresses]
        return tuple(str(subnet.cidr) for subnet in asked if subnet is not None)
    first: dict[str, str] = {}
    for subnet in network.subnets:
        first.setdefault(subnet.family, str(subnet.cidr))
    return tuple(first.values())


def _with_vnis(pod: ExpectedPod, networks: Mapping[FqName, VirtualNetwork]) -> ExpectedPod:
    """The same decision, with what the networks meanwhile are called and numbered."""

    def named(item: ExpectedInterface) -> ExpectedInterface:
        network = networks.get(item.fq_name)
        if network is None:
            return item
        return replace(
            item,
            network=network.name,
            vni=network.vni,
            forwarding_mode=network.mode,
            subnets=_subnets(network, item.addresses),
            underlay=network.is_underlay,
            services=services_of(network, map(ipaddress.ip_address, item.addresses)),
        )

    return replace(pod, interfaces=tuple(map(named, pod.interfaces)))
