"""CHECK: whether the kernel still has what an attachment says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from multinet.vrouter import kernelstate, netns, shaping
from multinet.vrouter.datapath import Attachment, DatapathError, Port
from multinet.vrouter.netlink import Socket
from multinet.vrouter.removal import is_ours


def problems(attachment: Attachment, node: Socket, masters: Mapping[int, int]) -> tuple[str, ...]:
    """What is missing or different, in words. ``masters``: the bridge's ifindex of each VNI, 0 for none.

    Additions by others (another address, another route) are none of our business (CNI "CHECK").
    """
    found: list[str] = []
    present = kernelstate.read_links(node)
    for port in attachment.ports:
        found += _near(port, present, masters.get(port.wanted.network.vni, -1))
    found += shaping.problems(attachment.ports, node)
    try:
        with netns.opened(attachment.netns) as descriptor, netns.entered(descriptor):
            inside = Socket()
    except DatapathError as error:
        return (*found, str(error))
    try:
        far = kernelstate.read_links(inside)
        addresses = kernelstate.read_addresses(inside)
        routes = {
            (route.destination, route.gateway, route.device) for route in kernelstate.read_routes(inside)
        }
    finally:
        inside.close()
    for port in (*attachment.ports, *(device.inside(0) for device in attachment.devices)):
        found += _far(port, far, addresses, routes)
    return tuple(found)


def _near(port: Port, present: Mapping[int, kernelstate.Link], master: int) -> Iterator[str]:
    link = present.get(port.host_index)
    if link is None or not is_ours(link.group):
        yield f"{port.wanted.name}: its end on the node, {port.host_name}, is gone"
        return
    if not link.up:
        yield f"{port.wanted.name}: its end on the node, {link.name}, is down"
    if link.master != master:
        yield f"{port.wanted.name}: its end on the node, {link.name}, left its network"


def _far(
    port: Port,
    present: Mapping[int, kernelstate.Link],
    addresses: set[tuple[int, str]],
    routes: set[tuple[str, str, int]],
) -> Iterator[str]:
    wanted = port.wanted
    link = next((each for each in present.values() if each.name == wanted.name), None)
    if link is None:
        yield f"{wanted.name}: the pod has no such interface"
        return
    if link.mac != wanted.mac:
        yield f"{wanted.name}: its MAC is {link.mac}, not {wanted.mac}"
    if link.mtu != port.mtu:
        yield f"{wanted.name}: its MTU is {link.mtu}, not {port.mtu}"
    if not link.up:
        yield f"{wanted.name}: it is down"
    for cidr in wanted.addresses:
        if (link.index, cidr) not in addresses:
            yield f"{wanted.name}: its address {cidr} is gone"
    for gateway in wanted.gateways:
        everything = "::/0" if ip_address(gateway).version == 6 else "0.0.0.0/0"
        if (everything, gateway, link.index) not in routes:
            yield f"{wanted.name}: the default route via {gateway} is gone"
