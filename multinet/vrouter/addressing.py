"""rtnetlink requests about addresses, routes, neighbours and forwarding entries (FDB)."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_network

from multinet.vrouter.netlink import (
    APPEND,
    CREATE,
    DELADDR,
    DELNEIGH,
    DELROUTE,
    EXCL,
    NEWADDR,
    NEWNEIGH,
    NEWROUTE,
    REPLACE,
    SETNEIGHTBL,
    Request,
    attribute,
    mac_bytes,
    nested,
    text,
    u8,
    u32,
    u64,
)

SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
TABLE_MAIN = 254
FLOOD_MAC = "00:00:00:00:00:00"

_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_PROTOCOL, _UNICAST, _UNREACHABLE, _ONLINK = 3, 1, 7, 4
_NDA_DST, _NDA_LLADDR, _NDA_PROTOCOL = 1, 2, 12
_NUD_REACHABLE, _NUD_NOARP, _NUD_PERMANENT = 0x02, 0x40, 0x80
_NTF_SELF, _NTF_MASTER, NTF_PROXY, _NTF_STICKY = 0x02, 0x04, 0x08, 0x40
#: Who made a rule or an ARP entry (``protocol`` in iproute2): this agent.
OURS = 0x6D
_NDTA_NAME, _NDTA_PARMS = 1, 6
_NDTPA_IFINDEX, _NDTPA_PROXY_DELAY = 1, 13
_AF_BRIDGE = 7
GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
THERE = frozenset({errno.EEXIST})


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    """As :mod:`ipaddress` does it, in a tenth of the time: a pod's interfaces are some dozens of these."""
    try:
        return socket.inet_pton(_family(address), address)
    except OSError as error:
        raise ValueError(f"{address!r} is no IP address") from error


def address(
    index: int, cidr: str, *, scope: int = SCOPE_UNIVERSE, shared: bool = False, on_link: bool = True
) -> Request:
    """Give a device an address (``a.b.c.d/len``); the connected route follows, if its block is ``on_link``.

    ``shared``: it may be there.
    """
    flags = b"" if on_link else u32(_IFA_FLAGS, _IFA_F_NODAD | _IFA_F_NOPREFIXROUTE)
    return Request(
        NEWADDR,
        CREATE | EXCL,
        _address(index, cidr, scope) + flags,
        f"add address {cidr}",
        THERE if shared else frozenset(),
    )


def delete_address(index: int, cidr: str) -> Request:
    """Take an address away; one that is gone is fine."""
    return Request(DELADDR, 0, _address(index, cidr, 0), f"delete address {cidr}", GONE)


def _address(index: int, cidr: str, scope: int) -> bytes:
    host, _, bits = cidr.partition("/")
    given, family = _packed(host), _family(host)
    length = int(bits)
    # An address is its owner's alone (InstanceIP): to look for duplicates (RFC 4862) would cost a second.
    flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
    body = struct.pack("=BBBBi", family, length, flags, scope, index)
    body += attribute(_IFA_LOCAL, given) + attribute(_IFA_ADDRESS, given)
    if family == socket.AF_INET and length < 31:
        last = int.from_bytes(given) | ((1 << (32 - length)) - 1)
        body += attribute(_IFA_BROADCAST, last.to_bytes(4))
    return body


def route(
    destination: str,
    index: int,
    *,
    via: str = "",
    source: str = "",
    onlink: bool = False,
    table: int = TABLE_MAIN,
) -> Request:
    """Route a block through a device, with a gateway or without; ``source`` is preferred for own packets."""
    body = _route(destination, index, via, onlink, table)
    body += attribute(_RTA_PREFSRC, _packed(source)) if source else b""
    return Request(NEWROUTE, CREATE | REPLACE, body, f"route {destination}{f' via {via}' if via else ''}")


def delete_route(destination: str, index: int, *, via: str = "", table: int = TABLE_MAIN) -> Request:
    """Remove a route; one that is gone is fine."""
    body = _route(destination, index, via, False, table, deletion=True)
    return Request(DELROUTE, 0, body, f"delete the route to {destination}", GONE)


def unreachable(table: int, version: int = 4) -> Request:
    """End a table of a family: what it has no route for is unreachable, instead of looked up further."""
    body = _end(table, _PROTOCOL, version)
    return Request(NEWROUTE, CREATE | REPLACE, body, f"end {_called(table, version)}")


def delete_unreachable(table: int, version: int = 4) -> Request:
    """Remove the end of a table; one that is gone is fine."""
    what = f"delete the end of {_called(table, version)}"
    return Request(DELROUTE, 0, _end(table, 0, version), what, GONE)


def _called(table: int, version: int) -> str:
    return f"IPv6 table {table}" if version == 6 else f"table {table}"


def _end(table: int, protocol: int, version: int) -> bytes:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, protocol, SCOPE_UNIVERSE, _UNREACHABLE, 0)
    return body + u32(_RTA_TABLE, table)


def _route(
    destination: str, index: int, via: str, onlink: bool, table: int, *, deletion: bool = False
) -> bytes:
    block = ip_network(destination)
    scope = SCOPE_UNIVERSE if via else SCOPE_LINK
    protocol, kind = (0, 0) if deletion else (_PROTOCOL, _UNICAST)
    body = struct.pack(
        "=BBBBBBBBI",
        _family(str(block.network_address)),
        block.prefixlen,
        0,
        0,
        table if table < 256 else 0,
        protocol,
        255 if deletion else scope,
        kind,
        _ONLINK if onlink else 0,
    )
    if block.prefixlen:
        body += attribute(_RTA_DST, block.network_address.packed)
    body += attribute(_RTA_GATEWAY, _packed(via)) if via else b""
    body += u32(_RTA_TABLE, table) if table > 255 else b""
    return body + u32(_RTA_OIF, index)


def neighbour(index: int, address: str, mac: str) -> Request:
    """Say for good which MAC an address has on a device (no ARP is asked)."""
    body = _neighbour(_family(address), index, _NUD_PERMANENT, 0)
    body += attribute(_NDA_DST, _packed(address)) + attribute(_NDA_LLADDR, mac_bytes(mac))
    return Request(NEWNEIGH, CREATE | REPLACE, body, f"set neighbour {address} to {mac}")


def delete_neighbour(index: int, address: str) -> Request:
    """Forget a neighbour; one that is gone is fine."""
    body = _neighbour(_family(address), index, 0, 0) + attribute(_NDA_DST, _packed(address))
    return Request(DELNEIGH, 0, body, f"delete neighbour {address}", GONE)


def proxy(index: int, address: str) -> Request:
    """Answer ARP requests for an address that is not the node's, on a device that it is not behind."""
    return Request(
        NEWNEIGH, CREATE | REPLACE, _proxy(index, address), f"answer ARP for {address} on the underlay"
    )


def delete_proxy(index: int, address: str) -> Request:
    """Answer them no more; an entry that is gone is fine."""
    what = f"stop answering ARP for {address} on the underlay"
    return Request(DELNEIGH, 0, _proxy(index, address), what, GONE)


def _proxy(index: int, address: str) -> bytes:
    body = _neighbour(_family(address), index, 0, NTF_PROXY)
    return body + attribute(_NDA_DST, _packed(address)) + u8(_NDA_PROTOCOL, OURS)


def answer_at_once(index: int, name: str) -> Request:
    """Answer proxied ARP requests from a device without delay.

    By default the kernel waits a random time of up to 0.8 s first. Only the first network namespace has a
    default that new devices inherit (``neigh/default/proxy_delay``), so each device is told.
    """
    parameters = u32(_NDTPA_IFINDEX, index) + u64(_NDTPA_PROXY_DELAY, 0)
    body = struct.pack("=Bxxx", socket.AF_INET) + text(_NDTA_NAME, "arp_cache")
    return Request(SETNEIGHTBL, 0, body + nested(_NDTA_PARMS, parameters), f"answer ARP of {name} at once")


def tunnel(index: int, mac: str, node: str) -> Request:
    """VXLAN forwarding: frames to ``mac`` go to ``node``; what is flooded goes to all of ``FLOOD_MAC``."""
    # A MAC is in one place, so a new place replaces the old; the flood list grows.
    flags = CREATE | (APPEND if mac == FLOOD_MAC else REPLACE)
    tolerated = THERE if mac == FLOOD_MAC else frozenset[int]()
    return Request(NEWNEIGH, flags, _tunnel(index, mac, node), f"send {mac} to node {node}", tolerated)


def delete_tunnel(index: int, mac: str, node: str) -> Request:
    """Remove a VXLAN forwarding entry; one that is gone is fine."""
    return Request(DELNEIGH, 0, _tunnel(index, mac, node), f"stop sending {mac} to node {node}", GONE)


def _tunnel(index: int, mac: str, node: str) -> bytes:
    body = _neighbour(_AF_BRIDGE, index, _NUD_REACHABLE | _NUD_NOARP, _NTF_SELF)
    return body + attribute(_NDA_LLADDR, mac_bytes(mac)) + attribute(_NDA_DST, _packed(node))


def station(index: int, mac: str) -> Request:
    """Bridge forwarding: ``mac`` is behind the bridge port ``index``, for good, whoever else claims it."""
    return Request(NEWNEIGH, CREATE | REPLACE, _station(index, mac), f"bridge {mac} to port {index}")


def delete_station(index: int, mac: str) -> Request:
    """Remove a bridge forwarding entry; one that is gone is fine."""
    return Request(DELNEIGH, 0, _station(index, mac), f"stop bridging {mac} to port {index}", GONE)


def _station(index: int, mac: str) -> bytes:
    body = _neighbour(_AF_BRIDGE, index, _NUD_REACHABLE | _NUD_NOARP, _NTF_MASTER | _NTF_STICKY)
    return body + attribute(_NDA_LLADDR, mac_bytes(mac))


def _neighbour(family: int, index: int, state: int, flags: int) -> bytes:
    return struct.pack("=BBHiHBB", family, 0, 0, index, state, flags, 0)
