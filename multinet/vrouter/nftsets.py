"""Elements of nftables sets and maps by raw netlink: one transaction for all of a pod's (linux/nf_tables.h).

Chains and sets are made once, by a script (:mod:`multinet.vrouter.nft`, an exec of some 4 ms). What changes
with each pod are elements, and those must cost as little as its links do: one ``send``, no process. Unlike a
batch of links, a transaction is all or nothing.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from multinet.vrouter import netlink
from multinet.vrouter.datapath import DatapathError

BRIDGE, ARP, IP, IP6 = 7, 3, 2, 10
FAMILIES = {"inet": 1, "ip": IP, "arp": ARP, "bridge": BRIDGE, "ip6": IP6}

_NETLINK_NETFILTER = 12
_SUBSYSTEM, _BATCH_BEGIN, _BATCH_END = 10, 16, 17
_NEW_TABLE, _GET_TABLE, _NEW_ELEMENTS, _DELETE_ELEMENTS = 0, 1, 12, 14
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_LIST_ELEMENT, _KEY, _DATA, _VALUE = 1, 1, 2, 1
_HEADER, _PAIR, _PAIRS = struct.Struct("=IHHII"), struct.Struct("=HH"), struct.Struct("=HHHH")
_NLMSG_ERROR = 2
_AT_ONCE = 500


class NftError(DatapathError):
    """The kernel refused a transaction; nothing of it was done. ``number`` is the errno."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"the kernel refused to {what}", why=os.strerror(number))
        self.number = number


@dataclass(frozen=True, slots=True)
class Elements:
    """Keys of one set; for a map, the value of each beside it."""

    family: int
    table: str
    name: str
    keys: tuple[bytes, ...]
    values: tuple[bytes, ...] = ()


def concatenated(*fields: bytes) -> bytes:
    """A key of several fields, each padded to four bytes (registers of nf_tables)."""
    return b"".join([field + b"\0\0\0"[: -len(field) % 4] for field in fields])


def index_key(ifindex: int) -> bytes:
    """``iif`` in a key."""
    return struct.pack("=I", ifindex)


def has_table(family: str, table: str) -> bool:
    """Whether the current network namespace has the table (``inet``, ``multinet_guard``); ``NftError``.

    To ask costs nothing; to delete a table that is not there, as a script does, some 15 ms.
    """
    flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, flags, _NETLINK_NETFILTER) as asking:
        name = netlink.text(_TABLE, table)
        asking.send(_message(_SUBSYSTEM << 8 | _GET_TABLE, 0, 1, name, family=FAMILIES[family]))
        for kind, _, body in _messages(asking.recv(1 << 16)):
            if kind == _SUBSYSTEM << 8 | _NEW_TABLE:
                return True
            number = -struct.unpack_from("=i", body)[0]
            if number != errno.ENOENT:
                raise NftError(f"say whether there is a table {family} {table}", number)
    return False


class Sets:
    """A NETLINK_NETFILTER socket of the network namespace which is current when it is made."""

    def __init__(self) -> None:
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, flags, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._sequence = 0

    @property
    def port(self) -> int:
        """The port ID of the socket, which the kernel names in announcements of its changes."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def add(self, groups: Iterable[Elements]) -> None:
        """Add elements, all or none; those that are there already are fine. ``NftError`` on failure."""
        self._change(_NEW_ELEMENTS, netlink.CREATE, list(_split(groups)), "add elements to")

    def remove(self, groups: Iterable[Elements]) -> None:
        """Remove elements; those that are gone are fine."""
        wanted = list(_split(groups))
        try:
            self._change(_DELETE_ELEMENTS, 0, wanted, "remove elements from")
        except NftError as error:
            if error.number != errno.ENOENT:
                raise
            self._remove_one_by_one(wanted)

    def _remove_one_by_one(self, groups: Sequence[Elements]) -> None:
        for group in groups:
            for key in group.keys:
                one = Elements(group.family, group.table, group.name, (key,))
                try:
                    self._change(_DELETE_ELEMENTS, 0, [one], "remove an element from")
                except NftError as error:
                    if error.number != errno.ENOENT:
                        raise

    def _change(self, kind: int, flags: int, groups: Sequence[Elements], what: str) -> None:
        if not groups:
            return
        first = self._sequence + 1
        self._sequence += len(groups) + 2
        # Only the last change asks for an acknowledgement: it comes when all is done, errors come always.
        changes = [
            _message(
                _SUBSYSTEM << 8 | kind,
                flags | (netlink.ACK if position == len(groups) else 0),
                first + position,
                _body(group),
                family=group.family,
            )
            for position, group in enumerate(groups, start=1)
        ]
        begin = _message(_BATCH_BEGIN, 0, first, b"", resource=_SUBSYSTEM)
        end = _message(_BATCH_END, 0, self._sequence, b"", resource=_SUBSYSTEM)
        self._socket.send(begin + b"".join(changes) + end)
        number, at = self._outcome(first, first + len(groups))
        if number:
            group = groups[min(max(at - first - 1, 0), len(groups) - 1)]
            raise NftError(f"{what} {group.table} {group.name}", number)

    def _outcome(self, first: int, last: int) -> tuple[int, int]:
        """The first errno and the sequence number it is about; 0 when the transaction was done."""
        refused: tuple[int, int] = (0, 0)
        while True:
            for kind, sequence, body in _messages(self._socket.recv(1 << 18)):
                if kind != _NLMSG_ERROR or not first <= sequence <= last + 1:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number and not refused[0]:
                    refused = number, sequence
                # The last change is answered in any case; one about the batch itself ends it as well.
                if sequence == last or sequence in (first, last + 1):
                    return refused


def _split(groups: Iterable[Elements]) -> Iterable[Elements]:
    """Large groups in parts that fit a netlink attribute (64 KiB)."""
    for group in groups:
        if len(group.keys) <= _AT_ONCE:
            yield group
            continue
        for start in range(0, len(group.keys), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield Elements(group.family, group.table, group.name, group.keys[part], group.values[part])


def _body(group: Elements) -> bytes:
    if group.values:
        parts = [
            _data(_KEY, key) + _data(_DATA, value)
            for key, value in zip(group.keys, group.values, strict=True)
        ]
    else:
        parts = [_data(_KEY, key) for key in group.keys]
    listed = b"".join(_PAIR.pack(4 + len(part), _LIST_ELEMENT | netlink.NESTED) + part for part in parts)
    return _names(group.table, group.name) + netlink.nested(_ELEMENTS, listed)


def _data(kind: int, value: bytes) -> bytes:
    """A value, whose length is a multiple of four, in the two attributes around it."""
    return _PAIRS.pack(8 + len(value), kind | netlink.NESTED, 4 + len(value), _VALUE) + value


@functools.cache
def _names(table: str, name: str) -> bytes:
    return netlink.text(_TABLE, table) + netlink.text(_SET, name)


def _message(
    kind: int, flags: int, sequence: int, body: bytes, *, family: int = 0, resource: int = 0
) -> bytes:
    """A message with ``struct nfgenmsg``, whose resource ID is in network byte order."""
    body = struct.pack("=BB", family, 0) + struct.pack(">H", resource) + body
    return _HEADER.pack(_HEADER.size + len(body), kind, netlink.REQUEST | flags, sequence, 0) + body


def _messages(data: bytes) -> Iterable[tuple[int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, sequence, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3
