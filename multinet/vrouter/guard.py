"""Port security: what a pod sends carries its own MAC and its own addresses, or goes nowhere.

Each interface may use its MAC and those addresses that its pod has in that network: as IP source, as ARP
sender, and as target of a neighbour advertisement. Checked where a frame enters the node, bridged interfaces
in the ``bridge`` family, routed ones in ``ip``, ``ip6`` and ``arp``. Chains and sets are made once, when the
agent starts; a pod costs one transaction of set elements (:mod:`multinet.vrouter.nftsets`), keyed by the
ifindex of the node's end, which is never used again. The rules outlive the agent; one that starts replaces
them at once.

Two more things are kept here, being about the same ports: no pod sends VXLAN to a node's own UDP port (it
would get frames into any network), and nothing of a bridged network gets to the node's own stack.

Without nft all of it is missing: that is said once, ``./lab doctor`` names it, and traffic goes on unguarded.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Protocol

from multinet.vrouter import netns, nft, nftsets
from multinet.vrouter.datapath import BRIDGED, Attachment, DatapathError, Port
from multinet.vrouter.links import VXLAN_PORT
from multinet.vrouter.netlink import mac_bytes, packed
from multinet.vrouter.nftsets import ARP, BRIDGE, IP, IP6, Elements, concatenated, index_key
from multinet.vrouter.removal import GROUP

TABLE = "multinet_guard"
_FAMILIES = {BRIDGE: "bridge", ARP: "arp", IP: "ip", IP6: "ip6"}
_log = logging.getLogger(__name__)

_BY_MAC = "meta iif . ether saddr @macs"
_ARP_BY_MAC = f"{_BY_MAC} meta iif . arp saddr ether @macs"
_ARP_BY_ADDRESS = (
    "meta iif . ether saddr . arp saddr ip @ipv4 meta iif . arp saddr ether . arp saddr ip @ipv4"
)
# Before all that services and policies do; a frame that is refused here costs them nothing.
_SCRIPT = f"""
table bridge {TABLE} {{
  set ports {{ type iface_index; }}
  set macs {{ type iface_index . ether_addr; }}
  set ipv4 {{ type iface_index . ether_addr . ipv4_addr; }}
  set ipv6 {{ type iface_index . ether_addr . ipv6_addr; }}
  set targets {{ typeof meta iif . @th,64,128; }}
  chain prerouting {{
    type filter hook prerouting priority -310; policy accept;
    iifname != "tap*" accept
    meta iif . ether saddr . ip saddr @ipv4 accept
    meta iif @ports goto others
  }}
  chain others {{
    meta protocol ip6 goto others6
    meta protocol arp {_ARP_BY_ADDRESS} accept
    meta protocol arp arp saddr ip 0.0.0.0 {_ARP_BY_MAC} accept
    # A second VLAN tag would hide an address, and the receiving kernel looks behind one that is 0.
    meta protocol {{ ip, arp, vlan, 0x88a8 }} counter drop
    {_BY_MAC} accept
    counter drop
  }}
  chain others6 {{
    icmpv6 type nd-neighbor-advert meta iif . @th,64,128 != @targets counter drop
    meta iif . ether saddr . ip6 saddr @ipv6 accept
    ip6 saddr :: {_BY_MAC} accept
    counter drop
  }}
  chain input {{
    type filter hook input priority -310; policy accept;
    meta iifgroup {GROUP} drop
  }}
}}
table ip {TABLE} {{
  set ports {{ type iface_index; }}
  set ipv4 {{ type iface_index . ether_addr . ipv4_addr; }}
  chain prerouting {{
    type filter hook prerouting priority -310; policy accept;
    iifname != "tap*" accept
    meta iif . ether saddr . ip saddr @ipv4 accept
    meta iif @ports counter drop
  }}
  chain input {{
    type filter hook input priority -310; policy accept;
    udp dport {VXLAN_PORT} meta iifgroup {GROUP} counter drop
  }}
  chain forward {{
    type filter hook forward priority -310; policy accept;
    udp dport {VXLAN_PORT} meta iifgroup {GROUP} oifname "@UNDERLAY@" counter drop
  }}
}}
table arp {TABLE} {{
  set ports {{ type iface_index; }}
  set ipv4 {{ type iface_index . ether_addr . ipv4_addr; }}
  chain input {{
    type filter hook input priority -310; policy accept;
    {_ARP_BY_ADDRESS} accept
    meta iif @ports counter drop
  }}
}}
"""
# Routed ports with IPv6 only; on the others a node has it switched off.
_SCRIPT_IPV6 = f"""
table ip6 {TABLE} {{
  set ports {{ type iface_index; }}
  set ipv6 {{ type iface_index . ether_addr . ipv6_addr; }}
  chain prerouting {{
    type filter hook prerouting priority -310; policy accept;
    iifname != "tap*" accept
    meta iif . ether saddr . ip6 saddr @ipv6 accept
    meta iif @ports counter drop
  }}
}}
"""


class Guard(Protocol):
    """Who lets pods' interfaces in."""

    @property
    def closes_bridges(self) -> bool:
        """Whether nothing of a bridged network reaches the node's own stack, whatever its settings."""

    def admit(self, attachment: Attachment) -> None:
        """Before its interfaces are there: from their first frame on they are held to their addresses."""

    def forget(self, attachment: Attachment) -> None:
        """After its interfaces are gone."""

    def restore(self, alive: Iterable[Attachment], inside: int) -> bool:
        """Make all of it again, at once, in a namespace given as a descriptor; False where there is none."""

    @property
    def port(self) -> int:
        """The netlink port ID by which its own changes are known; 0 where it makes none."""

    def close(self) -> None:
        """Release what this process holds; the rules stay."""


class Unguarded:
    """What there is on a machine without nft."""

    closes_bridges = False
    port = 0

    def admit(self, attachment: Attachment) -> None:
        """Nothing can be checked."""

    def forget(self, attachment: Attachment) -> None:
        """Nothing is there."""

    def restore(self, alive: Iterable[Attachment], inside: int) -> bool:
        """Nothing can be made."""
        del alive, inside
        return False

    def close(self) -> None:
        """Nothing is held."""


class NftGuard:
    """The rules above, in the network namespace which is current when this is made."""

    closes_bridges = True

    def __init__(self, underlay: str, alive: Iterable[Attachment]) -> None:
        self._underlay = underlay
        nft.apply(_whole_script(underlay, alive))
        self._sets = nftsets.Sets()

    @property
    def port(self) -> int:
        """That of the socket for set elements."""
        return self._sets.port

    def restore(self, alive: Iterable[Attachment], inside: int) -> bool:
        """One transaction: there is no moment without rules, if there were any."""
        nft.apply(_whole_script(self._underlay, alive), inside=inside)
        return True

    def admit(self, attachment: Attachment) -> None:
        """One transaction; ``NftError`` when the kernel refuses it."""
        self._sets.add(_elements(attachment.ports))

    def forget(self, attachment: Attachment) -> None:
        """One transaction."""
        self._sets.remove(_elements(attachment.ports))

    def close(self) -> None:
        """Close the socket."""
        self._sets.close()


def make(underlay: str, alive: Iterable[Attachment]) -> Guard:
    """The guard of this node, holding ``alive`` to their addresses; ``underlay`` is its device's name."""
    why = nft.lack()
    if not why:
        try:
            return NftGuard(underlay, alive)
        except DatapathError as error:
            why = error.why or error.what
    _log.warning("pods' source addresses are not checked on this node: %s", why)
    return Unguarded()


def _whole_script(underlay: str, alive: Iterable[Attachment]) -> str:
    ipv6 = netns.has_ipv6()
    fresh = "".join(
        f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n"
        for family in _FAMILIES.values()
        if family != "ip6" or ipv6
    )
    listed = "".join(map(_in_words, (item for each in alive for item in _elements(each.ports))))
    return fresh + _SCRIPT.replace("@UNDERLAY@", underlay) + (_SCRIPT_IPV6 if ipv6 else "") + listed


def _elements(ports: Sequence[Port]) -> Iterator[Elements]:
    """All set elements of a pod, by set."""
    guarded = [port for port in ports if port.wanted.guarded]
    bridged = [port for port in guarded if port.wanted.network.mode == BRIDGED]
    routed = [port for port in guarded if port.wanted.network.mode != BRIDGED]
    dual = [port for port in routed if any(":" in cidr for cidr in port.wanted.addresses)]
    for family, some in ((BRIDGE, bridged), (IP, routed), (IP6, dual), (ARP, routed)):
        yield from _of_family(family, some, ports)


def _of_family(family: int, some: Sequence[Port], ports: Sequence[Port]) -> Iterator[Elements]:
    keys: defaultdict[str, list[bytes]] = defaultdict(list)
    for port in some:
        index, mac = index_key(port.host_index), mac_bytes(port.wanted.mac)
        keys["ports"].append(index)
        if family == BRIDGE:
            keys["macs"].append(concatenated(index, mac))
        for address in _addresses(port, ports):
            if len(address) == 4 and family != IP6:
                keys["ipv4"].append(concatenated(index, mac, address))
            elif len(address) == 16 and family in (BRIDGE, IP6):
                keys["ipv6"].append(concatenated(index, mac, address))
                if family == BRIDGE:
                    keys["targets"].append(concatenated(index, address))
    for name, listed in keys.items():
        yield Elements(family, TABLE, name, tuple(listed))


def _addresses(port: Port, ports: Sequence[Port]) -> list[bytes]:
    """What an interface may call itself: by the pod's addresses in its network, whichever interface has them.

    A kernel with two interfaces in one network answers for both through either.
    """
    vni = port.wanted.network.vni
    cidrs = dict.fromkeys(
        cidr for each in ports if each.wanted.network.vni == vni for cidr in each.wanted.addresses
    )
    found = [packed(cidr.partition("/")[0]) for cidr in cidrs]
    if any(len(address) == 16 for address in found):
        found.append(link_local(port.wanted.mac))
    return found


def link_local(mac: str) -> bytes:
    """The IPv6 address that a kernel gives itself by the MAC (RFC 4291, appendix A)."""
    raw = mac_bytes(mac)
    return bytes.fromhex("fe80000000000000") + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]


def _in_words(group: Elements) -> str:
    """The same elements in nft's language, to be made in one transaction with the sets."""
    listed = ", ".join(_key_in_words(group.name, key) for key in group.keys)
    return f"add element {_FAMILIES[group.family]} {TABLE} {group.name} {{ {listed} }}\n"


def _key_in_words(name: str, key: bytes) -> str:
    index, rest = str(int.from_bytes(key[:4], sys.byteorder)), key[4:]
    if name == "targets":
        return f"{index} . 0x{rest.hex()}"
    words = [index]
    if rest:
        words.append(rest[:6].hex(":"))
    if rest[8:]:
        words.append(str(ip_address(rest[8:])))
    return " . ".join(words)
