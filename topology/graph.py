"""Who must reach whom, as a graph (networkx): interfaces on segments, segments joined by tunnels.

A *segment* is one network on one node. Segments of one network on different nodes are joined by an overlay
tunnel; tunnels don't relay (the overlay is a full mesh with split horizon), so an interface reaches another
one when both are on one segment, or on two segments joined by one tunnel. Everything a question about the
lab needs is an edge that can be taken away: ``Reachability.without_tunnel`` tells which pairs a dead tunnel
cuts off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import networkx as nx

from multinet.model.networks import L3
from topology.backend import Wire
from topology.expectation import ExpectedInterface, ExpectedPod
from topology.expected_default import ROUTED
from topology.expected_policies import PROTOCOLS6, ExpectedPolicies

PROTOCOLS = ("arp", "icmp", "udp", "tcp")

Place = tuple[str, str]
"""``(namespace/pod, interface)``."""
Key = tuple[str, str, str, str, str]
"""``(source, source interface, destination, destination interface, protocol)``, as in traffic's matrix."""
NETWORK = "network"
"""``(NETWORK, "gateway")``, "dns", "gateway6", "dns6" stand for addresses of the source's own network."""
Segment = tuple[str, str]
"""``(network, node)``."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The way of one network between two nodes, in alphabetical order: its overlay, or the ``underlay``."""

    nodes: tuple[str, str]
    vni: int
    network: str
    underlay: bool = False

    @property
    def name(self) -> str:
        """What packets cross."""
        return "the underlay" if self.underlay else f"VNI {self.vni}"

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        made = {"nodes": list(self.nodes), "vni": self.vni, "network": self.network}
        return made | ({"underlay": True} if self.underlay else {})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is expected of one ordered pair and protocol, and why; ``must_reach`` None: nothing is.

    ``address`` is set where the destination is no interface but an address that the network answers for.
    """

    source: Place
    destination: Place
    protocol: str
    must_reach: bool | None
    reason: str
    tunnel: Tunnel | None = None
    address: str = ""

    @property
    def key(self) -> Key:
        """The key in an expectation mapping."""
        return (*self.source, *self.destination, self.protocol)

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "source": {"pod": self.source[0], "interface": self.source[1]},
            "destination": {"pod": self.destination[0], "interface": self.destination[1]},
            "protocol": self.protocol,
            "must_reach": self.must_reach,
            "reason": self.reason,
            "tunnel": self.tunnel.to_dict() if self.tunnel else None,
        }


class Reachability:
    """The expected attachments of all pods as a graph, and the answers it gives.

    ``addresses`` are those seen on the interfaces, ``{(pod, interface): ["10.1.1.252/24", ...]}``; they only
    make the reasons concrete, and are what policies' blocks of addresses are held against. Pods that can't be
    attached have no interface and take no part. Policies restrict who in a network reaches whom; but an
    interface that is a NIC reaches whatever its wire leads to, and nobody but the two ends has a say.
    """

    def __init__(
        self,
        pods: Iterable[ExpectedPod],
        addresses: Mapping[Place, Iterable[str]] | None = None,
        policies: ExpectedPolicies | None = None,
        wires: Iterable[Wire] = (),
    ) -> None:
        self.pods = tuple(sorted(pods, key=lambda pod: pod.pod))
        self.addresses = {place: tuple(found) for place, found in (addresses or {}).items()}
        self.policies = policies or ExpectedPolicies()
        self.wires = tuple(wires)
        self.graph = _graph(self.pods)

    def interfaces(self) -> tuple[Place, ...]:
        """All interfaces, sorted."""
        return tuple(
            sorted(place for place, data in self.graph.nodes(data=True) if data["kind"] == "interface")
        )

    def tunnels(self) -> tuple[Tunnel, ...]:
        """All tunnels, sorted by network and nodes."""
        found: list[Tunnel] = [
            data["tunnel"] for _, _, data in self.graph.edges(data=True) if "tunnel" in data
        ]
        return tuple(sorted(found, key=lambda tunnel: (tunnel.network, tunnel.nodes)))

    def judge(self, source: Place, destination: Place, protocol: str) -> Verdict:
        """The expectation for one ordered pair; ``KeyError`` for an interface that must not exist."""
        verdict = self._connected(source, destination, protocol)
        if not verdict.must_reach or self._interface(source).device:
            return verdict
        ends = [(self.graph.nodes[place]["pod"], self._interface(place)) for place in (source, destination)]
        seen = tuple(self.addresses.get(place, ()) for place in (source, destination))
        decision = self.policies.decide(ends[0], ends[1], protocol, (seen[0], seen[1]))
        allowed: bool | None = decision.allowed
        if not allowed and protocol in ("arp", "nd") and self._interface(destination).forwarding_mode != L3:
            # No business of policies: a neighbour answers for itself. Another node may answer for it, with
            # its MAC, and whether that leads there only UDP could show.
            allowed = True if verdict.tunnel is None else None
        reason = "; ".join(part for part in (verdict.reason, decision.reason) if part)
        return replace(verdict, must_reach=allowed, reason=reason)

    def _connected(self, source: Place, destination: Place, protocol: str) -> Verdict:
        """The same without policies."""
        here, there = self._segment(source), self._segment(destination)
        device = self._wired(source, destination)
        if device and here[0] != there[0]:
            reason = (
                f"different networks, but the NICs {device} of {here[1]} and {there[1]} are one wire's ends"
            )
            return Verdict(source, destination, protocol, None, reason)
        if here[0] != there[0]:
            reason = f"different networks: {here[0]} and {there[0]}"
            return Verdict(source, destination, protocol, False, reason)
        if source[0] == destination[0]:
            reason = f"both in {here[0]}, but a kernel does not answer its own address from outside"
            return Verdict(source, destination, protocol, None, reason)
        where = self._where(source, destination, protocol)
        unknown = self._unknown(source, destination, protocol)
        if unknown:
            return Verdict(source, destination, protocol, None, f"both in {here[0]}, but {unknown}")
        routed = self._interface(destination).forwarding_mode == L3
        how = ", and the node answers ARP for it" if routed and protocol == "arp" else ""
        if here == there:
            reason = f"both in {here[0]} on {here[1]}{how}{where}"
            return Verdict(source, destination, protocol, True, reason)
        if device:
            reason = f"both in {here[0]}, over the wire between the NICs {device} of {here[1]} and {there[1]}"
            return Verdict(source, destination, protocol, True, f"{reason}{where}")
        if self._interface(destination).device:
            reason = f"both in {here[0]}, but their NICs are not ends of one wire"
            return Verdict(source, destination, protocol, False, reason)
        tunnel = (self.graph.get_edge_data(here, there) or {}).get("tunnel")
        if tunnel is None:
            reason = f"both in {here[0]}, but there is no tunnel between {here[1]} and {there[1]}"
            return Verdict(source, destination, protocol, False, reason)
        reason = f"both in {here[0]}, over {tunnel.name} between {here[1]} and {there[1]}{how}{where}"
        return Verdict(source, destination, protocol, True, reason, tunnel)

    def verdicts(self, protocols: Iterable[str] = PROTOCOLS) -> tuple[Verdict, ...]:
        """All ordered pairs of interfaces in all protocols of the families that both have, sorted."""
        places, asked = self.interfaces(), tuple(protocols)
        return tuple(
            self.judge(source, destination, protocol)
            for source in places
            for destination in places
            if source != destination
            for protocol in asked
            if self._share(source, destination, 6 if protocol in PROTOCOLS6 else 4)
        )

    def services(self, protocols: Iterable[str] = PROTOCOLS, *, lack: str = "") -> tuple[Verdict, ...]:
        """Each interface and what its network answers for: ARP, ND and echo requests for gateway and DNS.

        As the original's agent does, on every node. Policies may keep a pod from asking by ICMP.
        ``lack``: why bridged networks can't have a gateway on this machine.
        """
        asked = [protocol for protocol in protocols if protocol in ("arp", "icmp", "nd", "icmp6")]
        return tuple(
            self._service(place, name, address, protocol, lack)
            for place in self.interfaces()
            for name, address in self._interface(place).services
            for protocol in asked
            if (protocol in PROTOCOLS6) == (":" in address)
        )

    def _service(self, place: Place, name: str, address: str, protocol: str, lack: str) -> Verdict:
        interface, pod = self._interface(place), self.graph.nodes[place]["pod"]
        nobody = (ExpectedPod("", "", pod.node, ()), interface)
        seen = self.addresses.get(place, ()), (address,)
        allowed = (
            protocol in ("arp", "nd")
            or self.policies.decide((pod, interface), nobody, protocol, seen).allowed
        )
        what = f"the {name.removesuffix('6')} address of {interface.network}"
        reason = f"{address} is {what}, which answers on each node"
        lacking = lack if interface.forwarding_mode != L3 else ""
        reason = f"{reason}, but: {lacking}" if lacking else reason
        must = True if allowed and not lacking else None
        return Verdict(place, (NETWORK, name), protocol, must, reason, address=address)

    def expectation(self, protocols: Iterable[str] = PROTOCOLS) -> dict[Key, bool]:
        """The plain form that traffic's matrix takes; pairs of which nothing is expected are left out."""
        return plain(self.verdicts(protocols))

    def without_tunnel(self, tunnel: Tunnel) -> Reachability:
        """The same lab with one tunnel dead."""
        first, second = ((tunnel.network, node) for node in tunnel.nodes)
        other = Reachability(self.pods, self.addresses, self.policies, self.wires)
        other.graph.remove_edge(first, second)
        return other

    def to_dict(self, protocols: Iterable[str] = PROTOCOLS) -> dict[str, Any]:
        """A JSON object: pods, pairs, tunnels."""
        return {
            "pods": [pod.to_dict() for pod in self.pods],
            "pairs": [verdict.to_dict() for verdict in self.verdicts(protocols)],
            "tunnels": [tunnel.to_dict() for tunnel in self.tunnels()],
        }

    def _segment(self, place: Place) -> Segment:
        segment: Segment = self.graph.nodes[place]["segment"]
        return segment

    def _interface(self, place: Place) -> ExpectedInterface:
        interface: ExpectedInterface = self.graph.nodes[place]["interface"]
        return interface

    def _share(self, source: Place, destination: Place, version: int) -> bool:
        """Whether both interfaces have addresses of a family."""
        return all(self._interface(place).has(version) for place in (source, destination))

    def _wired(self, source: Place, destination: Place) -> str:
        """The name of the NICs that two interfaces are, if these are the ends of one wire; else empty."""
        device = self._interface(source).device
        if not device or device != self._interface(destination).device:
            return ""
        nodes = self._segment(source)[1], self._segment(destination)[1]
        return device if any(wire.joins(*nodes, device) for wire in self.wires) else ""

    def _unknown(self, source: Place, destination: Place, protocol: str) -> str:
        """Why nothing is expected between two interfaces of a network that others' plugins make."""
        interface = self._interface(destination)
        here, there = self._segment(source)[1], self._segment(destination)[1]
        if not interface.joined and here != there:
            return f"its configuration does not tell whether {here} and {there} are joined"
        if interface.forwarding_mode == ROUTED and protocol == "arp":
            return "pods get to each other by way of the node, which answers ARP for nobody"
        if interface.forwarding_mode == L3 and protocol == "nd":
            return "by way of the gateway, the only neighbour that a pod has there"
        return ""

    def _where(self, source: Place, destination: Place, protocol: str) -> str:
        six = protocol in PROTOCOLS6
        ends = [
            [each for each in self.addresses.get(place, ()) if (":" in each) == six]
            for place in (source, destination)
        ]
        if not all(ends):
            return ""
        first, second = (found[0].partition("/")[0] for found in ends)
        return f" ({first} to {second})"


def plain(verdicts: Iterable[Verdict]) -> dict[Key, bool]:
    """Verdicts as the mapping that traffic's matrix takes."""
    return {verdict.key: verdict.must_reach for verdict in verdicts if verdict.must_reach is not None}


def _graph(pods: Iterable[ExpectedPod]) -> nx.Graph[Any]:
    graph: nx.Graph[Any] = nx.Graph()
    networks: dict[str, dict[str, ExpectedInterface]] = {}
    for pod in pods:
        for interface in pod.interfaces:
            place, segment = (pod.pod, interface.interface), (interface.network, pod.node)
            graph.add_node(segment, kind="segment")
            graph.add_node(place, kind="interface", segment=segment, interface=interface, pod=pod)
            graph.add_edge(place, segment)
            if interface.joined and not interface.device:
                networks.setdefault(interface.network, {})[pod.node] = interface
    for network, members in sorted(networks.items()):
        for first, second in combinations(sorted(members), 2):
            vni = members[first].vni or members[second].vni
            tunnel = Tunnel((first, second), vni, network, members[first].underlay)
            graph.add_edge((network, first), (network, second), tunnel=tunnel)
    return graph
