"""Routing tables of our own, and the rules that send packets to them (linux/fib_rules.h, ip-rule(8)).

A *confined* network is routed by a table that its number gives, so nothing about tables is kept on disk:
``iif <device> lookup <table>`` for each of its devices. What is ours is told by the rule's protocol together
with its priority. All rules stand between ``local`` and ``main``, and there are none before this node has its
first confined network: until then the kernel forwards the default network without walking rules at all.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from multinet.vrouter import addressing, kernelstate, netlink
from multinet.vrouter.addressing import TABLE_MAIN
from multinet.vrouter.datapath import Network
from multinet.vrouter.netlink import Request

#: Table of a confined network: this, and its VNI (24 bits) below.
_TABLES = 0x6D00_0000
#: The members of all confined networks, for what the node itself sends.
NODE_TABLE = 0x6E00_0000

_UNDERLAY, _DEVICE, _NODE = 1000, 1001, 1002
_OURS = range(_UNDERLAY, _NODE + 1)
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_TABLE, _FRA_PROTOCOL = 1, 2, 3, 6, 15, 21
_TO_TABLE = 1
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Rule:
    """``from SOURCE to BLOCK iif DEVICE lookup TABLE``; what is empty matches everything."""

    priority: int
    table: int
    device: str = ""
    block: str = ""
    source: str = ""
    version: int = 4

    def add(self) -> Request:
        """Have the rule; one that is there is fine."""
        flags = netlink.CREATE | netlink.EXCL
        return Request(netlink.NEWRULE, flags, self._body(), f"add rule {self}", frozenset({errno.EEXIST}))

    def delete(self) -> Request:
        """Not have it; one that is gone is fine."""
        return Request(netlink.DELRULE, 0, self._body(), f"delete rule {self}", frozenset({errno.ENOENT}))

    def __str__(self) -> str:
        """As ip-rule(8) writes it."""
        parts = (("from", self.source), ("to", self.block), ("iif", self.device), ("lookup", self.table))
        family = "IPv6 " if self.version == 6 else ""
        return f"{family}{self.priority}: " + " ".join(f"{word} {value}" for word, value in parts if value)

    def _body(self) -> bytes:
        everything = "::/0" if self.version == 6 else "0.0.0.0/0"
        to, source = (ip_network(each or everything) for each in (self.block, self.source))
        body = struct.pack(
            "=BBBBBBBBI", _FAMILIES[self.version], to.prefixlen, source.prefixlen, 0, 0, 0, 0, _TO_TABLE, 0
        )
        if self.block:
            body += netlink.attribute(_FRA_DST, to.network_address.packed)
        if self.source:
            body += netlink.attribute(_FRA_SRC, source.network_address.packed)
        body += netlink.text(_FRA_IIFNAME, self.device) if self.device else b""
        body += netlink.u32(_FRA_PRIORITY, self.priority) + netlink.u32(_FRA_TABLE, self.table)
        return body + netlink.u8(_FRA_PROTOCOL, addressing.OURS)


def table_of(vni: int) -> int:
    """The table of a confined network."""
    return _TABLES + vni


def tables_of(network: Network) -> tuple[int, ...]:
    """The tables that a routed network's members are in."""
    return (table_of(network.vni), NODE_TABLE) if network.confined else (TABLE_MAIN,)


def is_own_table(table: int) -> bool:
    """Whether only networks of this agent have routes in a table."""
    return _TABLES <= table <= NODE_TABLE


def of_source(device: str, block: str, vni: int) -> Rule:
    """What members of a network on other nodes send by way of ``device`` goes to its members alone."""
    return Rule(_DEVICE, table_of(vni), device=device, source=block)


def of_device(name: str, vni: int, version: int = 4) -> Rule:
    """What comes in by a device of a confined network goes to that network's members alone."""
    return Rule(_DEVICE, table_of(vni), device=name, version=version)


def common(device: str, block: str, version: int = 4) -> tuple[Rule, ...]:
    """What a node with any confined network has once; ``device`` and ``block`` are its underlay's.

    The underlay's block is looked up where the kernel itself keeps its connected route, so that a device
    which goes down and comes back needs nobody's help. Nodes and the control plane find all members: their
    answers may come in by way of any node.
    """
    return (
        Rule(_UNDERLAY, TABLE_MAIN, block=block, version=version),
        Rule(_NODE, NODE_TABLE, device="lo", version=version),
        Rule(_NODE, NODE_TABLE, device=device, source=block, version=version),
    )


def read(through: netlink.Socket) -> set[Rule]:
    """The rules of ours."""
    found = set()
    versions: dict[int, int] = {family: version for version, family in _FAMILIES.items()}
    for body in through.dump(netlink.GETRULE, struct.pack("=BBBBBBBBI", *[0] * 9)):
        if body[0] not in versions:
            continue
        values = dict(netlink.attributes(body[12:]))
        priority = _number(values.get(_FRA_PRIORITY))
        if values.get(_FRA_PROTOCOL) != bytes([addressing.OURS]) or priority not in _OURS:
            continue
        to, source = values.get(_FRA_DST), values.get(_FRA_SRC)
        found.add(
            Rule(
                priority,
                _number(values.get(_FRA_TABLE)) or body[4],
                device=values.get(_FRA_IIFNAME, b"").rstrip(b"\0").decode(errors="replace"),
                block=f"{ip_address(to)}/{body[1]}" if to else "",
                source=f"{ip_address(source)}/{body[2]}" if source else "",
                version=versions[body[0]],
            )
        )
    return found


def corrections(
    through: netlink.Socket, wanted: Iterable[Rule], ends: Iterable[tuple[int, int]]
) -> list[Request]:
    """Requests that leave exactly the ``wanted`` rules, and just these tables with an end: (VNI, 4 or 6)."""
    have, want = read(through), set(wanted)
    tables = {(table_of(vni), version) for vni, version in ends}
    requests = [addressing.unreachable(table, version) for table, version in sorted(tables)]
    requests += [rule.add() for rule in sorted(want - have, key=str)]
    requests += [rule.delete() for rule in sorted(have - want, key=str)]
    requests += [
        addressing.delete_unreachable(table, version)
        for table, version in kernelstate.tables_with_an_end(through)
        if _TABLES <= table < NODE_TABLE and (table, version) not in tables
    ]
    return requests


def _number(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value and len(value) == 4 else 0
