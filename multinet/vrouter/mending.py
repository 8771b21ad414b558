"""What somebody took away by hand, found and made again. No state; the data path calls it with its own.

How to find what is missing of some thousand entries without reading them all: each is asked for once more,
to be made only if it is not there (NLM_F_EXCL). What the kernel then makes was missing; its "exists" is the
usual answer, and costs two microseconds.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from multinet.vrouter import addressing, forwarding, kernelstate, links, netlink, routed6
from multinet.vrouter.datapath import Attachment, Places, Port, Remote
from multinet.vrouter.forwarding import Place
from multinet.vrouter.kernelstate import Link
from multinet.vrouter.netlink import NetlinkError, Request, Socket
from multinet.vrouter.presence import Presence
from multinet.vrouter.removal import is_ours

_NDA_DST, _NUD_PERMANENT = 1, 0x80
_ENTRIES = frozenset({netlink.NEWADDR, netlink.NEWROUTE, netlink.NEWNEIGH, netlink.NEWRULE})


def missing(through: Socket, requests: Iterable[Request]) -> list[str]:
    """Have all entries; return, in words, those that were not there.

    Requests about devices are left out. ``NetlinkError`` names what can't be made.
    """
    entries = [request for request in requests if request.kind in _ENTRIES]
    failed = [each for each in entries if _is_neighbour(each) and not _has_neighbour(through, each)]
    through.send(failed)
    # For those the kernel has no "exists".
    asked = [
        _only_if_absent(request) for request in entries if request not in failed and not _is_proxy(request)
    ]
    try:
        through.send(asked)
        refused = {}
    except NetlinkError as error:
        refused = {id(failure.request): failure for failure in error.failures}
    others = [each for each in refused.values() if each.number != errno.EEXIST]
    if others:
        raise NetlinkError(others)
    return [each.what for each in (*failed, *(each for each in asked if id(each) not in refused))]


def is_whole(port: Port, node: Socket, inside: Socket) -> bool:
    """Whether both ends of an interface are there, the pod's with its name and MAC."""
    near = [kernelstate.read_link(node, index) for index in port.node_devices]
    far = kernelstate.read_link(inside, port.pod_index)
    if far is None or any(link is None or not is_ours(link.group) for link in near):
        return False
    return (far.name, far.mac) == (port.wanted.name, port.wanted.mac)


def near_end(through: Socket, active: Presence, port: Port) -> list[str]:
    """The node's half of an interface."""
    link = kernelstate.read_link(through, port.host_index)
    if link is None:
        return []  # gone since: that has been announced
    found = _up(through, link)
    # A namespace is named by the request for the veth only, which is left out.
    requests = [*active.plug(port, 0), *routed6.near_end(port, active.place.node_ip6)]
    if active.is_bridged and link.master != active.place.bridge:
        settings = [request for request in requests if request.kind == netlink.SETLINK]
        through.send([links.set_master(link.index, active.place.bridge, link.name), *settings])
        found.append(f"{link.name} as a port of its bridge")
    return [f"{port.wanted.name}: {words}" for words in (*found, *missing(through, requests))]


def far_end(through: Socket, port: Port, *, ipv6: bool) -> list[str]:
    """The pod's half; ``through`` is a socket of the pod's namespace."""
    link = kernelstate.read_link(through, port.pod_index)
    if link is None:
        return []
    found = _up(through, link) + missing(through, forwarding.pod_side(port, ipv6=ipv6))
    return [f"{port.wanted.name}: {words}" for words in found]


def devices_there(through: Socket, place: Place) -> dict[int, Link]:
    """Those of a network's own devices that exist."""
    found = {index: kernelstate.read_link(through, index) for index in place.devices}
    return {index: link for index, link in found.items() if link is not None}


def network(
    through: Socket, active: Presence, remotes: frozenset[Remote], present: Mapping[int, Link]
) -> list[str]:
    """A network's own entries and those of its remote members; its devices are there."""
    place = active.place
    found = [words for index in place.devices for words in _up(through, present[index])]
    requests = active.all_entries(remotes)
    for index in (place.vxlan, place.gateway):
        if active.is_bridged and index and present[index].master != place.bridge:
            name = present[index].name
            settings = [request for request in requests if request.kind == netlink.SETLINK]
            through.send([links.set_master(index, place.bridge, name), *settings])
            found.append(f"{name} as a port of its bridge")
    floods = [request for request in requests if request.flags & netlink.APPEND]
    found += missing(through, [request for request in requests if not request.flags & netlink.APPEND])
    return found + (_missing_floods(through, place, floods, remotes) if floods else [])


def places(
    attachments: Iterable[Attachment], actives: Mapping[int, Place], present: Mapping[int, Link]
) -> Places:
    """Whose what is."""
    containers: dict[int, str] = {}
    names: dict[str, int | str] = {}
    pods: dict[int, str] = {}
    for attachment in attachments:
        for port in attachment.ports:
            containers |= dict.fromkeys(port.node_devices, attachment.container_id)
            names[port.host_name] = attachment.container_id
            link = present.get(port.host_index)
            if link is not None and link.nsid >= 0:
                pods[link.nsid] = attachment.container_id
        names |= {device.nic.name: attachment.container_id for device in attachment.devices}
    names |= {place.vxlan_name: vni for vni, place in actives.items()}
    return Places(
        containers,
        {index: vni for vni, place in actives.items() for index in place.devices},
        {table: vni for vni, place in actives.items() for table in place.tables},
        names,
        frozenset(vni for vni, place in actives.items() if place.network.services or place.network.confined),
        pods,
        next((place.underlay.index for place in actives.values() if place.is_underlaid), 0),
        frozenset(vni for vni, place in actives.items() if place.is_underlaid),
    )


def _missing_floods(
    through: Socket, place: Place, requests: Sequence[Request], remotes: frozenset[Remote]
) -> list[str]:
    """The nodes that what is flooded goes to: one entry with many ends, which EXCL can't tell apart."""
    there = {
        entry.node
        for entry in kernelstate.read_forwarding(through)
        if entry.device == place.vxlan and entry.own and entry.mac == addressing.FLOOD_MAC
    }
    gone = {remote.node_ip for remote in remotes} - there
    again = [request for request in requests if any(request.what.endswith(f" {node}") for node in gone)]
    through.send(again)
    return [request.what for request in again]


def _up(through: Socket, link: Link) -> list[str]:
    if link.up:
        return []
    request = links.set_up(link.index, link.name)
    through.send([request])
    return [request.what]


def _is_neighbour(request: Request) -> bool:
    return request.kind == netlink.NEWNEIGH and request.body[0] in (socket.AF_INET, socket.AF_INET6)


def _has_neighbour(through: Socket, request: Request) -> bool:
    """Whether an address is known for good: one that was deleted in use stays for a while, as failed."""
    family, index = request.body[0], struct.unpack_from("=i", request.body, 4)[0]
    address = dict(netlink.attributes(request.body[12:]))[_NDA_DST]
    flags = addressing.NTF_PROXY if _is_proxy(request) else 0
    asked = struct.pack("=BBHiHBB", family, 0, 0, index, 0, flags, 0) + netlink.attribute(_NDA_DST, address)
    found = through.get(netlink.GETNEIGH, asked)
    if found is None or flags:
        return found is not None
    return bool(struct.unpack_from("=H", found, 8)[0] & _NUD_PERMANENT)


def _is_proxy(request: Request) -> bool:
    return _is_neighbour(request) and bool(request.body[10] & addressing.NTF_PROXY)


def _only_if_absent(request: Request) -> Request:
    flags = request.flags & ~(netlink.REPLACE | netlink.APPEND) | netlink.CREATE | netlink.EXCL
    return replace(request, flags=flags, tolerated=frozenset())
