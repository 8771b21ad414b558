"""A virtual network on this node: its devices, its members here, and what it knows of those elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multinet.vrouter import addressing, forwarding, kernelstate, netns, routed6, underlaid
from multinet.vrouter.datapath import BRIDGED, GATEWAY_MAC, Port, Remote
from multinet.vrouter.forwarding import Place
from multinet.vrouter.gateways import Gateways
from multinet.vrouter.neighbours import Neighbours, owners
from multinet.vrouter.netlink import Request, Socket


class Presence:
    """A network this node takes part in. ``remotes`` None: what the kernel knows is not known here.

    ``closed``: nothing of a bridged network gets to the node's own stack, whatever its settings. The bridge
    keeps IPv6 neighbours only where IPv6 is on, which is not safe otherwise.
    """

    def __init__(
        self, place: Place, *, closed: bool, remotes: frozenset[Remote] | None = frozenset()
    ) -> None:
        self.place = place
        self.members: set[str] = set()
        self.kept = False
        self._remotes = remotes
        has_ipv6 = any(":" in address for address in place.network.services)
        self._ipv6 = closed and self.is_bridged and has_ipv6
        self._neighbours = Neighbours(place.bridge, ipv6=self._ipv6)

    @property
    def is_bridged(self) -> bool:
        """Whether the network is a bridge here, otherwise it is a routing table."""
        return self.place.network.mode == BRIDGED

    def make(self, through: Socket, gateways: Gateways, node: int) -> None:
        """Make the network's own devices; ``NetlinkError`` or ``DatapathError`` on failure.

        ``node`` is a descriptor of the node's network namespace.
        """
        place = self.place
        if routed6.is_dual(place.network):
            routed6.prepare(node)
        through.send([*forwarding.forwarding_of(place.network).create(place), *gateways.port(place)])
        self.open(through, gateways, node)

    def open(self, through: Socket, gateways: Gateways, node: int) -> None:
        """Have the gateway answer, and the bridge for it; to be repeated by an agent that starts."""
        if self._ipv6:
            conf = f"ipv6/conf/{self.place.bridge_name}"
            with netns.entered(node):
                netns.write_settings(
                    {f"{conf}/accept_ra": "0", f"{conf}/addr_gen_mode": "1", f"{conf}/disable_ipv6": "0"}
                )
        if routed6.is_dual(self.place.network):
            routed6.enable(node, [self.place.vxlan_name])
        if self.place.gateway:
            gateways.open(self.place)
            services = self.place.network.services
            through.send(self._neighbours.appeared((address, GATEWAY_MAC) for address in services))

    def program(self, through: Socket, wanted: frozenset[Remote]) -> None:
        """Forward to the members on other nodes as they are now."""
        place, before = self.place, self._remotes or frozenset()
        requests = forwarding.changes(place, before, wanted)
        if self.is_bridged:
            requests += self._neighbours.changed(before - wanted, wanted - before)
        if self._remotes is None:
            requests = [*self._stale(through, wanted), *requests]
        self._remotes = None
        through.send(requests)
        self._remotes = wanted

    def plug(self, port: Port, pod_netns: int) -> list[Request]:
        """The node's half of a member's interface."""
        return [
            *forwarding.forwarding_of(self.place.network).plug(self.place, port, pod_netns),
            *self.entered([port]),
        ]

    def all_entries(self, remotes: frozenset[Remote]) -> list[Request]:
        """All requests that made the network and its remote members, for whoever looks what is missing."""
        place = self.place
        requests = forwarding.forwarding_of(place.network).create(place)
        requests += forwarding.changes(place, frozenset(), remotes)
        return requests + (self._neighbours.all_entries() if self.is_bridged else [])

    def entered(self, ports: Iterable[Port]) -> list[Request]:
        """What the network must know of members here, beside their interfaces."""
        if not self.is_bridged:
            return underlaid.entered(self.place, ports) if self.place.is_underlaid else []
        return self._neighbours.appeared(owner for port in ports for owner in owners(port))

    def left(self, ports: Sequence[Port]) -> list[Request]:
        """What it must not know any more."""
        if not self.is_bridged:
            return underlaid.left(self.place, ports) if self.place.is_underlaid else []
        return self._neighbours.vanished(owner for port in ports for owner in owners(port))

    def _stale(self, through: Socket, wanted: frozenset[Remote]) -> list[Request]:
        """What an earlier agent told the kernel of members that are gone."""
        place = self.place
        keep = forwarding.known(place, wanted)
        if place.is_underlaid:
            return underlaid.stale(through, place, keep)
        requests = kernelstate.forget_remotes(through, place.vxlan, keep, bridged=self.is_bridged)
        if self.is_bridged:
            known = self._neighbours.known
            requests += [
                addressing.delete_neighbour(place.bridge, address)
                for address in kernelstate.read_neighbours(through, place.bridge)
                if address not in known
            ]
        return requests
