"""Spare NICs of the node: moved into a pod, and moved back when it ends, as they were before.

While a NIC is away its alias says what it is on the node and which container has it. It is written before
the move and taken away after the return, so an agent that ends in between leaves a NIC that tells where it
belongs; which namespace to look into, state files and the marks of the pod's other interfaces tell
(:mod:`multinet.vrouter.marks`). Moving takes some 18 ms, in which the kernel waits and the agent with it.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator

from multinet.vrouter import forwarding, kernelstate, links, mending, netns
from multinet.vrouter.datapath import (
    Attachment,
    DatapathError,
    Device,
    DeviceBusyError,
    NetnsError,
    Nic,
    Wanted,
)
from multinet.vrouter.kernelstate import Link
from multinet.vrouter.marks import short_id
from multinet.vrouter.netlink import NetlinkError, Socket
from multinet.vrouter.removal import is_ours

_LENT = re.compile(r"multinet nic (\S+) ([0-9a-f:]+) ([0-9]+) (up|down); (\S+)")
_log = logging.getLogger(__name__)


class Nics:
    """The spare NICs of the network namespace that ``node`` and ``own`` (a descriptor) are of."""

    def __init__(self, node: Socket, own: int) -> None:
        self._node = node
        self._own = own

    def plan(
        self, wanted: Wanted, container_id: str, path: str, others: Iterable[Attachment], underlay: str
    ) -> Device:
        """How the NIC is now; ``DeviceBusyError`` while one of ``others`` has it, else ``DatapathError``.

        A NIC that the container has already, in the namespace at ``path``, is planned as it was before.
        """
        _refuse_taken(wanted, container_id, others)
        link = kernelstate.find_link(self._node, wanted.device)
        if link is not None:
            self._refuse_used(link, wanted, underlay)
            lent = _lent(link)
            return Device(wanted, lent[0] if lent else Nic(link.name, link.mac, link.mtu, link.up))
        with _inside(path) as inside:
            for _, nic in _lent_to(container_id, inside):
                if nic.name == wanted.device:
                    return Device(wanted, nic)
        raise DatapathError(
            f"this node has no device {wanted.device}, which interface {wanted.name} is to be",
            next_step="run the pod on a node that has it, or correct the annotation of the NAD",
        )

    def lend(
        self, attachment: Attachment, devices: Iterable[Device], others: Iterable[Attachment], *, ipv6: bool
    ) -> None:
        """Move NICs into the pod and set them up there; on failure :meth:`recall` takes them back."""
        others = tuple(others)
        for device in devices:
            _refuse_taken(device.wanted, attachment.container_id, others)
            link = kernelstate.find_link(self._node, device.nic.name)
            if link is None:
                raise DatapathError(f"the device {device.nic.name} is not on this node any more")
            wanted = device.wanted
            with netns.opened(attachment.netns) as pod, _inside(attachment.netns) as inside:
                assert inside is not None
                self._node.send([links.set_alias(link.index, _alias(device.nic, attachment.container_id))])
                self._node.send([links.move(link.index, pod, wanted.name, mac=wanted.mac, mtu=device.mtu)])
                moved = kernelstate.find_link(inside, wanted.name)
                if moved is None:
                    raise DatapathError(f"the device {device.nic.name} did not arrive in the pod")
                end = device.inside(moved.index)
                with netns.entered(pod):
                    netns.write_settings(forwarding.pod_settings(end))
                inside.send(forwarding.pod_side(end, ipv6=ipv6))

    def recall(self, container_id: str, path: str) -> None:
        """Have all NICs back that the container has in the namespace at ``path``, if there is one.

        ``DatapathError`` when one can't come back.
        """
        with _inside(path) as inside:
            for link, nic in _lent_to(container_id, inside):
                assert inside is not None
                try:
                    inside.send([links.move(link.index, self._own, nic.name, mac=nic.mac, mtu=nic.mtu)])
                except NetlinkError as error:
                    raise DatapathError(
                        f"the NIC {nic.name} can't come back from its pod",
                        why=str(error),
                        next_step=f"see what else is called {nic.name} on the node, and rename it",
                    ) from error
        self.settle()

    def settle(self) -> None:
        """Make NICs of the node that still say they are lent what they were before."""
        for link in kernelstate.read_links(self._node).values():
            lent = _lent(link)
            if lent is not None:
                _log.info("the NIC %s is back", link.name)
                # What comes to the node anew has the settings that the node has for ports of ours.
                silent = links.inet_conf(link.index, link.name, {links.PROXY_ARP: 0})
                self._node.send([silent, links.settle(link.index, link.name, up=lent[0].up)])

    def mend(self, attachment: Attachment, inside: Socket, *, ipv6: bool) -> list[str]:
        """Make again what is missing, in words. A NIC that is on the node again goes back to its pod."""
        found = []
        for device in attachment.devices:
            link = kernelstate.find_link(inside, device.wanted.name)
            if link is not None:
                found += mending.far_end(inside, device.inside(link.index), ipv6=ipv6)
            elif kernelstate.find_link(self._node, device.nic.name) is not None:
                self.lend(attachment, [device], (), ipv6=ipv6)
                found.append(f"{device.wanted.name}: the NIC {device.nic.name}")
        return found

    def _refuse_used(self, link: Link, wanted: Wanted, underlay: str) -> None:
        why = ""
        if link.index == 1 or is_ours(link.group):
            why = "it is no NIC of the node"
        elif link.name == underlay:
            why = "it has the node's own address"
        elif link.master:
            why = "it is a port of another device"
        elif any(
            index == link.index and not cidr.startswith("fe80:")
            for index, cidr in kernelstate.read_addresses(self._node)
        ):
            why = "it has addresses on the node"
        if why:
            raise DatapathError(
                f"the device {link.name}, which interface {wanted.name} is to be, is not spare: {why}",
                next_step="name a NIC that the node does not use, or take its addresses away",
            )


@contextlib.contextmanager
def _inside(path: str) -> Iterator[Socket | None]:
    """A socket of the namespace at ``path``; None where that is gone, and all that was in it."""
    try:
        with netns.opened(path) as pod, netns.entered(pod):
            through = Socket()
    except NetnsError:
        yield None
        return
    with contextlib.closing(through):
        yield through


def _refuse_taken(wanted: Wanted, container_id: str, others: Iterable[Attachment]) -> None:
    for other in others:
        if other.container_id != container_id and any(
            device.nic.name == wanted.device for device in other.devices
        ):
            raise DeviceBusyError(
                f"the NIC {wanted.device} of this node is pod {other.pod}'s",
                why="a NIC is one pod's at a time",
                next_step=f"delete pod {other.pod}, and this one starts",
            )


def _alias(nic: Nic, container_id: str) -> str:
    state = "up" if nic.up else "down"
    return f"multinet nic {nic.name} {nic.mac} {nic.mtu} {state}; {short_id(container_id)}"


def _lent(link: Link) -> tuple[Nic, str] | None:
    """A NIC as it is on the node, and the container that has it; None for all other devices."""
    found = _LENT.fullmatch(link.alias)
    if found is None:
        return None
    name, mac, mtu, state, container = found.groups()
    return Nic(name, mac, int(mtu), state == "up"), container


def _lent_to(container_id: str, inside: Socket | None) -> list[tuple[Link, Nic]]:
    if inside is None:
        return []
    found = [(link, _lent(link)) for link in kernelstate.read_links(inside).values()]
    return [(link, lent[0]) for link, lent in found if lent is not None and lent[1] == short_id(container_id)]
