"""The two kinds of virtual network on a node, each as the requests that make it so. No state, no I/O.

Bridged (``l2_l3``): a bridge with a VXLAN port that knows where each remote MAC is; the node's own IP stack
is kept out of it. Routed (``l3``): the node routes between its pods' /32 and, through a VXLAN device, to
those of other nodes; towards the pods it plays the gateway, with one MAC, and answers ARP for everything
that it has a route to. The default network's routes are in the main table. Each further routed network is
confined: its devices look up a table of its own (:mod:`multinet.vrouter.rules`) which ends there; the node
finds the same pods in a table that only its own packets look up. A confined network may do without VXLAN
(``ip_fabric_forwarding``): its members' addresses are then routed in the underlay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Protocol

from multinet.vrouter import addressing, links, routed6, rules
from multinet.vrouter.datapath import BRIDGED, GATEWAY_MAC, ROUTED, DatapathError, Network, Port, Remote
from multinet.vrouter.netlink import Request
from multinet.vrouter.underlay import Underlay

_LOOPBACK = 1
_NOWHERE = Underlay("", "", 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network lives on this node: its devices' ifindexes, and what they must know of the node."""

    network: Network
    bridge: int
    vxlan: int
    node_ip: str
    mtu: int
    group: int
    underlay: Underlay = _NOWHERE
    """Device and block of the node's own address, which stays reachable from confined networks."""
    gateway: int = 0
    """The bridge port behind which the gateway answers; 0 for none."""
    node_ip6: str = ""
    """The node's own IPv6 address, empty for none: where its packets to pods come from."""

    @property
    def is_underlaid(self) -> bool:
        """Whether members on other nodes are reached without an overlay."""
        return bool(self.network.underlay_blocks)

    @property
    def way_out(self) -> int:
        """The device that members on other nodes are behind."""
        return self.underlay.index if self.is_underlaid else self.vxlan

    @property
    def bridge_name(self) -> str:
        """``br-<vni hex>``."""
        return f"br-{self.network.vni:x}"

    @property
    def vxlan_name(self) -> str:
        """``vx-<vni hex>``."""
        return f"vx-{self.network.vni:x}"

    @property
    def gateway_name(self) -> str:
        """``gw-<vni hex>``."""
        return f"gw-{self.network.vni:x}"

    @property
    def devices(self) -> tuple[int, ...]:
        """The ifindexes of the network's own devices."""
        return tuple(index for index in (self.vxlan, self.bridge, self.gateway) if index)

    @property
    def tables(self) -> tuple[int, ...]:
        """The routing tables that a routed network's members are in."""
        return rules.tables_of(self.network)

    @property
    def own_rules(self) -> tuple[rules.Rule, ...]:
        """The rules a confined network has while this node takes part in it."""
        if not self.network.confined:
            return ()
        device, vni = self.underlay.name, self.network.vni
        found = rules.common(device, self.underlay.block)
        if self.is_underlaid:
            return (*found, *(rules.of_source(device, each, vni) for each in self.network.underlay_blocks))
        found += (rules.of_device(self.vxlan_name, vni),)
        if routed6.is_dual(self.network):
            # Without an address of its own the node has nobody's answers in IPv6.
            found += rules.common(device, self.underlay.block6, 6) if self.underlay.block6 else ()
            found += (rules.of_device(self.vxlan_name, vni, 6),)
        return found

    @property
    def versions(self) -> tuple[int, ...]:
        """The address families that a confined network has tables of, none for others."""
        if not self.network.confined:
            return ()
        return (4, 6) if routed6.is_dual(self.network) else (4,)


class Forwarding(Protocol):
    """What one kind of network needs of the kernel."""

    def create(self, place: Place) -> list[Request]:
        """Make the network's own devices."""

    def withdraw(self, place: Place, others: Sequence[Place]) -> list[Request]:
        """Undo what does not vanish with the devices, nor is used by ``others``, after the devices went."""

    def plug(self, place: Place, port: Port, pod_netns: int) -> list[Request]:
        """Make the node's half of a pod's interface."""

    def change(self, place: Place, gone: Iterable[Remote], new: Iterable[Remote]) -> list[Request]:
        """Forget remote members and learn others."""


class Bridged:
    """``l2_l3``: one bridge for the network."""

    def create(self, place: Place) -> list[Request]:
        """Bridge and VXLAN port; the node neither answers, routes nor accepts IP on the bridge.

        It keeps neighbours on it all the same, which the bridge answers for (multinet.vrouter.neighbours).
        """
        vni, mtu, group = place.network.vni, place.mtu, place.group
        # Strict reverse path filtering on a device without address or route drops every packet.
        closed = {links.FORWARDING: 0, links.PROXY_ARP: 0, links.RP_FILTER: 1, links.ARP_IGNORE: 8}
        return [
            links.bridge(place.bridge_name, place.bridge, mac=_device_mac(0x57, vni), mtu=mtu, group=group),
            links.inet_conf(place.bridge, place.bridge_name, closed),
            links.vxlan(
                place.vxlan_name,
                place.vxlan,
                vni=vni,
                local=place.node_ip,
                mac=_device_mac(0x58, vni),
                mtu=mtu,
                group=group,
                master=place.bridge,
            ),
            # All remote MACs are known, so a frame to an unknown one has no receiver over there.
            links.bridge_port(
                place.vxlan, place.vxlan_name, learning=False, unicast_flood=False, suppress=True
            ),
            links.set_alias(place.bridge, f"multinet network VNI {vni}"),
            links.set_alias(place.vxlan, f"multinet network VNI {vni}"),
        ]

    def withdraw(self, place: Place, others: Sequence[Place]) -> list[Request]:
        """Everything goes with the devices."""
        del place, others
        return []

    def plug(self, place: Place, port: Port, pod_netns: int) -> list[Request]:
        """The veth as a port of the bridge."""
        return [
            links.veth(
                port.host_name,
                port.host_index,
                _peer(port, pod_netns),
                mtu=port.mtu,
                group=place.group,
                master=place.bridge,
            ),
            addressing.station(port.host_index, port.wanted.mac),
            # A port held to its own MAC has nothing to teach, and no frame to an unknown MAC is for it.
            links.bridge_port(
                port.host_index,
                port.host_name,
                learning=not port.wanted.guarded,
                unicast_flood=not port.wanted.guarded,
            ),
        ]

    def change(self, place: Place, gone: Iterable[Remote], new: Iterable[Remote]) -> list[Request]:
        """MACs behind the VXLAN port, and the tunnel each of them takes."""
        requests = []
        for remote in gone:
            requests.append(addressing.delete_station(place.vxlan, remote.mac))
            requests.append(addressing.delete_tunnel(place.vxlan, remote.mac, remote.node_ip))
        for remote in new:
            requests.append(addressing.tunnel(place.vxlan, remote.mac, remote.node_ip))
            requests.append(addressing.station(place.vxlan, remote.mac))
        return requests


class Routed:
    """``l3``: a routing table of the node is the network, for the default network the main one."""

    def create(self, place: Place) -> list[Request]:
        """The VXLAN device, and the network's service addresses as the node's own."""
        network = place.network
        # Before the device: nothing that comes in by it may ever be looked up elsewhere.
        closed = [addressing.unreachable(rules.table_of(network.vni), each) for each in place.versions]
        return [
            *closed,
            *(rule.add() for rule in place.own_rules),
            *self.outwards(place),
            # Scope host: never the source of the node's own packets, which other nodes could not answer.
            *(
                addressing.address(_LOOPBACK, _alone(service), scope=addressing.SCOPE_HOST, shared=True)
                for service in network.services
            ),
        ]

    def outwards(self, place: Place) -> list[Request]:
        """The device by which members on other nodes are reached."""
        vni = place.network.vni
        vxlan = links.vxlan(
            place.vxlan_name,
            place.vxlan,
            vni=vni,
            local=place.node_ip,
            mac=router_mac(place.node_ip),
            mtu=place.mtu,
            group=place.group,
        )
        return [vxlan, links.set_alias(place.vxlan, f"multinet network VNI {vni}")]

    def withdraw(self, place: Place, others: Sequence[Place]) -> list[Request]:
        """The service addresses, and of a confined network its rules and the end of its table."""
        served = {service for other in others for service in other.network.services}
        ruled = {rule for other in others for rule in other.own_rules}
        requests = [
            addressing.delete_address(_LOOPBACK, _alone(service))
            for service in place.network.services
            if service not in served
        ]
        requests += [rule.delete() for rule in place.own_rules if rule not in ruled]
        table = rules.table_of(place.network.vni)
        return requests + [addressing.delete_unreachable(table, each) for each in place.versions]

    def plug(self, place: Place, port: Port, pod_netns: int) -> list[Request]:
        """The veth with the gateway's MAC, and the way to the pod."""
        requests = [
            *(rule.add() for rule in port_rules(port)),
            links.veth(
                port.host_name,
                port.host_index,
                _peer(port, pod_netns),
                mtu=port.mtu,
                group=place.group,
                mac=GATEWAY_MAC,
            ),
            addressing.answer_at_once(port.host_index, port.host_name),
        ]
        for cidr in port.wanted.addresses:
            if ":" in cidr:
                continue  # multinet.vrouter.routed6
            address = cidr.partition("/")[0]
            requests.append(addressing.neighbour(port.host_index, address, port.wanted.mac))
            requests += [
                addressing.route(f"{address}/32", port.host_index, source=place.node_ip, table=table)
                for table in place.tables
            ]
        return requests

    def change(self, place: Place, gone: Iterable[Remote], new: Iterable[Remote]) -> list[Request]:
        """A route per remote address, by way of its node."""
        device = place.way_out
        requests = [
            addressing.delete_route(block, device, via=node, table=table)
            for block, node, table in _ways(place, gone)
        ]
        requests += [
            addressing.route(
                block,
                device,
                via=node,
                source=place.node_ip6 if ":" in block else place.node_ip,
                onlink=True,
                table=table,
            )
            for block, node, table in _ways(place, new)
        ]
        return requests


class Underlaid(Routed):
    """``l3`` in the underlay: other nodes are next hops there, and who asks there by ARP gets an answer."""

    def outwards(self, place: Place) -> list[Request]:
        """The underlay's device is there; on it the node answers for its members (see there)."""
        return [addressing.answer_at_once(place.underlay.index, place.underlay.name)]


def port_rules(port: Port) -> tuple[rules.Rule, ...]:
    """The rules of a pod's interface, which are to outlive its device."""
    network = port.wanted.network
    if not network.confined:
        return ()
    versions = (4, 6) if routed6.is_dual(network) else (4,)
    return tuple(rules.of_device(port.host_name, network.vni, each) for each in versions)


def flood(place: Place, gone: Iterable[str], new: Iterable[str]) -> list[Request]:
    """Nodes that no longer take part in a network, and nodes that do now."""
    if place.is_underlaid:
        return []
    bridged = place.network.mode == BRIDGED
    requests = []
    for node in gone:
        mac = addressing.FLOOD_MAC if bridged else router_mac(node)
        requests.append(addressing.delete_tunnel(place.vxlan, mac, node))
        if not bridged:
            requests += [addressing.delete_neighbour(place.vxlan, each) for each in _next_hops(place, node)]
    for node in new:
        mac = addressing.FLOOD_MAC if bridged else router_mac(node)
        requests.append(addressing.tunnel(place.vxlan, mac, node))
        if not bridged:
            requests += [addressing.neighbour(place.vxlan, each, mac) for each in _next_hops(place, node)]
    return requests


def changes(place: Place, before: frozenset[Remote], after: frozenset[Remote]) -> list[Request]:
    """All requests that turn the remote members ``before`` into ``after``."""
    kind = forwarding_of(place.network)
    nodes_before, nodes_after = ({remote.node_ip for remote in group} for group in (before, after))
    # New nodes first: a route needs its next hop's neighbour entry at once. A MAC or address that moved
    # is replaced, so its old entry must be gone before.
    return [
        *flood(place, (), sorted(nodes_after - nodes_before)),
        *kind.change(place, _sorted(before - after), _sorted(after - before)),
        *flood(place, sorted(nodes_before - nodes_after), ()),
    ]


def known(place: Place, wanted: frozenset[Remote]) -> frozenset[tuple[str, str]]:
    """What of ``wanted`` a VXLAN device may already have, in the form of ``forget_remotes``."""
    keep = set()
    for remote in wanted:
        if place.network.mode == BRIDGED:
            keep |= {(remote.mac, remote.node_ip), (addressing.FLOOD_MAC, remote.node_ip)}
        else:
            keep.add((router_mac(remote.node_ip), remote.node_ip))
    if place.network.mode != BRIDGED:
        keep |= {(block, node) for block, node, _ in _ways(place, wanted)}
    return frozenset(keep)


def forwarding_of(network: Network) -> Forwarding:
    """The kind of forwarding a network asks for."""
    if network.mode == ROUTED:
        return Underlaid() if network.underlay_blocks else Routed()
    if network.mode == BRIDGED:
        return Bridged()
    raise DatapathError(
        f"the forwarding mode {network.mode!r} of the network with VNI {network.vni} is unknown",
        next_step=f"set forwardingMode to {ROUTED} or {BRIDGED}",
    )


def pod_settings(port: Port) -> dict[str, str]:
    """Settings of the pod's namespace, which must come before the interface is up.

    Addresses and routes are the controller's to give: the pod asks for no router and believes none.
    """
    if not has_ipv6_address(port):
        return {}
    conf = f"ipv6/conf/{port.wanted.name}"
    return {f"{conf}/disable_ipv6": "0", f"{conf}/accept_ra": "0"}


def has_ipv6_address(port: Port) -> bool:
    """Whether an interface has an address of that family."""
    return any(":" in cidr for cidr in port.wanted.addresses)


def pod_side(port: Port, *, ipv6: bool) -> list[Request]:
    """The pod's half of an interface: settings, up, addresses, default routes."""
    index, wanted = port.pod_index, port.wanted
    requests = []
    if ipv6 and not has_ipv6_address(port):
        requests.append(links.no_link_local(index, wanted.name))
    requests.append(links.set_up(index, wanted.name))
    dual = routed6.is_dual(wanted.network)
    requests += [addressing.address(index, cidr) for cidr in wanted.addresses if not (dual and ":" in cidr)]
    requests += routed6.far_end(port)
    for gateway in wanted.gateways:
        everything = "::/0" if ip_address(gateway).version == 6 else "0.0.0.0/0"
        requests.append(addressing.route(everything, index, via=gateway))
    return requests


def router_mac(node_ip: str) -> str:
    """The MAC of a node's VXLAN device in a routed network: ``02:56`` and the node's address."""
    return "02:56:" + IPv4Address(node_ip).packed.hex(":")


def _ways(place: Place, remotes: Iterable[Remote]) -> Iterator[tuple[str, str, int]]:
    """(block, next hop, table) of each route to remote members."""
    dual = routed6.is_dual(place.network)
    for remote in remotes:
        for address in remote.addresses:
            if ":" not in address:
                yield from ((f"{address}/32", remote.node_ip, table) for table in place.tables)
            elif dual:
                hop = routed6.next_hop(remote.node_ip)
                yield from ((f"{address}/128", hop, table) for table in place.tables)


def _next_hops(place: Place, node: str) -> list[str]:
    """What a node is called in the routes of a routed network."""
    return [node, routed6.next_hop(node)] if routed6.is_dual(place.network) else [node]


def _alone(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"


def _device_mac(second: int, vni: int) -> str:
    return f"02:{second:02x}:00:" + vni.to_bytes(3, "big").hex(":")


def _peer(port: Port, netns: int) -> links.Peer:
    return links.Peer(port.wanted.name, port.pod_index, port.wanted.mac, netns)


def _sorted(remotes: Iterable[Remote]) -> Sequence[Remote]:
    return sorted(remotes, key=lambda remote: (remote.mac, remote.node_ip))
