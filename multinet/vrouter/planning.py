"""What an interface will be called on the node, and which wishes no data path of this kind can meet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from ipaddress import ip_network

from multinet.vrouter import routed6
from multinet.vrouter.datapath import BRIDGED, ROUTED, Attachment, DatapathError, Network, Wanted


def host_name(pod_uid: str, index: int) -> str:
    """The name of the node's end of a pod's interface: at most 15 characters, unique on the node."""
    return f"{host_prefix(pod_uid)}-{index}"


def host_prefix(pod_uid: str) -> str:
    """What the names of the node's ends of a pod's interfaces begin with, up to the last hyphen."""
    return f"tap{_short(pod_uid)}"


def refuse_routed_ipv6(wanted: Wanted) -> None:
    """``DatapathError`` for an IPv6 address in a routed network that has none."""
    if (
        wanted.network.mode == ROUTED
        and not routed6.is_dual(wanted.network)
        and any(":" in cidr for cidr in wanted.addresses)
    ):
        raise DatapathError(
            f"interface {wanted.name} asks for an IPv6 address in a routed network of IPv4 only",
            next_step=f"set forwardingMode {BRIDGED} on networks with IPv6 subnets",
        )


def refuse_second_routed(network: Network, others: Iterable[Network]) -> None:
    """Two routed networks in the main table would not be isolated; the cluster has one of that kind."""
    main = [other.vni for other in others if other.mode == ROUTED and not other.confined]
    if network.mode == ROUTED and not network.confined and main:
        raise DatapathError(
            f"network VNI {network.vni} can't be in this node's main table: network VNI {main[0]} is",
            next_step="delete one of the two default networks",
        )


def refuse_underlay(network: Network, block: str) -> None:
    """``DatapathError`` for a network of the underlay that has the nodes' own addresses."""
    for each in network.underlay_blocks:
        if block and ip_network(each).overlaps(ip_network(block)):
            raise DatapathError(
                f"network VNI {network.vni} can't be routed in the underlay",
                why=f"its block {each} overlaps with the nodes' own, {block}",
                next_step="give the network another block, or switch ip_fabric_forwarding off",
            )


def refuse_large_mtu(wanted: Wanted, largest: int) -> None:
    """``DatapathError`` for an MTU that the underlay does not carry."""
    if wanted.mtu > largest:
        raise DatapathError(
            f"interface {wanted.name} asks for MTU {wanted.mtu}, the underlay has {largest} at most",
            next_step="ask for a smaller MTU, or raise the MTU of the underlay",
        )


def _short(pod_uid: str) -> str:
    if re.match(r"[0-9a-f]{8}(-|$)", pod_uid):
        return pod_uid[:8]
    return hashlib.sha256(pod_uid.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def attach_failed(attachment: Attachment, error: Exception) -> DatapathError:
    """The error of an attachment that could not be made, with its cause in words."""
    if isinstance(error, DatapathError):
        return error
    return DatapathError(
        f"the interfaces of pod {attachment.pod} could not be made; none of them is left",
        why=str(error),
        next_step="remove what is in the way (an interface of that name?) and let the kubelet try again",
    )
