"""Translations that the kernel remembers, forgotten where they lead to nobody any more (conntrack netlink).

A connection is translated once, and what follows is translated alike. A UDP client that goes on sending never
makes a new one, so it would talk to an endpoint that is gone until it is silent for long enough.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from multinet.vrouter import netlink, netns
from multinet.vrouter.netlink import attributes

_NETLINK_NETFILTER, _SUBSYSTEM = 12, 1
_GET, _DELETE = 1, 2
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_IP, _PROTO = 1, 2
#: CTA_IP_*: IPv4 or IPv6.
_SRC, _DST = (1, 3), (2, 4)
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3

Place = tuple[str, int]
"""An address and a port."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One connection: whom it was sent to, who answers, and its original tuple as the kernel gave it."""

    protocol: int
    asked: Place
    answers: Place
    original: bytes


def forget_udp(targets: Mapping[Place, frozenset[Place]], *, inside: int | None = None) -> int:
    """Forget UDP connections to the given places that are answered by none of their targets.

    Returns how many; ``OSError`` when the kernel has no connection tracking to ask.
    """
    with contextlib.nullcontext() if inside is None else netns.entered(inside):
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    with contextlib.closing(asking):
        stale = [
            entry
            for entry in _dump(asking)
            if entry.protocol == socket.IPPROTO_UDP
            and entry.asked in targets
            and entry.answers not in targets[entry.asked]
        ]
        for entry in stale:
            body = netlink.attribute(_TUPLE_ORIG | netlink.NESTED, entry.original)
            family = socket.AF_INET6 if ":" in entry.asked[0] else socket.AF_INET
            asking.send(_message(_DELETE, netlink.ACK, body, family))
            asking.recv(4096)  # One that is gone by itself is fine.
    return len(stale)


def _dump(asking: socket.socket) -> Iterator[_Entry]:
    asking.send(_message(_GET, netlink.DUMP, b"", socket.AF_UNSPEC))
    while True:
        data, at = asking.recv(1 << 18), 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return
            body = data[at + _HEADER.size : at + length]
            if kind == _ERROR:
                number = -struct.unpack_from("=i", body)[0]
                raise OSError(number, "connections can't be listed")
            # struct nfgenmsg comes first.
            if entry := _entry(body[4:]):
                yield entry
            at += (length + 3) & ~3


def _entry(body: bytes) -> _Entry | None:
    found = dict(attributes(body))
    if _TUPLE_ORIG not in found or _TUPLE_REPLY not in found:
        return None
    original, reply = (dict(attributes(found[kind])) for kind in (_TUPLE_ORIG, _TUPLE_REPLY))
    protocol = dict(attributes(original.get(_PROTO, b""))).get(_PROTO_NUM, b"\0")[0]
    asked, answers = _place(original, _DST, _DST_PORT), _place(reply, _SRC, _SRC_PORT)
    if asked is None or answers is None:
        return None
    return _Entry(protocol, asked, answers, found[_TUPLE_ORIG])


def _place(parts: Mapping[int, bytes], address: Sequence[int], port: int) -> Place | None:
    values = dict(attributes(parts.get(_IP, b"")))
    packed = next((values[kind] for kind in address if kind in values), None)
    number = dict(attributes(parts.get(_PROTO, b""))).get(port)
    if packed is None or number is None or len(packed) not in (4, 16):
        return None
    return str(ip_address(packed)), int(struct.unpack(">H", number)[0])


def _message(kind: int, flags: int, body: bytes, family: int) -> bytes:
    body = struct.pack("=BB", family, 0) + struct.pack(">H", 0) + body
    header = _HEADER.pack(_HEADER.size + len(body), _SUBSYSTEM << 8 | kind, netlink.REQUEST | flags, 1, 0)
    return header + body
