"""Hears from the kernel when something of the node, or of a pod, is taken away or set down (rtnetlink(7)).

And when a device comes to the node that is not ours: it may be the NIC of a pod.

One socket hears all network namespaces that the node's has a name (nsid) for, which is those with the far end
of a veth of ours (NETLINK_LISTEN_ALL_NSID); so a pod costs no socket. A filter in the kernel lets deletions
through and some news of links and neighbours, since making things is what we do all day. What it says is
read a moment later, for whoever made us hear it is waiting for his answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from multinet.vrouter import links, netlink
from multinet.vrouter.newsfilter import News, hear
from multinet.vrouter.removal import is_ours

HERE = -1
_SOL_NETLINK, _LISTEN_ALL_NSID = 270, 8
# RTNLGRP_*: link, neigh, IPv4 address, route, rule, IPv6 address, route; as a mask of (group - 1).
_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 8, 9, 11))
_NUD_FAILED = 0x20
# Of links those that came or were set up or down (ifi_change), of neighbours those that failed (ndm_state).
_HEARD = (
    News(netlink.NEWLINK, at=28, bits=links.IFF_UP),
    News(netlink.NEWNEIGH, at=24, size=2, bits=_NUD_FAILED),
    News(netlink.DELLINK),
    News(netlink.DELADDR),
    News(netlink.DELROUTE),
    News(netlink.DELNEIGH),
    News(netlink.DELRULE),
)
_MOMENT_S = 0.005
_EVERYTHING = 0xFFFFFFFF
_RTA_OIF, _RTA_TABLE, _FRA_IIFNAME = 4, 15, 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """``kind`` is an RTM_* number, ``nsid`` the namespace's (:data:`HERE`: the node's own).

    ``index`` is the device's, 0 for none; ``table`` a routing table, ``name`` the device a rule is about, or
    one that came.
    """

    kind: int
    nsid: int
    index: int = 0
    table: int = 0
    name: str = ""


class ChangeWatch:
    """Calls ``changed(change)`` in the event loop, and ``lost()`` when some could not be kept."""

    def __init__(self, changed: Callable[[Change], None], lost: Callable[[], None]) -> None:
        self._changed = changed
        self._lost = lost
        self._socket = netlink.monitor(0)
        try:
            self._socket.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        except OSError as error:
            _log.warning("what is deleted inside of pods goes unnoticed here: %s", error)
        hear(self._socket, _HEARD)
        for group in range(32):
            if _GROUPS & (1 << group):
                self._socket.setsockopt(_SOL_NETLINK, 1, group + 1)  # NETLINK_ADD_MEMBERSHIP

        self._due: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin; needs a running loop."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """End."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        if self._due is not None:
            self._due.cancel()
        self._socket.close()

    def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        self._due = loop.call_later(_MOMENT_S, self._read_again)

    def _read_again(self) -> None:
        self._read()
        self.open()

    def _read(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 17, 64)
            except BlockingIOError:
                return
            except OSError:
                self._lost()  # ENOBUFS: there was more than the socket holds
                continue
            nsid = HERE
            for level, kind, value in ancillary:
                if (level, kind) == (_SOL_NETLINK, _LISTEN_ALL_NSID):
                    nsid = struct.unpack("=i", value)[0]
            for number, body in netlink.notifications(data):
                change = _change(number, nsid, body)
                if change is not None:
                    self._changed(change)


def _change(kind: int, nsid: int, body: bytes) -> Change | None:
    if kind == netlink.NEWLINK:
        index, flags, changed = struct.unpack_from("=iII", body, 4)
        if changed == _EVERYTHING and nsid == HERE and body[0] == socket.AF_UNSPEC:
            return _arrival(body)
        # A device that is born down, as the pod's ends are, is said to have changed in everything.
        turned = changed & links.IFF_UP and changed != _EVERYTHING and body[0] == socket.AF_UNSPEC
        if turned and flags & links.IFF_UP:
            # One that went down has lost routes; ours come with all of theirs.
            return Change(kind, nsid, index) if nsid == HERE and not _is_ours(body) else None
        return Change(kind, nsid, index) if turned else None
    if kind == netlink.NEWNEIGH:
        # A neighbour that is in use is not deleted at once, it "failed".
        index, state = struct.unpack_from("=iH", body, 4)
        return Change(kind, nsid, index) if state & _NUD_FAILED else None
    if kind in (netlink.DELLINK, netlink.DELADDR, netlink.DELNEIGH):
        return Change(kind, nsid, struct.unpack_from("=i", body, 4)[0])
    if kind == netlink.DELROUTE:
        values = dict(netlink.attributes(body[12:]))
        return Change(kind, nsid, _number(values.get(_RTA_OIF)), _number(values.get(_RTA_TABLE)) or body[4])
    if kind == netlink.DELRULE:
        values = dict(netlink.attributes(body[12:]))
        name = values.get(_FRA_IIFNAME, b"").rstrip(b"\0").decode(errors="replace")
        return Change(kind, nsid, name=name)
    return None


def _is_ours(body: bytes) -> bool:
    return is_ours(_number(dict(netlink.attributes(body[16:])).get(links.IFLA_GROUP)))


def _arrival(body: bytes) -> Change | None:
    values = dict(netlink.attributes(body[16:]))
    if _is_ours(body):
        return None
    name = values.get(links.IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    return Change(netlink.NEWLINK, HERE, name=name)


def _number(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value and len(value) == 4 else 0
