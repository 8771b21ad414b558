"""The few rtnetlink dumps the kernel oracle needs, with the standard library alone (rtnetlink(7)).

pyroute2 would do the same, but its import takes longer than a whole lab start; tests use it as the second
opinion. Everything here speaks about the namespace of the calling thread.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

Attributes = dict[int, bytes]

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEXT_HOP = struct.Struct("=HBBi")
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_GET_LINK, _GET_ADDRESS, _GET_ROUTE, _GET_NSID = 18, 22, 26, 90
_MAIN_TABLE, _UNICAST = 254, 1


@dataclass(frozen=True, slots=True)
class Link:
    """One interface; ``peer_ifindex`` is 0 without a peer, ``peer_nsid`` None for a peer right here."""

    ifindex: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    running: bool
    loopback: bool
    peer_ifindex: int
    peer_nsid: int | None


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface in CIDR form."""

    ifindex: int
    cidr: str


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of the main table; ``gateway`` is empty for a directly connected destination."""

    ifindex: int
    destination: str
    gateway: str


def links() -> list[Link]:
    """All interfaces (RTM_GETLINK)."""
    return [_link(body) for body in _dump(_GET_LINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))]


def addresses() -> list[Address]:
    """All addresses of both families (RTM_GETADDR)."""
    found = []
    for body in _dump(_GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        family, prefix, _flags, _scope, ifindex = _ADDRESS.unpack_from(body)
        attributes = _attributes(body[_ADDRESS.size :])
        # IFA_LOCAL (2) is the own address; IFA_ADDRESS (1) is the peer's on point-to-point links.
        raw = attributes.get(2, attributes.get(1, b""))
        found.append(Address(ifindex, f"{socket.inet_ntop(family, raw)}/{prefix}"))
    return found


def routes() -> list[Route]:
    """Unicast routes of the main table, one per next hop (RTM_GETROUTE)."""
    found: list[Route] = []
    for body in _dump(_GET_ROUTE, _ROUTE.pack(*(0,) * 9)):
        family, prefix, _src, _tos, table, _protocol, _scope, kind, _flags = _ROUTE.unpack_from(body)
        attributes = _attributes(body[_ROUTE.size :])
        if 15 in attributes:  # RTA_TABLE: a table number above 255
            table = _number(attributes[15])
        if family not in (socket.AF_INET, socket.AF_INET6) or table != _MAIN_TABLE or kind != _UNICAST:
            continue
        width = 4 if family == socket.AF_INET else 16
        destination = f"{socket.inet_ntop(family, attributes.get(1, bytes(width)))}/{prefix}"
        for ifindex, raw in _hops(attributes):
            found.append(Route(ifindex, destination, socket.inet_ntop(family, raw) if raw else ""))
    return found


def nsid_of(netns_fd: int) -> int | None:
    """The id this namespace has for the one behind ``netns_fd``, None if it has none (RTM_GETNSID)."""
    attribute = _ATTRIBUTE.pack(8, 3) + struct.pack("=I", netns_fd)
    for body in _exchange(_GET_NSID, _REQUEST, struct.pack("=B3x", 0) + attribute):
        nsid = _number(_attributes(body[4:])[1], signed=True)
        return nsid if nsid >= 0 else None
    return None


def _link(body: bytes) -> Link:
    _family, _type, ifindex, flags, _change = _LINK.unpack_from(body)
    attributes = _attributes(body[_LINK.size :])
    info = _attributes(attributes.get(18, b""))  # IFLA_LINKINFO, in it IFLA_INFO_KIND
    nsid = attributes.get(37)  # IFLA_LINK_NETNSID
    return Link(
        ifindex=ifindex,
        name=_text(attributes[3]),
        kind=_text(info.get(1, b"")),
        mac=attributes.get(1, b"").hex(":"),
        mtu=_number(attributes[4]),
        up=bool(flags & 0x1),
        running=bool(flags & 0x40),
        loopback=bool(flags & 0x8),
        peer_ifindex=_number(attributes.get(5, bytes(4))),
        peer_nsid=None if nsid is None else _number(nsid, signed=True),
    )


def _hops(attributes: Attributes) -> Iterator[tuple[int, bytes]]:
    multipath = attributes.get(9)  # RTA_MULTIPATH: a list of struct rtnexthop
    if multipath is None:
        yield _number(attributes.get(4, bytes(4))), attributes.get(5, b"")
        return
    while len(multipath) >= _NEXT_HOP.size:
        length, _flags, _hops_field, ifindex = _NEXT_HOP.unpack_from(multipath)
        yield ifindex, _attributes(multipath[_NEXT_HOP.size : length]).get(5, b"")
        multipath = multipath[(length + 3) & ~3 :]


def _dump(kind: int, body: bytes) -> Iterator[bytes]:
    return _exchange(kind, _REQUEST | _DUMP, body)


def _exchange(kind: int, flags: int, body: bytes) -> Iterator[bytes]:
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as sock:
        sock.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        finished = False
        while not finished:
            data = sock.recv(1 << 18)
            while data:
                length, got, message_flags, _sequence, _port = _HEADER.unpack_from(data)
                payload, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                if got == _ERROR:
                    code = -_number(payload[:4], signed=True)
                    raise OSError(code, os.strerror(code), f"rtnetlink request {kind}")
                finished = got == _DONE or not message_flags & 0x2  # NLM_F_MULTI
                if got != _DONE:
                    yield payload


def _attributes(data: bytes) -> Attributes:
    found: Attributes = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def _number(raw: bytes, *, signed: bool = False) -> int:
    return int.from_bytes(raw[:4], "little" if struct.pack("=H", 1)[0] else "big", signed=signed)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode()
