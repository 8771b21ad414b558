"""rtnetlink requests about links (linux/if_link.h): made in place, with the ifindex the caller chose.

Two costs decide the form. A veth's far end is born in its namespace with its final name, because moving a
device costs some 18 ms; and each end has one queue, because sysfs objects of the default cost a third.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from multinet.vrouter.netlink import (
    CREATE,
    DELLINK,
    EXCL,
    NEWLINK,
    SETLINK,
    Request,
    attribute,
    flag_mask,
    mac_bytes,
    nested,
    text,
    u8,
    u16be,
    u32,
)

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_PROTINFO = 1, 3, 4, 5, 10, 12
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 18, 20, 26, 27, 28
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_LINK_NETNSID = 31, 32, 37
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFF_UP, IFF_NOARP = 0x1, 0x80

_VETH_INFO_PEER = 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING = 1, 5, 23
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT, _VXLAN_UDP_CSUM = 1, 4, 7, 15, 18
_BRPORT_LEARNING, _BRPORT_UNICAST_FLOOD, _BRPORT_NEIGH_SUPPRESS = 8, 9, 32
_INET_CONF, _INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 1, 8, 1
# Positions in IPV4_DEVCONF (linux/ip.h), which IFLA_INET_CONF counts from one.
FORWARDING, PROXY_ARP, RP_FILTER, ARP_IGNORE = 1, 3, 8, 19

VXLAN_PORT = 4789
_AF_BRIDGE = 7
_GONE = frozenset({errno.ENODEV, errno.ENOENT})


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of a veth: born down in the network namespace open at ``netns``."""

    name: str
    index: int
    mac: str
    netns: int


def header(index: int = 0, *, family: int = socket.AF_UNSPEC, flags: int = 0, change: int = 0) -> bytes:
    """``struct ifinfomsg``."""
    return struct.pack("=BxHiII", family, 0, index, flags, change)


def veth(
    name: str, index: int, peer: Peer, *, mtu: int, group: int, master: int = 0, mac: str = ""
) -> Request:
    """Make a veth pair, its near end up; the far end must come up later (with IFF_UP here: ENOTCONN)."""
    single = u32(IFLA_NUM_TX_QUEUES, 1) + u32(IFLA_NUM_RX_QUEUES, 1)
    far = header(peer.index) + text(IFLA_IFNAME, peer.name) + attribute(IFLA_ADDRESS, mac_bytes(peer.mac))
    far += u32(IFLA_MTU, mtu) + u32(IFLA_NET_NS_FD, peer.netns) + single
    body = header(index, flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu) + single
    body += u32(IFLA_GROUP, group)
    body += attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
    body += u32(IFLA_MASTER, master) if master else b""
    body += _info("veth", attribute(_VETH_INFO_PEER | 0x8000, far))
    return Request(NEWLINK, CREATE | EXCL, body, f"create veth {name} with {peer.name} in the pod")


def bridge(name: str, index: int, *, mac: str, mtu: int, group: int) -> Request:
    """Make a bridge, up, without STP and multicast snooping."""
    body = header(index, flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, name)
    body += u32(IFLA_MTU, mtu) + u32(IFLA_GROUP, group) + attribute(IFLA_ADDRESS, mac_bytes(mac))
    body += _info("bridge", u32(_BR_STP_STATE, 0), u32(_BR_FORWARD_DELAY, 0), u8(_BR_MCAST_SNOOPING, 0))
    return Request(NEWLINK, CREATE | EXCL, body, f"create bridge {name}")


def vxlan(
    name: str, index: int, *, vni: int, local: str, mac: str, mtu: int, group: int, master: int = 0
) -> Request:
    """Make a VXLAN device (RFC 7348), up, that learns nothing: the control plane says where MACs are."""
    body = header(index, flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu)
    body += u32(IFLA_GROUP, group) + attribute(IFLA_ADDRESS, mac_bytes(mac))
    body += u32(IFLA_MASTER, master) if master else b""
    body += _info(
        "vxlan",
        u32(_VXLAN_ID, vni),
        attribute(_VXLAN_LOCAL, IPv4Address(local).packed),
        u16be(_VXLAN_PORT, VXLAN_PORT),
        u8(_VXLAN_LEARNING, 0),
        u8(_VXLAN_UDP_CSUM, 0),
    )
    return Request(NEWLINK, CREATE | EXCL, body, f"create vxlan {name} (VNI {vni})")


def ifb(name: str, index: int, *, mtu: int, group: int) -> Request:
    """Make an intermediate functional block, up: a device to lead traffic through (drivers/net/ifb.c)."""
    body = header(index, flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu)
    body += u32(IFLA_GROUP, group) + u32(IFLA_NUM_TX_QUEUES, 1) + u32(IFLA_NUM_RX_QUEUES, 1)
    return Request(NEWLINK, CREATE | EXCL, body + _info("ifb"), f"create ifb {name}")


def bridge_port(
    index: int, name: str, *, learning: bool, unicast_flood: bool, suppress: bool = False
) -> Request:
    """Say whether a bridge port learns addresses, and whether frames to unknown ones leave through it.

    ``suppress``: neither do requests for addresses that the bridge has a neighbour entry for.
    """
    wanted = {_BRPORT_LEARNING: learning, _BRPORT_UNICAST_FLOOD: unicast_flood}
    if suppress:
        wanted[_BRPORT_NEIGH_SUPPRESS] = True
    switches = flag_mask(wanted)
    body = header(index, family=_AF_BRIDGE)
    return Request(SETLINK, 0, body + nested(IFLA_PROTINFO, switches), f"set the bridge port {name}")


def inet_conf(index: int, name: str, values: Mapping[int, int]) -> Request:
    """Set IPv4 settings of a device (``/proc/sys/net/ipv4/conf/<name>/...``)."""
    settings = b"".join(u32(key, value) for key, value in values.items())
    spec = nested(IFLA_AF_SPEC, nested(socket.AF_INET, nested(_INET_CONF, settings)))
    return Request(SETLINK, 0, header(index) + spec, f"set IPv4 settings of {name}")


def no_link_local(index: int, name: str) -> Request:
    """Have a device make no IPv6 link-local address by itself; must come before it is set up."""
    mode = u8(_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE)
    spec = nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))
    return Request(SETLINK, 0, header(index) + spec, f"switch automatic IPv6 addresses of {name} off")


def set_up(index: int, name: str) -> Request:
    """Set a device up."""
    return Request(SETLINK, 0, header(index, flags=IFF_UP, change=IFF_UP), f"set {name} up")


def set_alias(index: int, alias: str) -> Request:
    """Describe a device for people (``ip link`` shows it); 255 bytes at most are kept."""
    kept = alias.encode()[:255]
    return Request(SETLINK, 0, header(index) + attribute(IFLA_IFALIAS, kept), f"describe device {index}")


def move(index: int, netns: int, name: str, *, mac: str, mtu: int) -> Request:
    """Move a device to the namespace open at ``netns``, down and without addresses, and name it there.

    The kernel does it all in one go, in this order: move, MAC, MTU, name. The alias goes along.
    """
    body = header(index) + u32(IFLA_NET_NS_FD, netns) + text(IFLA_IFNAME, name)
    body += attribute(IFLA_ADDRESS, mac_bytes(mac)) + u32(IFLA_MTU, mtu)
    return Request(SETLINK, 0, body, f"move device {index} to another namespace as {name}")


def settle(index: int, name: str, *, up: bool) -> Request:
    """Take a device's alias away and set it up or down."""
    body = header(index, flags=IFF_UP if up else 0, change=IFF_UP) + attribute(IFLA_IFALIAS, b"")
    return Request(SETLINK, 0, body, f"set {name} {'up' if up else 'down'} without alias")


def set_group(index: int, group: int) -> Request:
    """Put a device into a group; one that is gone already is fine."""
    return Request(SETLINK, 0, header(index) + u32(IFLA_GROUP, group), f"regroup device {index}", _GONE)


def set_master(index: int, master: int, name: str) -> Request:
    """Make a device a port of a bridge; one that is gone is fine."""
    body = header(index) + u32(IFLA_MASTER, master)
    return Request(SETLINK, 0, body, f"make {name} a bridge port", _GONE)


def delete(index: int, name: str) -> Request:
    """Delete a device; one that is gone is fine. Many at a time go by :func:`delete_group`."""
    return Request(DELLINK, 0, header(index), f"delete {name}", _GONE)


def delete_group(group: int) -> Request:
    """Delete all devices of a group in one go; an empty group is fine."""
    return Request(DELLINK, 0, header() + u32(IFLA_GROUP, group), f"delete device group {group:#x}", _GONE)


def _info(kind: str, *data: bytes) -> bytes:
    return nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, *data))
