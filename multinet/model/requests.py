"""What one element of a selection asks for, checked against its network: met exactly, or refused.

The controller makes pods by these rules, and the oracle judges what it made by them.

What this implementation can't do on a network (port mappings, InfiniBand) is refused, as NPWG
4.1.2.1.7 and .8 demand; ``cni-args`` and ``ipam-claim-reference`` may be ignored by a non-delegating
implementation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multinet.errors import InputError
from multinet.model import naming
from multinet.model.dialect import Dialect
from multinet.model.networks import IPAddress, Subnet, VirtualNetwork
from multinet.model.objects import ANNOTATION_PORT_SECURITY, ANNOTATION_SELECTION
from multinet.model.selected import Bandwidth, NetworkSelection, PortMapping


class RequestError(InputError):
    """A request can't be met; ``reason`` is a CamelCase word for conditions and Events."""

    def __init__(self, reason: str, what: str, *, where: str = "", why: str = "", next_step: str) -> None:
        super().__init__(what, where=where, why=why, next_step=next_step)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """One interface to make. ``fixed`` are requested addresses; otherwise each of ``subnets`` gives one.

    ``default_route`` and ``port_security`` are those of :class:`multinet.model.attachments.Interface`.
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
    bandwidth: Bandwidth | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    port_security: bool = True


def port_security(annotations: Mapping[str, str]) -> bool:
    """Whether a pod's interfaces in NAD networks are held to their own MAC and addresses.

    They are unless it asks. ``RequestError`` for a value that is neither yes nor no.
    """
    value = annotations.get(ANNOTATION_PORT_SECURITY, "true")
    if value not in ("true", "false"):
        raise RequestError(
            "PortSecurityInvalid",
            f"{value!r} does not say whether source addresses are checked",
            where=f"annotation {ANNOTATION_PORT_SECURITY}",
            next_step='write "false" for a pod that forwards between its networks, else leave it out',
        )
    return value == "true"


def interface_names(selected: Sequence[NetworkSelection], dialect: Dialect) -> list[str]:
    """Names in order: the requested one, else ``eth<index>``, else the next ``ethN`` nobody asked for.

    A requested name does not shift the others. Where the dialect lets names clash, nobody looks.
    """
    if dialect.interface_names_may_clash:
        return [item.interface or f"eth{number}" for number, item in enumerate(selected, start=1)]
    used = {"eth0", "lo"} | {item.interface for item in selected if item.interface}
    for item in selected:
        if item.interface in ("eth0", "lo"):
            raise RequestError(
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


def wanted(index: int, item: NetworkSelection, network: VirtualNetwork, name: str, uid: str) -> Wanted:
    """The interface that a selection asks for, each request checked against the network."""
    _refuse_unsupported(item, network)
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
        bandwidth=item.bandwidth,
        port_mappings=item.port_mappings,
    )


def default_wanted(network: VirtualNetwork, uid: str, *, rerouted: bool) -> Wanted:
    """Interface 0 of a pod; ``rerouted``: another interface carries the default route."""
    if network.device:
        raise RequestError(
            "NetworkUnsuitable",
            f"the network {naming.fq_text(network.fq_name)} can't be a pod's default network",
            why=f"it is what the NIC {network.device} is wired to, which one pod at a time has",
            next_step=f"select its NAD in {ANNOTATION_SELECTION} instead",
        )
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


def check_devices(asked: Sequence[Wanted]) -> None:
    """A NIC can be one interface of a pod only; ``RequestError`` where it is to be two."""
    seen: dict[str, Wanted] = {}
    for item in asked:
        device = item.network.device
        if device and (first := seen.setdefault(device, item)) is not item:
            raise RequestError(
                "DeviceSelectedTwice",
                f"the NIC {device} can't be {first.interface} and {item.interface} of one pod",
                where=ANNOTATION_SELECTION,
                why=f"{first.nad} and {item.nad} both hand it out",
                next_step="select one of them, once",
            )


def _refuse_unsupported(item: NetworkSelection, network: VirtualNetwork) -> None:
    why = {}
    if network.device:
        asked = {"portMappings": item.port_mappings, "bandwidth": item.bandwidth}
        reason = f"the interface is the NIC {network.device} itself, whose traffic does not pass the node"
        why = {key: reason for key, value in asked.items() if value}
    if item.port_mappings and not any(subnet.cidr.version == 4 for subnet in network.subnets):
        why["portMappings"] = "the network has no IPv4 subnet, and nodes' host ports are at IPv4 addresses"
    if item.infiniband_guid:
        why["infiniband-guid"] = "this implementation does not do it"
    for key, reason in why.items():
        raise RequestError(
            "RequestUnsupported",
            f"{key} can't be met on the network {item.nad}",
            where=f"{ANNOTATION_SELECTION}, character {item.position + 1}",
            why=f"{reason}, and to leave it out silently is not allowed",
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
        step = "ask for a free address of the network, or for none"
        raise RequestError("AddressInvalid", what, where=where, why=why, next_step=step)
    return address


def _gateways(asked: tuple[str, ...], network: VirtualNetwork, where: str) -> tuple[str, ...]:
    if not asked:
        return tuple(str(subnet.gateway) for subnet in network.subnets if subnet.gateway is not None)
    for gateway in asked:
        if network.subnet_of(ipaddress.ip_address(gateway)) is None:
            raise RequestError(
                "GatewayInvalid",
                f"the gateway {gateway} is not in a subnet of the network",
                where=where,
                why=f"the network has {', '.join(str(subnet.cidr) for subnet in network.subnets)}",
                next_step="name a gateway on that network, or give an empty list for the network's own",
            )
    return asked
