"""The node's device on the underlay: the one that has its address."""

from __future__ import annotations

from multinet.vrouter import kernelstate
from multinet.vrouter.datapath import DatapathError
from multinet.vrouter.netlink import Socket


def device_of(node_ip: str, through: Socket) -> tuple[int, str]:
    """Ifindex and name of the device with that address; ``DatapathError`` when none has it."""
    for index, cidr in kernelstate.read_addresses(through):
        if cidr.partition("/")[0] == node_ip:
            return index, kernelstate.read_links(through)[index].name
    raise DatapathError(
        f"this node does not have the address {node_ip}",
        next_step="start the agent with the --node-ip of its underlay device",
    )
