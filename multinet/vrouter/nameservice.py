"""The DNS address of bridged networks: every query is refused, at once.

A network of its own knows no names (the pods' resolver is the cluster's, over the default network), and to
forward queries would be a way out of it. Refusing makes a resolver ask its next server instead of waiting;
while no agent runs, the kernel says that the port is closed, with the same effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

PORT = 53
_REFUSED, _FORMAT_ERROR = 5, 1
_ANSWER, _KEPT_FLAGS = 0x8000, 0x7900
_HEADER = struct.Struct(">HHHHHH")
_AT_ONCE = 64
# socket has no name for these (linux/in.h, linux/in6.h, asm-generic/socket.h).
_IP_PKTINFO, _SO_MARK = 8, 36


class NameService:
    """Answers in the network namespace which is current when it is made; needs a running event loop."""

    def __init__(self) -> None:
        self._sockets = [_socket(socket.AF_INET)]
        with contextlib.suppress(OSError):
            self._sockets.append(_socket(socket.AF_INET6))
        self._loop = asyncio.get_running_loop()
        for each in self._sockets:
            self._loop.add_reader(each.fileno(), self._asked, each)

    def close(self) -> None:
        """Stop answering."""
        for each in self._sockets:
            self._loop.remove_reader(each.fileno())
            each.close()

    def _asked(self, through: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                query, where, _, sender = through.recvmsg(4096, 128)
            except OSError:
                return
            answer = refusal(query)
            index = _interface(where)
            if answer and index:
                # The port's ifindex is its mark, by which answers are routed (multinet.vrouter.gateways).
                mark = (socket.SOL_SOCKET, _SO_MARK, struct.pack("=I", index))
                source = [item for item in where if item[0] in (socket.IPPROTO_IP, socket.IPPROTO_IPV6)]
                with contextlib.suppress(OSError):
                    through.sendmsg([answer], [*source, mark], 0, sender)


def refusal(query: bytes) -> bytes:
    """The answer to a DNS message (RFC 1035, 4.1); empty where none is due."""
    if len(query) < _HEADER.size:
        return b""
    number, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & _ANSWER:
        return b""
    question = _question(query) if questions == 1 else b""
    code = _REFUSED if question else _FORMAT_ERROR
    header = _HEADER.pack(number, _ANSWER | flags & _KEPT_FLAGS | code, 1 if question else 0, 0, 0, 0)
    return header + question


def _question(query: bytes) -> bytes:
    """The only question of a query; empty where it is damaged."""
    at = _HEADER.size
    while at < len(query) and query[at]:
        if query[at] > 63:
            return b""
        at += 1 + query[at]
    end = at + 5
    return query[_HEADER.size : end] if end <= len(query) else b""


def _interface(where: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in where:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return int(struct.unpack_from("=i", data)[0])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return int(struct.unpack_from("=i", data, 16)[0])
    return 0


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        made.bind(("", PORT))
    except OSError:
        made.close()
        raise
    return made
