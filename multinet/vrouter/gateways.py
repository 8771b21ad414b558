"""Gateway and DNS address of bridged networks: they answer on every node, and lead nowhere.

All gateways of a node live in one network namespace of its own (``/run/netns/gateways-<node address>``), with
a port in each network that has members here. The kernel answers ARP, neighbour discovery and echo requests
there, also while the agent is away. Nothing is forwarded, and the node's own stack is not in it: the gateway
is no way out of its network, unless the network asks for one (:mod:`multinet.vrouter.fabric`).
``ip netns exec gateways-... ip addr`` shows it.

Networks may overlap, so ports have equal addresses. A packet is marked with the ifindex of its port; the
answer carries the mark of the question (``fwmark_reflect``) and is routed by it. What is not for the port's
own addresses is dropped, or one network could ask for the gateway of another.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Protocol

from multinet.vrouter import addressing, links, netlink, netns, nft, nftsets
from multinet.vrouter.datapath import BRIDGED, GATEWAY_MAC, DatapathError, Network
from multinet.vrouter.fabric import FabricExit
from multinet.vrouter.forwarding import Place
from multinet.vrouter.nameservice import NameService
from multinet.vrouter.netlink import Request
from multinet.vrouter.nftsets import Elements, concatenated, index_key

TABLE = "multinet_gateways"
_INET = 1
_PRIORITY = 1000
_FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE = 6, 10, 15
_TO_TABLE = 1
# Above what the kernel gives by itself.
_FAR_INDEX = 0x1000_0000
_SETTINGS = {
    "ipv4/fwmark_reflect": "1",
    "ipv4/ip_forward": "0",
    "ipv4/conf/all/arp_ignore": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/icmp_ratelimit": "0",
    "ipv6/fwmark_reflect": "1",
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/addr_gen_mode": "1",
    "ipv6/conf/default/disable_ipv6": "0",
}
_SCRIPT = f"""
add table inet {TABLE}
add chain inet {TABLE} prerouting {{ type filter hook prerouting priority -300; policy accept; }}
flush chain inet {TABLE} prerouting
table inet {TABLE} {{
  map marks {{ type iface_index : mark; }}
  set own4 {{ type iface_index . ipv4_addr; }}
  set own6 {{ type iface_index . ipv6_addr; }}
  set fabric {{ type iface_index; }}
  chain prerouting {{
    iifname != "gw-*" accept
    meta mark set iif map @marks
    iif . ip daddr @own4 accept
    iif . ip6 daddr @own6 accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iif @fabric meta nfproto ipv4 accept
    drop
  }}
}}
"""
_log = logging.getLogger(__name__)


class Gateways(Protocol):
    """The gateways of a node's bridged networks."""

    def serves(self, network: Network) -> bool:
        """Whether a network is to have a port for its gateway here."""

    def port(self, place: Place) -> list[Request]:
        """The node's half of that port, a bridge port."""

    def open(self, place: Place) -> None:
        """Have the other half answer; ``DatapathError`` or ``NetlinkError`` on failure."""

    def leave(self, place: Place) -> None:
        """Undo what does not vanish with the port."""

    @property
    def place(self) -> int | None:
        """A descriptor of their network namespace; None where there is none."""

    @property
    def own_port(self) -> int:
        """The netlink port ID by which changes of their nft sets are known; 0 where there are none."""

    def restore(self) -> bool:
        """Make all rules again; False where there are none."""

    @property
    def names(self) -> frozenset[str]:
        """Devices on the node that belong to no network alone."""

    def close(self) -> None:
        """Release what this process holds; the kernel goes on answering."""


class NoGateways:
    """What there is where the namespace can't be made."""

    place = None
    own_port = 0

    def serves(self, network: Network) -> bool:
        """None has one."""
        del network
        return False

    def port(self, place: Place) -> list[Request]:
        """Nothing to make."""
        del place
        return []

    def open(self, place: Place) -> None:
        """Nothing to do."""

    def leave(self, place: Place) -> None:
        """Nothing is there."""

    def restore(self) -> bool:
        """Nothing to make."""
        return False

    @property
    def names(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def close(self) -> None:
        """Nothing is held."""


class KernelGateways:
    """The namespace at ``path``, made if it is not there; ``node`` is a descriptor of the node's."""

    def __init__(self, path: str, node: int, node_ip: str, underlay: str) -> None:
        self._netns = netns.kept(path)
        self._open: dict[int, Network] = {}
        self._exit = FabricExit(self._netns, node, node_ip, underlay)
        try:
            with netns.entered(self._netns):
                netns.write_settings(_SETTINGS)
                self._socket = netlink.Socket()
                self._sets = nftsets.Sets()
            nft.apply(_SCRIPT, inside=self._netns)
            self._socket.send([links.set_up(1, "lo")])
            with netns.entered(self._netns):
                self._names = NameService()
        except BaseException:
            os.close(self._netns)
            raise

    def serves(self, network: Network) -> bool:
        """Each bridged network that has such addresses."""
        return network.mode == BRIDGED and bool(network.services)

    def port(self, place: Place) -> list[Request]:
        """A veth from the bridge into the namespace; frames to the gateway's MAC go there only."""
        if not place.gateway:
            return []
        peer = links.Peer(place.gateway_name, mark_of(place.network), GATEWAY_MAC, self._netns)
        name = place.gateway_name
        return [
            links.veth(name, place.gateway, peer, mtu=place.mtu, group=place.group, master=place.bridge),
            addressing.station(place.gateway, GATEWAY_MAC),
            links.bridge_port(place.gateway, name, learning=False, unicast_flood=False),
            links.set_alias(place.gateway, f"multinet gateway of network VNI {place.network.vni}"),
        ]

    def open(self, place: Place) -> None:
        """Addresses, the way back, and what the port answers to."""
        network, index = place.network, mark_of(place.network)
        requests = [links.set_up(index, place.gateway_name)]
        requests += [
            addressing.address(index, f"{service}/{128 if ':' in service else 32}", shared=True)
            for service in network.services
        ]
        for family, everything in _families(network):
            requests.append(addressing.route(everything, index, table=index))
            requests.append(_rule(netlink.NEWRULE, family, index))
        self._socket.send(requests)
        self._sets.add(_elements(network))
        self._open[network.vni] = network
        if network.fabric_snat:
            self._exit.open(place)

    def leave(self, place: Place) -> None:
        """Rules and set elements; addresses and routes went with the port."""
        index = mark_of(place.network)
        self._open.pop(place.network.vni, None)
        self._socket.send([_rule(netlink.DELRULE, family, index) for family, _ in _families(place.network)])
        self._sets.remove(_elements(place.network))
        if place.network.fabric_snat:
            self._exit.leave(place)

    @property
    def place(self) -> int | None:
        """The namespace at the path."""
        return self._netns

    @property
    def own_port(self) -> int:
        """Of the socket for set elements."""
        return self._sets.port

    def restore(self) -> bool:
        """Between the two steps nothing is answered."""
        nft.apply(f"add table inet {TABLE}\ndelete table inet {TABLE}\n{_SCRIPT}", inside=self._netns)
        for network in self._open.values():
            self._sets.add(_elements(network))
        self._exit.restore()
        return True

    @property
    def names(self) -> frozenset[str]:
        """Of the way out to the nodes' network."""
        return self._exit.names

    def close(self) -> None:
        """Close the sockets; the namespace stays."""
        self._names.close()
        self._sets.close()
        self._socket.close()
        os.close(self._netns)


def make(node: int, node_ip: str, underlay: str) -> Gateways:
    """The gateways of the node with that address, on that device; ``node`` is open at its namespace."""
    why = nft.lack()
    if not why:
        try:
            return KernelGateways(path_of(node_ip), node, node_ip, underlay)
        except (DatapathError, netlink.NetlinkError, OSError) as error:
            why = str(error)
    _log.warning("gateways of bridged networks do not answer on this node: %s", why)
    return NoGateways()


def path_of(node_ip: str) -> str:
    """Where the namespace of a node's gateways is."""
    return f"/run/netns/gateways-{node_ip}"


def mark_of(network: Network) -> int:
    """The port's ifindex in the namespace, and with it its mark and its table."""
    return _FAR_INDEX + network.vni


def _families(network: Network) -> Iterator[tuple[int, str]]:
    if any(":" not in service for service in network.services):
        yield socket.AF_INET, "0.0.0.0/0"
    if any(":" in service for service in network.services):
        yield socket.AF_INET6, "::/0"


def _rule(kind: int, family: int, index: int) -> Request:
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    body += netlink.u32(_FRA_PRIORITY, _PRIORITY) + netlink.u32(_FRA_FWMARK, index)
    body += netlink.u32(_FRA_TABLE, index)
    added = kind == netlink.NEWRULE
    flags = netlink.CREATE | netlink.EXCL if added else 0
    what = f"{'add' if added else 'delete'} the rule of mark {index:#x}"
    return Request(kind, flags, body, what, addressing.THERE if added else addressing.GONE)


def _elements(network: Network) -> Iterable[Elements]:
    key = index_key(mark_of(network))
    yield Elements(_INET, TABLE, "marks", (key,), (struct.pack("=I", mark_of(network)),))
    if network.fabric_snat:
        yield Elements(_INET, TABLE, "fabric", (key,))
    for name, length in (("own4", 4), ("own6", 16)):
        packed = [netlink.packed(service) for service in network.services]
        keys = tuple(concatenated(key, address) for address in packed if len(address) == length)
        if keys:
            yield Elements(_INET, TABLE, name, keys)
