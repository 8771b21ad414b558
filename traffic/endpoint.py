"""The kernel oracle: what the kernel says about each interface of a network namespace.

These are facts of their own, read by netlink, and owe nothing to what a controller, an annotation or a CNI
result claims; the three can be compared.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from multinet.errors import LabError
from traffic import netlink, netns

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Place = tuple[str, str]
"""Where a frame can be: (namespace name such as ``ns/pod``, interface)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One interface of one namespace.

    ``addresses`` are in CIDR form, IPv4 first as the kernel lists them; ``gateways`` are the next hops of
    the default routes through this interface (a caller may add more with ``dataclasses.replace``);
    ``routes`` are ``(destination CIDR, gateway or "")``. ``peer_ifindex`` is 0 without a veth peer, and
    ``peer_nsid`` None when the peer is in the same namespace.
    """

    name: str
    interface: str
    netns: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    ifindex: int = 0
    kind: str = ""
    mtu: int = 0
    up: bool = True
    running: bool = True
    peer_ifindex: int = 0
    peer_nsid: int | None = None
    routes: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> Place:
        """``(name, interface)``: the key used for pairs."""
        return (self.name, self.interface)

    @property
    def label(self) -> str:
        """``ns/pod/eth0``: for people."""
        return label(self.place)

    @property
    def ipv4(self) -> tuple[ipaddress.IPv4Interface, ...]:
        """The IPv4 addresses with their networks."""
        every = (ipaddress.ip_interface(address) for address in self.addresses)
        return tuple(one for one in every if isinstance(one, ipaddress.IPv4Interface))

    def of(self, version: int) -> tuple[Interface, ...]:
        """The addresses of one family (4, 6) with their networks; of IPv6 not those of the link alone."""
        if version == 4:
            return self.ipv4
        every = (ipaddress.ip_interface(address) for address in self.addresses if ":" in address)
        return tuple(one for one in every if not one.is_link_local)


def label(place: Place) -> str:
    """``ns/pod/eth0``."""
    return "/".join(place)


def inspect(name: str, netns_path: str) -> list[Endpoint]:
    """Every interface except loopback of the namespace at ``netns_path``, by ifindex.

    Raises ``LabError`` when the namespace can't be entered.
    """
    result = inspect_all({name: netns_path})[name]
    if isinstance(result, OSError):
        raise LabError(
            "can't read the interfaces of a network namespace",
            where=name,
            why=f"{netns_path}: {result.strerror}",
            next_step="check that the pod's sandbox still runs",
        )
    return result


def inspect_all(namespaces: Mapping[str, str]) -> dict[str, list[Endpoint] | OSError]:
    """:func:`inspect` for ``{name: path}`` in one go; an unreadable namespace has its error."""
    return netns.visit(namespaces, lambda name: _read(name, namespaces[name]))


def _read(name: str, path: str) -> list[Endpoint]:
    addresses, routes = netlink.addresses(), netlink.routes()
    found = []
    for link in sorted(netlink.links(), key=lambda one: one.ifindex):
        if link.loopback:
            continue
        own = [route for route in routes if route.ifindex == link.ifindex]
        found.append(
            Endpoint(
                name=name,
                interface=link.name,
                netns=path,
                mac=link.mac,
                addresses=tuple(one.cidr for one in addresses if one.ifindex == link.ifindex),
                gateways=tuple(
                    r.gateway for r in own if r.gateway and r.destination in ("0.0.0.0/0", "::/0")
                ),
                ifindex=link.ifindex,
                kind=link.kind,
                mtu=link.mtu,
                up=link.up,
                running=link.running,
                peer_ifindex=link.peer_ifindex,
                peer_nsid=link.peer_nsid,
                routes=tuple((route.destination, route.gateway) for route in own),
            )
        )
    return found
