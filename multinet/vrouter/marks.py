"""What the node's end of a pod's interface says of itself: its alias, which ``ip link`` shows.

It is the second copy of a state file. An agent that finds its files damaged or gone still knows which
container a device belongs to, and whether the container is to keep it (:mod:`multinet.vrouter.rebuilding`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from multinet.vrouter import netns
from multinet.vrouter.datapath import Attachment, Port, Stray, shaper_name
from multinet.vrouter.kernelstate import Link
from multinet.vrouter.removal import is_ours

_BEGIN = "multinet pod "
# What the kernel keeps of an alias (IFALIASZ, less the final NUL).
_LIMIT = 255
_LONGEST_ID = 128


def short_id(container_id: str) -> str:
    """A container ID, or what stands for one that is too long for a file's name or an alias."""
    if len(container_id) <= _LONGEST_ID:
        return container_id
    return hashlib.sha256(container_id.encode()).hexdigest()


def alias_of(attachment: Attachment, port: Port) -> str:
    """``multinet pod NAMESPACE/NAME eth1; CONTAINER NETWORK NETNS``; a long pod name is cut."""
    kept = f"; {short_id(attachment.container_id)} {attachment.cni_network} {attachment.netns}"
    shown = f"{_BEGIN}{attachment.pod} {port.wanted.name}".encode()
    room = _LIMIT - len(kept.encode())
    if room < len(_BEGIN):
        return shown[:_LIMIT].decode(errors="ignore")
    return shown[:room].decode(errors="ignore") + kept


def stray_of(link: Link) -> Stray | None:
    """A device by its alias; None when that is not one of ours, or had no room."""
    shown, semicolon, kept = link.alias.partition("; ")
    parts = kept.split(" ", 2)
    if not shown.startswith(_BEGIN.rstrip()) or not semicolon or len(parts) != 3 or not parts[0]:
        return None
    return Stray(link.index, link.name, link.mtu, *parts)


def strays(present: Mapping[int, Link], taken: Collection[int], doomed: Collection[str]) -> set[Stray]:
    """Devices that are to be left alone although no state file names them.

    A workload without Kubernetes is made anew from its object; what it has is no stray.
    """
    return {
        stray
        for link in present.values()
        if is_ours(link.group) and link.index not in taken and (stray := stray_of(link)) is not None
        if stray.container not in doomed and not stray.container.startswith("vmi-")
    }


def places_of(attachment: Attachment, present: Mapping[int, Link]) -> Attachment:
    """The attachment with the ifindexes and MTUs of those of its devices that are there by their names."""
    by_name = {link.name: link for link in present.values() if is_ours(link.group)}
    ports = []
    for port in attachment.ports:
        if (link := by_name.get(port.host_name)) is not None:
            port = replace(port, host_index=link.index, mtu=link.mtu)
        if (link := by_name.get(port.shaper_name)) is not None:
            port = replace(port, shaper_index=link.index)
        ports.append(port)
    return replace(attachment, ports=tuple(ports))


def is_there(port: Port, ours: Mapping[int, Link]) -> bool:
    """Whether the node's end of an interface is among ``ours`` by index and name."""
    link = ours.get(port.host_index)
    return link is not None and link.name == port.host_name


def has_place(attachment: Attachment, ours: Mapping[int, Link]) -> bool:
    """Whether any interface is left, or the namespace in which it can be made again."""
    return any(is_there(port, ours) for port in attachment.ports) or bool(netns.inode_of(attachment.netns))


def devices_of(strays: Iterable[Stray], present: Mapping[int, Link]) -> set[int]:
    """The ifindexes of strays, and of the devices that what they send was led through."""
    names = {stray.name for stray in strays}
    names |= {shaper_name(name) for name in names}
    return {link.index for link in present.values() if link.name in names and is_ours(link.group)}
