"""From a pod to the attachments it asks for: pure look-ups, no request and no address yet.

Everything a selection can ask for is either met exactly or refused with a reason. What this
implementation can't do on a network (port mappings, shaping, InfiniBand) is refused, as NPWG 4.1.2.1.7
and .8 demand; ``cni-args`` and ``ipam-claim-reference`` may be ignored by a non-delegating implementation.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from multinet.controller.errors import Refusal
from multinet.controller.view import View, read_network
from multinet.controller.waiting import nad_topic, namespace_topic, network_topic
from multinet.model import nad as nads
from multinet.model import naming, selection
from multinet.model.dialect import Dialect
from multinet.model.naming import FqName
from multinet.model.networks import ORIGIN_NAD, IPAddress, Subnet, VirtualNetwork
from multinet.model.objects import ANNOTATION_SELECTION, Obj, annotations_of, metadata_of, namespace_of
from multinet.model.selected import NetworkSelection, SelectionError

_ARRIVAL_S = 0.2
"""For what somebody else applies together with the pod."""
_MAKING_S = 3.0
"""For what this controller itself is about to make."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One interface to make. ``fixed`` are requested addresses; otherwise each of ``subnets`` gives one.

    ``default_route`` has the meaning it has in :class:`multinet.model.attachments.Interface`.
    """

    index: int
    network: VirtualNetwork
    nad: str
    interface: str
    mac: str
    requested_mac: bool
    subnets: tuple[Subnet, ...]
    fixed: tuple[IPAddress, ...] = ()
    default_route: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All interfaces of a pod in order, and the keys of its selection that nobody knows."""

    interfaces: tuple[Wanted, ...]
    ignored_keys: tuple[str, ...] = ()


class Planner:
    """Makes plans from the view."""

    def __init__(self, view: View, *, cluster: str, dialect: Dialect) -> None:
        self._view = view
        self._cluster = cluster
        self._dialect = dialect

    def plan(self, pod: Obj) -> Plan:
        """The interfaces of ``pod``; raises ``Refusal``."""
        text = annotations_of(pod).get(ANNOTATION_SELECTION, "")
        try:
            selected = selection.parse(text, pod_namespace=namespace_of(pod))
        except SelectionError as error:
            raise Refusal(
                "SelectionInvalid", error.what, where=error.where, why=error.why, next_step=error.next_step
            ) from error
        pairs = [(item, self._network_of(item)) for item in selected]
        found = [(item, network) for item, network in pairs if network is not None]
        uid = str(metadata_of(pod).get("uid", ""))
        names = _interface_names([item for item, _ in found])
        rerouted = any(item.default_route is not None for item, _ in found)
        interfaces = [self._default(uid, rerouted)]
        interfaces += [
            _wanted(number, item, network, names[number - 1], uid)
            for number, (item, network) in enumerate(found, start=1)
        ]
        ignored = tuple(dict.fromkeys(key for item in selected for key in item.ignored))
        return Plan(tuple(interfaces), ignored)

    def _default(self, uid: str, rerouted: bool) -> Wanted:
        fq_name = naming.default_network_fq_name(self._cluster)
        network = self._ready_network(fq_name, "the cluster's default network", (), _MAKING_S)
        return Wanted(
            index=0,
            network=network,
            nad="",
            interface="eth0",
            mac=naming.mac_of(uid, 0),
            requested_mac=False,
            subnets=network.subnets,
            default_route=() if rerouted else None,
        )

    def _network_of(self, item: NetworkSelection) -> VirtualNetwork | None:
        """The network behind a selection; None when the dialect leaves it out silently."""
        topics = (nad_topic(item.nad),)
        nad = self._view.nads.store.get(item.nad)
        if nad is None or metadata_of(nad).get("deletionTimestamp"):
            if self._dialect.skip_unknown_networks:
                return None
            raise self._no_such_nad(item, being_deleted=nad is not None)
        try:
            intent = nads.parse(nad, cluster=self._cluster)
        except nads.NadError as error:
            raise Refusal(
                "NADInvalid",
                error.what,
                where=error.where,
                why=error.why,
                next_step=error.next_step,
                topics=topics,
            ) from error
        if intent.target is None:
            if self._dialect.skip_unknown_networks:
                return None
            raise Refusal(
                "NADForeign",
                f"the network {item.nad} is of CNI type {intent.plugin_type!r}",
                why="this implementation attaches its own networks only and delegates to no other plugin",
                next_step="remove it from the pod's selection, or give the NAD the type contrail-k8s-cni",
                topics=topics,
            )
        patience = _MAKING_S if intent.kind == "create" else _ARRIVAL_S
        network = self._ready_network(intent.target, f"the network of {item.nad}", topics, patience)
        if intent.kind == "create" and (network.origin != ORIGIN_NAD or network.nad != item.nad):
            raise Refusal(
                "NetworkTaken",
                f"the network {naming.fq_text(intent.target)} exists and was not made of {item.nad}",
                next_step=f"map to it with {nads.ANNOTATION_NETWORK}, or give the NAD another name",
                topics=(*topics, network_topic(intent.target)),
            )
        return network

    def _no_such_nad(self, item: NetworkSelection, *, being_deleted: bool) -> Refusal:
        why = (
            "it is being deleted" if being_deleted else "there is no NetworkAttachmentDefinition of that name"
        )
        if item.namespace not in self._view.namespaces.store:
            why = f"there is no namespace {item.namespace}"
        return Refusal(
            "NADNotFound",
            f"the network {item.nad} is not known",
            where=f"{ANNOTATION_SELECTION}, character {item.position + 1}",
            why=why,
            next_step=f"create it: kubectl get net-attach-def -n {item.namespace}",
            topics=(nad_topic(item.nad), namespace_topic(item.namespace)),
            grace_s=_ARRIVAL_S,
        )

    def _ready_network(
        self, fq_name: FqName, what: str, topics: tuple[str, ...], patience: float
    ) -> VirtualNetwork:
        topics = (*topics, network_topic(fq_name))
        vn = self._view.network_named(fq_name)
        if vn is None:
            raise Refusal(
                "NetworkNotFound",
                f"{what} does not exist",
                why=f"there is no VirtualNetwork {naming.fq_text(fq_name)}",
                next_step="create it, or correct the NAD's opencontrail.org/network annotation",
                topics=topics,
                grace_s=patience,
            )
        network = read_network(vn)
        if network is None or network.ready is None or not network.ready.is_true:
            ready = network.ready if network is not None else None
            raise Refusal(
                "NetworkNotReady",
                f"{what} is not ready",
                why=ready.message if ready is not None else "the controller has not finished it",
                next_step=f"kubectl describe vn {vn['metadata']['name']}",
                topics=topics,
                grace_s=_MAKING_S if ready is None else 0.0,
            )
        return network


def _interface_names(selected: list[NetworkSelection]) -> list[str]:
    """Names in order: the requested one, else ``eth<index>``, else the next ``ethN`` nobody asked for.

    A requested name does not shift the others.
    """
    used = {"eth0", "lo"} | {item.interface for item in selected if item.interface}
    for item in selected:
        if item.interface in ("eth0", "lo"):
            raise Refusal(
                "InterfaceNameTaken",
                f"the interface name {item.interface!r} asked for {item.nad} is taken",
                where=f"{ANNOTATION_SELECTION}, character {item.position + 1}",
                why="every pod has lo, and eth0 in the default network",
                next_step="ask for another name, or for none",
            )
    names: list[str] = []
    for number, item in enumerate(selected, start=1):
        name = item.interface
        while not name:
            name = f"eth{number}" if f"eth{number}" not in used else ""
            number += 1
        used.add(name)
        names.append(name)
    return names


def _wanted(index: int, item: NetworkSelection, network: VirtualNetwork, name: str, uid: str) -> Wanted:
    _refuse_unsupported(item)
    where = f"{item.nad} as {name}"
    routes = item.default_route
    if routes is not None:
        routes = _gateways(routes, network, where)
    return Wanted(
        index=index,
        network=network,
        nad=item.nad,
        interface=name,
        mac=item.mac or naming.mac_of(uid, index),
        requested_mac=bool(item.mac),
        subnets=network.subnets,
        fixed=tuple(_fixed(text, network, where) for text in item.ips),
        default_route=routes,
    )


def _refuse_unsupported(item: NetworkSelection) -> None:
    asked = {
        "portMappings": bool(item.port_mappings),
        "bandwidth": item.bandwidth is not None,
        "infiniband-guid": bool(item.infiniband_guid),
    }
    for key, is_asked in asked.items():
        if is_asked:
            raise Refusal(
                "RequestUnsupported",
                f"{key} can't be met on the network {item.nad}",
                where=f"{ANNOTATION_SELECTION}, character {item.position + 1}",
                why="this implementation does not do it, and to leave it out silently is not allowed",
                next_step=f"remove {key} from the selection",
            )


def _fixed(text: str, network: VirtualNetwork, where: str) -> IPAddress:
    bare, _, prefix = text.partition("/")
    address = ipaddress.ip_address(bare)
    subnet = network.subnet_of(address)
    what, why = f"the address {text} can't be given", ""
    if subnet is None:
        blocks = ", ".join(str(candidate.cidr) for candidate in network.subnets) or "no subnet"
        why = f"the network has {blocks}"
    elif address in subnet.reserved:
        why = f"{address} is the network's own (gateway, DNS, network or broadcast address of {subnet.cidr})"
    elif prefix and int(prefix) != subnet.cidr.prefixlen:
        why = f"the subnet {subnet.cidr} has prefix length {subnet.cidr.prefixlen}"
    if why:
        topics = (network_topic(network.fq_name),)
        step = "ask for a free address of the network, or for none"
        raise Refusal("AddressInvalid", what, where=where, why=why, next_step=step, topics=topics)
    return address


def _gateways(asked: tuple[str, ...], network: VirtualNetwork, where: str) -> tuple[str, ...]:
    if not asked:
        return tuple(str(subnet.gateway) for subnet in network.subnets if subnet.gateway is not None)
    for gateway in asked:
        if network.subnet_of(ipaddress.ip_address(gateway)) is None:
            raise Refusal(
                "GatewayInvalid",
                f"the gateway {gateway} is not in a subnet of the network",
                where=where,
                why=f"the network has {', '.join(str(subnet.cidr) for subnet in network.subnets)}",
                next_step="name a gateway on that network, or give an empty list for the network's own",
                topics=(network_topic(network.fq_name),),
            )
    return asked
