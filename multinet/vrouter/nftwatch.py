"""Hears from the kernel when something of an nft table is deleted, and by whom (nftables' own monitor)."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass

from multinet.vrouter import netlink

_NETLINK_NETFILTER, _GROUP = 12, 7
_SUBSYSTEM = 10
# NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET, DELSETELEM. In all of them, attribute 1 is the table's name.
_DELETIONS = frozenset(_SUBSYSTEM << 8 | number for number in (2, 5, 8, 11, 14))
_TABLE = 1
UNKNOWN = -1
_HEADER = struct.Struct("=IHHII")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deletion:
    """Something of a table was deleted; ``port`` is of the netlink socket that asked for it.

    ``UNKNOWN``: more was announced than the socket holds, so something of the table may have been deleted.
    """

    table: str
    port: int


class NftWatch:
    """Calls ``deleted(deletion)`` in the event loop.

    In the network namespace which is current when it is made. Without nf_tables nothing is ever told.
    """

    def __init__(self, tables: Collection[str], deleted: Callable[[Deletion], None]) -> None:
        self._tables = {table.encode(): table for table in tables}
        self._deleted = deleted
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 1 << (_GROUP - 1)))
        except OSError as error:
            _log.info("deletions of nft rules are not heard of here: %s", error)

    def open(self) -> None:
        """Begin; needs a running loop."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """End."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        while (data := self._received()) is not None:
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, _, port = _HEADER.unpack_from(data, at)
                if kind in _DELETIONS:
                    values = dict(netlink.attributes(data[at + _HEADER.size + 4 : at + length]))
                    table = self._tables.get(values.get(_TABLE, b"").rstrip(b"\0"))
                    if table is not None:
                        self._deleted(Deletion(table, port))
                at += max(_HEADER.size, (length + 3) & ~3)

    def _received(self) -> bytes | None:
        try:
            return self._socket.recv(1 << 17)
        except BlockingIOError:
            return None
        except OSError:
            for table in self._tables.values():
                self._deleted(Deletion(table, UNKNOWN))
            return b""
