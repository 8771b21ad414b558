"""IPv6 in pods' own networks, the cluster's and isolated ones: routed as IPv4 is, with neighbour discovery.

That has no proxy for a whole block, so pods are told that no other pod is on their link: an address comes
without a route to its block, and all of that leads to the gateway, which the node's end of the interface is.
Nodes are each other's next hops by link-local addresses that their IPv4 addresses give. These are on no
device; the VXLAN device is told which MACs they have.

Tunnels are IPv4. A node that has an IPv6 address of its own in the underlay speaks to pods from it, and pods
of all nodes reach it there. Without one, it meets its own pods alone, at the gateway's address.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address, ip_interface

from multinet.vrouter import addressing, netns, rules
from multinet.vrouter.datapath import ROUTED, Network, Port
from multinet.vrouter.netlink import Request, Socket


def is_dual(network: Network) -> bool:
    """Whether this is a network of pods' own, the cluster's or an isolated namespace's, and has IPv6."""
    routed = network.mode == ROUTED and not network.underlay_blocks
    return routed and any(":" in each for each in network.services)


def next_hop(node_ip: str) -> str:
    """A node's name on the VXLAN device: the link-local address ``fe80::56:<its IPv4 address>``."""
    high, low = divmod(int(IPv4Address(node_ip)), 1 << 16)
    return f"fe80::56:{high:x}:{low:x}"


def prepare(node: int) -> None:
    """Have the node route IPv6; ``node`` is a descriptor of its network namespace."""
    with netns.entered(node):
        netns.write_settings({"ipv6/conf/lo/disable_ipv6": "0", "ipv6/conf/all/forwarding": "1"})


def enable(node: int, devices: Iterable[str]) -> None:
    """Have IPv6 on devices of the node, without addresses of the kernel's choice."""
    with netns.entered(node):
        for name in devices:
            conf = f"ipv6/conf/{name}"
            settings = {"accept_ra": "0", "addr_gen_mode": "1", "disable_ipv6": "0"}
            netns.write_settings({f"{conf}/{key}": value for key, value in settings.items()})


def plug(through: Socket, node: int, ports: Iterable[Port], node_ip: str) -> None:
    """Make the node's half of interfaces that are there already; ``node_ip`` is its IPv6 address or empty."""
    dual = [port for port in ports if is_dual(port.wanted.network)]
    if dual:
        enable(node, (port.host_name for port in dual))
        through.send([request for port in dual for request in near_end(port, node_ip)])


def near_end(port: Port, node_ip: str) -> list[Request]:
    """The gateway's address on the node's end, which answers for it, and the way to the pod."""
    requests: list[Request] = []
    for cidr, gateway in _addresses(port):
        address = cidr.partition("/")[0]
        requests += [
            addressing.address(port.host_index, f"{gateway}/128", shared=True),
            addressing.neighbour(port.host_index, address, port.wanted.mac),
        ]
        requests += [
            addressing.route(f"{address}/128", port.host_index, source=node_ip, table=table)
            for table in rules.tables_of(port.wanted.network)
        ]
    return requests


def far_end(port: Port) -> list[Request]:
    """The pod's half: addresses, and the way to the rest of their block."""
    requests: list[Request] = []
    for cidr, gateway in _addresses(port):
        requests += [
            addressing.address(port.pod_index, cidr, on_link=False),
            addressing.route(f"{gateway}/128", port.pod_index),
            addressing.route(str(ip_interface(cidr).network), port.pod_index, via=gateway),
        ]
    return requests


def _addresses(port: Port) -> list[tuple[str, str]]:
    """IPv6 addresses of an interface, each with the gateway of its block."""
    if not is_dual(port.wanted.network):
        return []
    found = []
    for cidr in port.wanted.addresses:
        block = ip_interface(cidr).network
        gateways = [each for each in port.wanted.network.services if ip_address(each) in block]
        if ":" in cidr and gateways:
            found.append((cidr, gateways[0]))
    return found
