"""The node's device on the underlay: the one that has its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_interface

from multinet.vrouter import kernelstate
from multinet.vrouter.datapath import DatapathError
from multinet.vrouter.netlink import Socket

_VXLAN_OVERHEAD = 50


@dataclass(frozen=True, slots=True)
class Underlay:
    """``name`` and ``block`` are the device's and of its address; ``mtu`` is what is left of it for pods.

    ``block6`` is that of the node's IPv6 address, empty for none.
    """

    name: str
    block: str
    mtu: int
    index: int = 0
    block6: str = ""


def find(
    node_ip: str,
    device: str,
    present: Mapping[int, kernelstate.Link],
    through: Socket,
    node_ip6: str = "",
) -> Underlay:
    """The device that has that address, which must be ``device`` unless that is ``auto``."""
    held = kernelstate.read_addresses(through)
    block6 = next(
        (str(ip_interface(each).network) for _, each in held if each.partition("/")[0] == node_ip6), ""
    )
    for index, cidr in held:
        link = present.get(index)
        if link and cidr.partition("/")[0] == node_ip and device in ("auto", link.name):
            block, mtu = str(ip_interface(cidr).network), link.mtu - _VXLAN_OVERHEAD
            return Underlay(link.name, block, mtu, index, block6)
    where = "any device" if device == "auto" else f"device {device}"
    raise DatapathError(
        f"this node does not have the address {node_ip} on {where}",
        next_step="start the agent with the --node-ip of its underlay device",
    )


def device_of(node_ip: str, through: Socket) -> tuple[int, str]:
    """Ifindex and name of the device with that address; ``DatapathError`` when none has it."""
    for index, cidr in kernelstate.read_addresses(through):
        if cidr.partition("/")[0] == node_ip:
            return index, kernelstate.read_links(through)[index].name
    raise DatapathError(
        f"this node does not have the address {node_ip}",
        next_step="start the agent with the --node-ip of its underlay device",
    )
