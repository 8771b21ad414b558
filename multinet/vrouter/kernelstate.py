"""What the kernel says is there: links, addresses, routes and forwarding entries of a network namespace."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from multinet.vrouter import addressing, links, netlink
from multinet.vrouter.netlink import Request

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_UNICAST, _UNREACHABLE = 1, 7
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR, _NDA_PROTOCOL = 1, 2, 12
_NTF_SELF, _NUD_PERMANENT = 0x02, 0x80


@dataclass(frozen=True, slots=True)
class Link:
    """A device. ``master`` is an ifindex, 0 for none; ``nsid`` names the far end's namespace, -1 for none."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    group: int
    master: int
    alias: str = ""
    nsid: int = -1


@dataclass(frozen=True, slots=True)
class Route:
    """A route of any table: ``destination`` in CIDR form, the default route being ``0.0.0.0/0``."""

    destination: str
    gateway: str
    device: int
    table: int


@dataclass(frozen=True, slots=True)
class ForwardingEntry:
    """An FDB entry of a device; ``node`` is the remote end of a VXLAN device's own entry."""

    device: int
    mac: str
    node: str
    own: bool


def read_links(through: netlink.Socket) -> dict[int, Link]:
    """All devices by ifindex."""
    return {link.index: link for link in map(_link, through.dump(netlink.GETLINK, links.header()))}


def read_link(through: netlink.Socket, index: int) -> Link | None:
    """One device, None when there is none of that ifindex."""
    body = through.get(netlink.GETLINK, links.header(index))
    return _link(body) if body is not None else None


def find_link(through: netlink.Socket, name: str) -> Link | None:
    """One device by its name."""
    body = through.get(netlink.GETLINK, links.header() + netlink.text(links.IFLA_IFNAME, name))
    return _link(body) if body is not None else None


def _link(body: bytes) -> Link:
    _, index, flags, _ = struct.unpack_from("=HiII", body, 2)
    values = dict(netlink.attributes(body[16:]))
    peer = values.get(links.IFLA_LINK_NETNSID)
    return Link(
        index=index,
        name=values.get(links.IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mac=values.get(links.IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(values.get(links.IFLA_MTU)),
        up=bool(flags & links.IFF_UP),
        group=_number(values.get(links.IFLA_GROUP)),
        master=_number(values.get(links.IFLA_MASTER)),
        alias=values.get(links.IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace"),
        nsid=struct.unpack("=i", peer)[0] if peer else -1,
    )


def read_addresses(through: netlink.Socket) -> set[tuple[int, str]]:
    """All (ifindex, CIDR) pairs."""
    found = set()
    for body in through.dump(netlink.GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0)):
        length, index = body[1], struct.unpack_from("=i", body, 4)[0]
        values = dict(netlink.attributes(body[8:]))
        packed = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
        if packed:
            found.add((index, f"{ip_address(packed)}/{length}"))
    return found


def read_routes(through: netlink.Socket) -> list[Route]:
    """All unicast routes with one next hop."""
    found = []
    for body in through.dump(netlink.GETROUTE, struct.pack("=BBBBBBBBI", *[0] * 9)):
        family, length, kind = body[0], body[1], body[7]
        if kind != _UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        values = dict(netlink.attributes(body[12:]))
        target = values.get(_RTA_DST) or bytes(4 if family == socket.AF_INET else 16)
        gateway = values.get(_RTA_GATEWAY)
        found.append(
            Route(
                f"{ip_address(target)}/{length}",
                str(ip_address(gateway)) if gateway else "",
                _number(values.get(_RTA_OIF)),
                _number(values.get(_RTA_TABLE)) or body[4],
            )
        )
    return found


def tables_with_an_end(through: netlink.Socket) -> set[tuple[int, int]]:
    """(Table, 4 or 6) of those with an unreachable default route, which no device takes along as it goes."""
    found = set()
    versions: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 6}
    for body in through.dump(netlink.GETROUTE, struct.pack("=BBBBBBBBI", *[0] * 9)):
        if body[0] in versions and body[1] == 0 and body[7] == _UNREACHABLE:
            values = dict(netlink.attributes(body[12:]))
            found.add((_number(values.get(_RTA_TABLE)) or body[4], versions[body[0]]))
    return found


def read_forwarding(through: netlink.Socket) -> list[ForwardingEntry]:
    """All FDB entries, of bridges and of VXLAN devices."""
    found = []
    for body in through.dump(netlink.GETNEIGH, struct.pack("=BBHiHBB", 7, 0, 0, 0, 0, 0, 0)):
        index, _, flags, _ = struct.unpack_from("=iHBB", body, 4)
        values = dict(netlink.attributes(body[12:]))
        node = values.get(_NDA_DST)
        found.append(
            ForwardingEntry(
                index,
                values.get(_NDA_LLADDR, b"").hex(":"),
                str(ip_address(node)) if node else "",
                bool(flags & _NTF_SELF),
            )
        )
    return found


def read_neighbours(through: netlink.Socket, device: int) -> set[str]:
    """The addresses that somebody gave a lasting MAC on a device."""
    found = set()
    for body in through.dump(netlink.GETNEIGH, struct.pack("=BBHiHBB", 0, 0, 0, 0, 0, 0, 0)):
        index, state = struct.unpack_from("=iH", body, 4)
        target = dict(netlink.attributes(body[12:])).get(_NDA_DST)
        if index == device and state & _NUD_PERMANENT and target:
            found.add(str(ip_address(target)))
    return found


def read_proxies(through: netlink.Socket, device: int) -> set[str]:
    """The addresses for which we have ARP requests answered on a device."""
    found = set()
    asked = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, 0, 0, addressing.NTF_PROXY, 0)
    for body in through.dump(netlink.GETNEIGH, asked):
        values = dict(netlink.attributes(body[12:]))
        ours = values.get(_NDA_PROTOCOL) == bytes([addressing.OURS])
        if ours and struct.unpack_from("=i", body, 4)[0] == device:
            found.add(str(ip_address(values[_NDA_DST])))
    return found


def forget_remotes(
    through: netlink.Socket, vxlan: int, keep: frozenset[tuple[str, str]], *, bridged: bool
) -> list[Request]:
    """Requests that remove what a VXLAN device still knows of an earlier agent's remote members.

    ``keep`` has what shall stay: (MAC, node) of tunnels, and (CIDR, node) of routes.
    """
    requests = []
    for entry in read_forwarding(through):
        if entry.device == vxlan and entry.own and entry.node and (entry.mac, entry.node) not in keep:
            requests.append(addressing.delete_tunnel(vxlan, entry.mac, entry.node))
            if not bridged:
                requests.append(addressing.delete_neighbour(vxlan, entry.node))
            elif entry.mac != addressing.FLOOD_MAC:
                requests.append(addressing.delete_station(vxlan, entry.mac))
    for route in read_routes(through):
        if route.device == vxlan and route.gateway and (route.destination, route.gateway) not in keep:
            gone = addressing.delete_route(route.destination, vxlan, via=route.gateway, table=route.table)
            requests.append(gone)
    return requests


def _number(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value and len(value) == 4 else 0
