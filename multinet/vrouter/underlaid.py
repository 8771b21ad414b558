"""``ip_fabric_forwarding``: what a network that is routed in the underlay leaves on the underlay's device.

Its members' addresses are the underlay's: nodes route to each other's members as they are, and whoever else
is there finds a member by ARP, which its node answers with the MAC it has there. Routes and answers are about
a device that is not ours and stays, so nothing of them goes by itself: it is taken away here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_network

from multinet.vrouter import addressing, kernelstate, rules
from multinet.vrouter.datapath import Port
from multinet.vrouter.forwarding import Place
from multinet.vrouter.netlink import Request, Socket


def entered(place: Place, ports: Iterable[Port]) -> list[Request]:
    """Answer for members on this node."""
    return [addressing.proxy(place.underlay.index, address) for address in _addresses(ports)]


def left(place: Place, ports: Iterable[Port]) -> list[Request]:
    """Answer for them no more."""
    return [addressing.delete_proxy(place.underlay.index, address) for address in _addresses(ports)]


def stale(through: Socket, place: Place, keep: Collection[tuple[str, str]] = frozenset()) -> list[Request]:
    """Requests that remove the routes to members on other nodes, but for (CIDR, node) in ``keep``."""
    return [
        addressing.delete_route(route.destination, route.device, via=route.gateway, table=route.table)
        for route in kernelstate.read_routes(through)
        if route.device == place.underlay.index
        and route.table in place.tables
        and _is_in(route.destination, place.network.underlay_blocks)
        and (route.destination, route.gateway) not in keep
    ]


def corrections(
    through: Socket, device: int, places: Iterable[Place], ports: Iterable[Port]
) -> list[Request]:
    """Requests that leave nothing on the underlay's device of networks and members that are gone."""
    blocks = [block for place in places for block in place.network.underlay_blocks]
    alive = set(_addresses(port for port in ports if port.wanted.network.underlay_blocks))
    requests = [
        addressing.delete_route(route.destination, device, via=route.gateway, table=route.table)
        for route in kernelstate.read_routes(through)
        if route.device == device
        and rules.is_own_table(route.table)
        and not _is_in(route.destination, blocks)
    ]
    return requests + [
        addressing.delete_proxy(device, address)
        for address in sorted(kernelstate.read_proxies(through, device) - alive)
    ]


def _addresses(ports: Iterable[Port]) -> list[str]:
    return [cidr.partition("/")[0] for port in ports for cidr in port.wanted.addresses if ":" not in cidr]


def _is_in(destination: str, blocks: Iterable[str]) -> bool:
    found = ip_address(destination.partition("/")[0])
    return any(found in ip_network(each) for each in blocks)
