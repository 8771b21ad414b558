"""The handful of rtnetlink requests the fabric needs, encoded here (rtnetlink(7), linux/if_link.h).

Why not pyroute2 or ip(8): building three nodes with ``ip`` is a dozen processes, and pyroute2 takes longer
to import than the whole fabric takes to build. One socket belongs to the network namespace it was made in.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface
from types import TracebackType

_NEWLINK, _DELLINK, _SETLINK, _NEWADDR, _NEWQDISC = 16, 17, 19, 20, 36
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR = 2

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_NET_NS_FD, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 28, 31, 32
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 0x02
_TCA_KIND, _TCA_OPTIONS = 1, 2
_IFF_UP = 1
_TC_H_ROOT = 0xFFFFFFFF


def attribute(kind: int, value: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("I", value))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _info(index: int, change: int) -> bytes:
    return struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, change, change)


class Route:
    """A NETLINK_ROUTE socket in the network namespace current at creation; a context manager.

    Every method waits for the kernel's answer and raises ``OSError`` with the request's name.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sequence = 0

    def __enter__(self) -> Route:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def add_link(
        self, name: str, kind: str, *, data: bytes = b"", parent: int = 0, mtu: int = 0, mac: str = ""
    ) -> int:
        """Make a device of ``kind`` ("bridge", "dummy", ...), up; return its ifindex."""
        info = _text(_INFO_KIND, kind) + (attribute(_INFO_DATA, data) if data else b"")
        body = _info(0, _IFF_UP) + _text(IFLA_IFNAME, name)
        body += _number(IFLA_LINK, parent) if parent else b""
        body += _number(IFLA_MTU, mtu) if mtu else b""
        body += attribute(IFLA_ADDRESS, _mac(mac)) if mac else b""
        self._request(_NEWLINK, body + attribute(IFLA_LINKINFO, info), f"add {kind} {name}")
        return socket.if_nametoindex(name)

    def add_veth(
        self,
        name: str,
        *,
        peer: str,
        peer_netns: int,
        peer_mac: str,
        mtu: int,
        master: int = 0,
        mac: str = "",
        index: int = 0,
    ) -> None:
        """Make a veth, up, whose peer is born in the namespace open at ``peer_netns`` (and stays down).

        One queue per direction: the default of one per CPU costs a third of the time (sysfs objects).
        """
        single = _number(IFLA_NUM_TX_QUEUES, 1) + _number(IFLA_NUM_RX_QUEUES, 1)
        far = _info(0, 0) + _text(IFLA_IFNAME, peer) + attribute(IFLA_ADDRESS, _mac(peer_mac))
        far += _number(IFLA_MTU, mtu) + _number(IFLA_NET_NS_FD, peer_netns) + single
        info = _text(_INFO_KIND, "veth") + attribute(_INFO_DATA, attribute(_VETH_PEER, far))
        body = _info(index, _IFF_UP) + _text(IFLA_IFNAME, name) + _number(IFLA_MTU, mtu) + single
        body += _number(IFLA_MASTER, master) if master else b""
        body += attribute(IFLA_ADDRESS, _mac(mac)) if mac else b""
        self._request(_NEWLINK, body + attribute(IFLA_LINKINFO, info), f"add veth {name}")

    def delete_link(self, name: str) -> None:
        """Delete a device, with its other end if it has one."""
        self._request(_DELLINK, _info(0, 0) + _text(IFLA_IFNAME, name), f"delete {name}")

    def set_link(self, name: str, *, up: bool) -> None:
        """Set a device up or down."""
        flags = struct.pack("BxHiII", 0, 0, 0, _IFF_UP if up else 0, _IFF_UP)
        self._request(_SETLINK, flags + _text(IFLA_IFNAME, name), f"set {name} {'up' if up else 'down'}")

    def add_address(self, index: int, address: IPv4Interface) -> None:
        """Give a device an IPv4 address; the connected route follows."""
        body = struct.pack("BBBBi", socket.AF_INET, address.network.prefixlen, 0, 0, index)
        for kind, value in (
            (_IFA_LOCAL, address.ip),
            (_IFA_ADDRESS, address.ip),
            (_IFA_BROADCAST, address.network.broadcast_address),
        ):
            body += attribute(kind, value.packed)
        self._request(_NEWADDR, body, f"add address {address}")

    def add_address6(self, index: int, address: IPv6Interface) -> None:
        """Give a device an IPv6 address that is usable at once: nobody else has it, so nobody is asked."""
        body = struct.pack("BBBBi", socket.AF_INET6, address.network.prefixlen, _IFA_F_NODAD, 0, index)
        body += attribute(_IFA_LOCAL, address.ip.packed) + attribute(_IFA_ADDRESS, address.ip.packed)
        self._request(_NEWADDR, body, f"add address {address}")

    def add_qdisc(self, index: int, kind: str, options: bytes) -> None:
        """Set a device's root queueing discipline; ``options`` is the kind's own structure."""
        body = struct.pack("BxHiIII", 0, 0, index, 0x10000, _TC_H_ROOT, 0)
        body += _text(_TCA_KIND, kind) + attribute(_TCA_OPTIONS, options)
        self._request(_NEWQDISC, body, f"add qdisc {kind}")

    def _request(self, kind: int, body: bytes, what: str) -> None:
        self._sequence += 1
        flags = _REQUEST | _ACK | (0 if kind in (_SETLINK, _DELLINK) else _CREATE | _EXCL)
        header = struct.pack("IHHII", 16 + len(body), kind, flags, self._sequence, 0)
        self._socket.send(header + body)
        answer = self._socket.recv(65536)
        if struct.unpack_from("H", answer, 4)[0] != _NLMSG_ERROR:
            raise OSError(0, f"{what}: unexpected netlink answer")
        code = -struct.unpack_from("i", answer, 16)[0]
        if code:
            raise OSError(code, f"{what}: {os.strerror(code)}")


# What each kind of device needs besides its name: IFLA_INFO_DATA (linux/if_link.h).
PROBE_DATA: Mapping[str, bytes] = {
    "dummy": b"",
    "bridge": b"",
    "ifb": b"",
    "veth": b"",
    "vxlan": attribute(1, struct.pack("I", 1)) + attribute(15, struct.pack(">H", 4789)),
    "geneve": attribute(1, struct.pack("I", 1)) + attribute(2, socket.inet_aton("192.0.2.1")),
    "vrf": attribute(1, struct.pack("I", 10)),
    "macvlan": attribute(1, struct.pack("I", 4)),
    "vlan": attribute(1, struct.pack("H", 10)),
}
