"""Says when a machine's link to the others is there again: the kernel announces it (rtnetlink(7)).

Without that an outage lasts longer than it does: TCP sends what was lost again after a time that doubles with
each loss, and whoever tries again waits longer each time as well. How often a device got its carrier is
counted by the kernel, so that an outage which was over before anybody could hear of it is noticed, too.

The kernel itself waits as well: who was sought in vain (ARP) is not sought again for a second. So what it has
no answer for is taken from its table, where this process may do that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import socket
import struct
from collections.abc import Awaitable, Callable

_NEWLINK, _GETLINK, _NEWNEIGH, _DELNEIGH, _GETNEIGH = 16, 18, 28, 29, 30
_REQUEST, _DUMP, _DONE, _ERROR = 0x1, 0x300, 3, 2
_GROUP_LINK = 1
_LOWER_UP, _CARRIER_UP_COUNT = 0x10000, 47
_UNANSWERED, _NDA_DST = 0x01 | 0x20, 1  # NUD_INCOMPLETE, NUD_FAILED
_SIOCGIFADDR = 0x8915
_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_HALF, _EQUAL, _GIVE = 0x20, 0x28, 0x15, 0x06
# Offsets in messages, behind 16 bytes of header; the index is in the same place in those about neighbours.
_KIND_AT, _INDEX_AT, _FLAGS_AT = 4, 20, 24
_LINK_ATTRIBUTES_AT, _NEIGHBOUR_ATTRIBUTES_AT = 32, 28
_log = logging.getLogger(__name__)


async def follow(address: str, again: Callable[[], Awaitable[None]]) -> None:
    """Call ``again`` whenever the device with this IPv4 address has got its carrier back; until cancelled.

    Returns at once where no device has the address: then an outage is noticed by who waits for an answer.
    """
    index = _device_of(address)
    if not index:
        _log.info("no device has the address %s: when its link comes back is not heard of", address)
        return
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as ears:
        ears.setblocking(False)
        _hear_of(ears, index)
        ears.bind((0, _GROUP_LINK))
        known: int | None = None
        _ask(ears, index)
        while True:
            try:
                message = await asyncio.get_running_loop().sock_recv(ears, 1 << 16)
            except OSError:
                _ask(ears, index)  # ENOBUFS: something was said that found no room
                continue
            ups, is_up = _carrier(message)
            if known is None or (is_up and ups != known):
                is_back, known = known is not None, ups
                if is_back:
                    _log.info("the link of %s is there again", address)
                    with contextlib.suppress(OSError):
                        _seek_anew(index)
                    await again()


def _device_of(address: str) -> int:
    """The index of the device that has the address; 0 when there is none."""
    try:
        wanted = socket.inet_aton(address)
    except OSError:
        return 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for index, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("16s24x", name.encode()))
            except OSError:
                continue  # it has none, or is gone
            if answer[20:24] == wanted:
                return index
    return 0


def _hear_of(ears: socket.socket, index: int) -> None:
    """Let the socket have messages about this device only: pods come and go in dozens of others."""
    code = (
        (_LOAD_HALF, 0, 0, _KIND_AT),
        (_EQUAL, 0, 3, socket.htons(_NEWLINK)),
        (_LOAD_WORD, 0, 0, _INDEX_AT),
        (_EQUAL, 0, 1, socket.htonl(index)),
        (_GIVE, 0, 0, 0xFFFFFFFF),
        (_GIVE, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    given = struct.pack("HL", len(code), ctypes.addressof(program))
    ears.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, given)


def _ask(ears: socket.socket, index: int) -> None:
    """Have the kernel say how it is now."""
    ears.send(_message(_GETLINK, _REQUEST, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)))


def _carrier(message: bytes) -> tuple[int, bool]:
    """How often the device of an RTM_NEWLINK got its carrier, and whether it has it."""
    (flags,) = struct.unpack_from("=I", message, _FLAGS_AT)
    ups = _attribute(message, _LINK_ATTRIBUTES_AT, _CARRIER_UP_COUNT)
    return (struct.unpack("=I", ups)[0] if ups else 0), bool(flags & _LOWER_UP)


def _seek_anew(index: int) -> None:
    """Forget the neighbours of the device that did not answer; who needs one asks at once then."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as asking:
        asking.send(_message(_GETNEIGH, _REQUEST | _DUMP, _neighbour(0)))
        for message in _answers(asking):
            about, state = struct.unpack_from("=iH", message, _INDEX_AT)
            address = _attribute(message, _NEIGHBOUR_ATTRIBUTES_AT, _NDA_DST)
            if about == index and state & _UNANSWERED and address:
                named = struct.pack("=HH", 4 + len(address), _NDA_DST) + address
                # Refused where this process may not: then it takes the second.
                asking.send(_message(_DELNEIGH, _REQUEST, _neighbour(index) + named))


def _neighbour(index: int) -> bytes:
    """``struct ndmsg`` of an IPv4 neighbour."""
    return struct.pack("=BxxxiHBB", socket.AF_INET, index, 0, 0, 0)


def _answers(asking: socket.socket) -> list[bytes]:
    """All messages of a dump of neighbours."""
    found: list[bytes] = []
    while True:
        data, at = asking.recv(1 << 18), 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            if kind in (_DONE, _ERROR) or length < 16:
                return found
            if kind == _NEWNEIGH:
                found.append(data[at : at + length])
            at += (length + 3) & ~3


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _attribute(message: bytes, at: int, wanted: int) -> bytes:
    """The value of an attribute of a message; empty when it has none."""
    (end,) = struct.unpack_from("=I", message)
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == wanted:
            return message[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    return b""
