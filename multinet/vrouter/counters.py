"""What each interface of this node has carried, as its pod sees it.

The kernel counts on the node's end of each veth, where everything is mirrored: what the node received, the
pod sent. The same source as ``ip -s link`` (``IFLA_STATS64``, linux/if_link.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from multinet.vrouter import links, netlink
from multinet.vrouter.datapath import Attachment

_IFLA_STATS64 = 23
# The first eight of struct rtnl_link_stats64: node's rx is the pod's tx.
_FIELDS = struct.Struct("=8Q")
_NAMES = (
    "sentPackets",
    "receivedPackets",
    "sentBytes",
    "receivedBytes",
    "sendErrors",
    "receiveErrors",
    "sendDrops",
    "receiveDrops",
)

Counters = dict[str, int]


def read_counters(through: netlink.Socket, attachments: Iterable[Attachment]) -> dict[str, Counters]:
    """Counters by ``<vni>/<mac>``; interfaces whose device is gone are left out."""
    by_index: dict[int, Counters] = {}
    for body in through.dump(netlink.GETLINK, links.header()):
        packed = dict(netlink.attributes(body[16:])).get(_IFLA_STATS64)
        if packed is not None and len(packed) >= _FIELDS.size:
            (index,) = struct.unpack_from("=i", body, 4)
            by_index[index] = dict(zip(_NAMES, _FIELDS.unpack_from(packed), strict=True))
    return {
        f"{port.wanted.network.vni}/{port.wanted.mac}": by_index[port.host_index]
        for attachment in attachments
        for port in attachment.ports
        if port.host_index in by_index
    }
