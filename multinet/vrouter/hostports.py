"""Host ports: what reaches a port of the node comes out at a pod's interface (CNI's ``portMappings``).

A mapping belongs to one interface: the runtime's to the default one, those of a network selection to theirs.
It is in force before ADD returns and goes with the attachment; two pods can't have the same port of a node.

Routed interfaces are reached straight away, by whoever reaches the node; the client's address stays, unless
the interface is of a NAD (``ip_fabric_forwarding``), whose pod would answer by its default one. A bridged
network has no way in from the node, and gets none but this: see :mod:`multinet.vrouter.portgate`. Its ports
are for clients outside and the node itself: pods of other networks are kept out.

A node with an IPv6 address has the ports of routed interfaces there as well, in a table of that family; the
way into bridged networks is of IPv4. A ``hostIP`` asks for one family alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Protocol

from multinet.model.networks import DEFAULT_POD_CIDR
from multinet.model.selected import PortMapping
from multinet.vrouter import nft, underlay
from multinet.vrouter.datapath import BRIDGED, Attachment, DatapathError, Network, Port
from multinet.vrouter.netlink import Socket
from multinet.vrouter.portgate import GATE_ADDRESS, PortGate

TABLE = "multinet-hostports"
_ANY, _ANY6 = ("", "0.0.0.0"), ("", "::")
_FAMILIES = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True)
class Published:
    """One host port of one family: ``protocol`` and ``number`` are what it is, the rest where it leads."""

    protocol: str
    number: int
    address: str
    target: int
    port: Port
    pod: str

    @property
    def key(self) -> str:
        """As nft writes it."""
        return f"{self.protocol} . {self.number}"

    @property
    def version(self) -> int:
        """The address family, 4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def network(self) -> Network:
        """The network it leads into."""
        return self.port.wanted.network

    @property
    def is_bridged(self) -> bool:
        """Whether that is a bridged one."""
        return self.network.mode == BRIDGED

    @property
    def gateway(self) -> str:
        """What stands for the client, so that a pod answers in its network of the underlay; or empty."""
        if not self.network.underlay_blocks:
            return ""
        cidr = next(each for each in self.port.wanted.addresses if each.startswith(f"{self.address}/"))
        block = ip_interface(cidr).network
        return next((each for each in self.network.services if ip_address(each) in block), "")


class Publisher(Protocol):
    """Who has host ports made."""

    def open(self, known: Iterable[Attachment]) -> None:
        """Have exactly the host ports of what is attached."""

    async def admit(self, attachment: Attachment) -> None:
        """Have the host ports of one more, all or none; ``DatapathError`` says which it can't have."""

    def dismiss(self, container_id: str) -> None:
        """Take back those of an attachment, if it has any."""

    async def restore(self, *, anyway: bool = False) -> bool:
        """Make the tables again if somebody deleted them, or ``anyway``; whether that was done."""

    def missing(self, attachment: Attachment) -> tuple[str, ...]:
        """What is not as :meth:`admit` left it, in words."""


class NoHostPorts:
    """A node that can't have any: who asks for one is refused."""

    def __init__(self, why: str) -> None:
        self._why = why

    def open(self, known: Iterable[Attachment]) -> None:
        """Nothing to make."""
        del known

    async def admit(self, attachment: Attachment) -> None:
        """Refuse, unless none is asked for."""
        for each in published(attachment):
            raise DatapathError(
                f"host port {each.number}/{each.protocol} can't be had on this node", why=self._why
            )

    def dismiss(self, container_id: str) -> None:
        """There are none."""
        del container_id

    async def restore(self, *, anyway: bool = False) -> bool:
        """There is none."""
        del anyway
        return False

    def missing(self, attachment: Attachment) -> tuple[str, ...]:
        """Nothing was made."""
        del attachment
        return ()


class HostPorts:
    """The host ports of the node with that address; ``inside`` names its network namespace for nft."""

    def __init__(
        self, node_ip: str, gate: PortGate, *, node_ip6: str = "", inside: int | None = None
    ) -> None:
        self._node_ip, self._node_ip6 = node_ip, node_ip6
        self._families = ("ip", "ip6") if node_ip6 else ("ip",)
        self._nothing = "".join(
            f"add table {each} {TABLE}\ndelete table {each} {TABLE}\n" for each in self._families
        )
        self._gate = gate
        self._inside = inside
        self._base = ""
        self._held: dict[str, tuple[Published, ...]] = {}
        self._turn = asyncio.Lock()

    def open(self, known: Iterable[Attachment]) -> None:
        """Make the tables anew, in one transaction."""
        with contextlib.closing(Socket()) as through:
            device = underlay.device_of(self._node_ip, through)[1]
        self._base = self._nothing + _table(self._node_ip, device)
        self._base += _table6(self._node_ip6, device) if self._node_ip6 else ""
        self._held = {each.container_id: found for each in known if (found := self._published(each))}
        listed = [each for found in self._held.values() for each in found]
        if listed:
            nft.apply(self._base + _elements("add", listed), inside=self._inside)
        elif any(nft.exists(each, TABLE, inside=self._inside) for each in self._families):
            nft.apply(self._nothing, inside=self._inside)
        self._gate.open([each for each in listed if each.is_bridged])

    async def admit(self, attachment: Attachment) -> None:
        """See :class:`Publisher`."""
        wanted = self._published(attachment)
        if not wanted:
            return
        async with self._turn:
            self._refuse_conflicts(wanted, attachment)
            bridged = [each for each in wanted if each.is_bridged]
            if bridged:
                self._gate.admit(bridged)
            base = "" if self._held else self._base
            self._held[attachment.container_id] = wanted
            try:
                await nft.apply_async(base + _elements("add", wanted), inside=self._inside)
            except BaseException:
                self._held.pop(attachment.container_id, None)
                if bridged:
                    self._gate.dismiss([each.key for each in bridged])
                raise

    def dismiss(self, container_id: str) -> None:
        """See :class:`Publisher`."""
        gone = self._held.pop(container_id, ())
        if not gone:
            return
        nft.apply(_elements("delete", gone) if self._held else self._nothing, inside=self._inside)
        bridged = [each.key for each in gone if each.is_bridged]
        if bridged:
            self._gate.dismiss(bridged)

    async def restore(self, *, anyway: bool = False) -> bool:
        """See :class:`Publisher`."""
        async with self._turn:
            if not self._held:
                return False
            if not anyway and all(nft.exists(each, TABLE, inside=self._inside) for each in self._families):
                return False
            # At once: between reading what is held and making it, nobody may dismiss.
            listed = [each for found in self._held.values() for each in found]
            nft.apply(self._base + _elements("add", listed), inside=self._inside)
            self._gate.restore()
        return True

    def missing(self, attachment: Attachment) -> tuple[str, ...]:
        """See :class:`Publisher`."""
        wanted = self._published(attachment)
        there = set()
        for version in {each.version for each in wanted}:
            try:
                listing = json.loads(nft.listing("table", _FAMILIES[version], TABLE, inside=self._inside))
            except DatapathError as error:
                return (f"the node's host ports are gone: {error.why}",)
            there |= {(version, key) for key in _keys(listing)}
        return tuple(
            f"host port {each.number}/{each.protocol} is gone"
            for each in wanted
            if (each.version, each.key) not in there
        )

    def _published(self, attachment: Attachment) -> tuple[Published, ...]:
        return published(attachment, ipv6=bool(self._node_ip6))

    def _refuse_conflicts(self, wanted: Sequence[Published], attachment: Attachment) -> None:
        taken = {(each.version, each.key): each for found in self._held.values() for each in found}
        for each in wanted:
            other = taken.get((each.version, each.key))
            if other is not None:
                raise DatapathError(
                    f"host port {each.number}/{each.protocol} can't be given to pod {attachment.pod}",
                    why=f"pod {other.pod} has it for its interface {other.port.wanted.name}",
                    next_step="ask for another port, or have the pod run on another node",
                )
            taken[each.version, each.key] = each
        own = [each for each in (self._node_ip, self._node_ip6) if each]
        for port in attachment.ports:
            for mapping in port.wanted.port_mappings:
                if mapping.host_ip not in (*_ANY, *_ANY6, *own):
                    raise DatapathError(
                        f"host port {mapping.host_port}/{mapping.protocol} is asked for at {mapping.host_ip}",
                        why=f"this node has host ports at {' and '.join(own)} only",
                        next_step="leave hostIP out",
                    )


def published(attachment: Attachment, *, ipv6: bool = False) -> tuple[Published, ...]:
    """The host ports of an attachment; ``DatapathError`` for an interface that none can lead to.

    ``ipv6``: the node has an address of that family.
    """
    return tuple(
        each
        for port, mapping in _mappings(attachment)
        for each in _of(port, mapping, attachment.pod, ipv6=ipv6)
    )


def _mappings(attachment: Attachment) -> Iterator[tuple[Port, PortMapping]]:
    for port in attachment.ports:
        for mapping in dict.fromkeys(port.wanted.port_mappings):
            yield port, mapping


def _of(port: Port, mapping: PortMapping, pod: str, *, ipv6: bool) -> Iterator[Published]:
    """One mapping at the node's address of each family that it is asked for and can be had at."""
    six = ipv6 and port.wanted.network.mode != BRIDGED
    given = [cidr.partition("/")[0] for cidr in port.wanted.addresses]
    found = {":" in each: each for each in reversed(given) if six or ":" not in each}
    if mapping.host_ip:
        found = {kind: each for kind, each in found.items() if kind == (":" in mapping.host_ip)}
    if not found:
        raise DatapathError(
            f"host port {mapping.host_port}/{mapping.protocol} can't lead to interface {port.wanted.name}",
            why=f"nothing leads there from the node's address {mapping.host_ip}".rstrip()
            if mapping.host_ip
            else "it has no IPv4 address, and the node's address is one",
            next_step="give the network an IPv4 subnet, or remove portMappings",
        )
    for _, address in sorted(found.items()):
        yield Published(mapping.protocol, mapping.host_port, address, mapping.container_port, port, pod)


def _table(node_ip: str, device: str) -> str:
    # Before services: who asked for a port of this node by its number gets it.
    return f"""table ip {TABLE} {{
  map routed {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  set bridged {{ type inet_proto . inet_service; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  map gateways {{ type ipv4_addr : ipv4_addr; }}
  chain ports {{
    meta l4proto {{ tcp, udp, sctp }} dnat to meta l4proto . th dport map @routed
  }}
  chain gate {{
    meta l4proto . th dport @bridged dnat to {GATE_ADDRESS}
  }}
  chain prerouting {{
    type nat hook prerouting priority -105; policy accept;
    iifname {{ "{device}", "tap*" }} ip daddr {node_ip} jump ports
    iifname "{device}" ip daddr {node_ip} ip saddr != {DEFAULT_POD_CIDR} jump gate
  }}
  chain output {{
    type nat hook output priority -105; policy accept;
    ip daddr {node_ip} jump ports
    ip daddr {node_ip} jump gate
  }}
  chain postrouting {{
    type nat hook postrouting priority 95; policy accept;
    ct status dnat ip saddr . ip daddr @hairpin snat to {node_ip}
    ct status dnat snat to ip daddr map @gateways
  }}
}}
"""


def _table6(node_ip: str, device: str) -> str:
    return f"""table ip6 {TABLE} {{
  map routed {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  set hairpin {{ type ipv6_addr . ipv6_addr; }}
  chain ports {{
    meta l4proto {{ tcp, udp, sctp }} dnat to meta l4proto . th dport map @routed
  }}
  chain prerouting {{
    type nat hook prerouting priority -105; policy accept;
    iifname {{ "{device}", "tap*" }} ip6 daddr {node_ip} jump ports
  }}
  chain output {{
    type nat hook output priority -105; policy accept;
    ip6 daddr {node_ip} jump ports
  }}
  chain postrouting {{
    type nat hook postrouting priority 95; policy accept;
    ct status dnat ip6 saddr . ip6 daddr @hairpin snat to {node_ip}
  }}
}}
"""


def _elements(verb: str, listed: Sequence[Published]) -> str:
    """The lines that add or delete the elements of host ports."""
    lines = []
    for version, family in _FAMILIES.items():
        routed = [each for each in listed if not each.is_bridged and each.version == version]
        if not routed:
            continue
        parts = [
            f"{each.key}" + (f" : {each.address} . {each.target}" if verb == "add" else "") for each in routed
        ]
        lines.append(f"{verb} element {family} {TABLE} routed {{ {', '.join(parts)} }}")
        addresses = sorted({each.address for each in routed})
        parts = [f"{address} . {address}" for address in addresses]
        lines.append(f"{verb} element {family} {TABLE} hairpin {{ {', '.join(parts)} }}")
        gateways = {each.address: each.gateway for each in routed if each.gateway}
        if gateways:
            parts = [
                address + (f" : {gateway}" if verb == "add" else "")
                for address, gateway in sorted(gateways.items())
            ]
            lines.append(f"{verb} element ip {TABLE} gateways {{ {', '.join(parts)} }}")
    if bridged := [each.key for each in listed if each.is_bridged]:
        lines.append(f"{verb} element ip {TABLE} bridged {{ {', '.join(bridged)} }}")
    return "".join(f"{line}\n" for line in lines)


def _keys(listing: dict[str, object]) -> Iterator[str]:
    entries = listing.get("nftables")
    for item in entries if isinstance(entries, list) else ():
        for kind in ("map", "set"):
            for element in item.get(kind, {}).get("elem") or ():
                key = element[0] if isinstance(element, list) else element
                if isinstance(key, dict) and len(key.get("concat", ())) == 2:
                    yield " . ".join(map(str, key["concat"]))
