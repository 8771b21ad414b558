"""Policies as nftables rules: one table of ours per address of enforcement, always replaced as a whole.

Everything is decided on the node, at the pod's own port, where neither a raw socket nor CAP_NET_ADMIN in the
pod gets around it. Routed ports are in the table ``inet multinet-policy`` and lean on the node's conntrack.
Bridged ports are in ``bridge multinet-policy``. The bridge family has no conntrack everywhere, so the table
remembers what was let through, in sets that the kernel fills and empties by time: an answer is what has the
turned-round addresses and ports of something that was let through. The sets are per network, since networks
may have the same addresses, and a new version of the rules leaves them alone.

What a node itself sends to its pods (probes) does not pass these hooks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from multinet.vrouter.policy_lists import Allowance, Closed, PortRange

TABLE = "multinet-policy"
FAMILIES = ("inet", "bridge")
_FLOW_LIFE, _ECHO_LIFE, _SET_SIZE = "30m", "30s", 65536
_IP = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True)
class PolicedPort:
    """One pod interface that policies close, by the name of its end on the node."""

    device: str
    vni: int
    bridged: bool
    closed: Closed


@dataclass(frozen=True, slots=True)
class Content:
    """One table: chains and sets by name, each with the lines in it."""

    family: str
    chains: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, tuple[str, ...]]


def content(family: str, ports: Iterable[PolicedPort]) -> Content:
    """What the table of a family must have for these ports."""
    own = sorted(
        (port for port in ports if port.bridged is (family == "bridge")), key=lambda port: port.device
    )
    chains: dict[str, tuple[str, ...]] = {}
    leads = _Leads(chains)
    sets: dict[str, tuple[str, ...]] = {}
    if own and family == "inet":
        established = "ct state established,related accept"
        chains["forward"] = (_HOOK, established, *_dispatch(own, leads))
    elif own:
        by_network: dict[int, list[PolicedPort]] = {}
        for port in own:
            by_network.setdefault(port.vni, []).append(port)
        for vni, members in by_network.items():
            sets.update(_memory(vni))
            chains[f"keep-{vni:x}"] = _keep(vni)
            chains[f"net-{vni:x}"] = (*_answers(vni), *_dispatch(members, leads), f"goto keep-{vni:x}")
        chains["forward"] = (_HOOK, *_ALWAYS, *_to_networks(by_network))
    return Content(family, chains, sets)


def script(new: Content, old_chains: Iterable[str], old_sets: Iterable[str]) -> str:
    """Make the table so; ``old_*`` are in it now. Sets that stay keep their elements."""
    table = f"{new.family} {TABLE}"
    if not new.chains:
        return f"table {table}\ndelete table {table}\n"
    lines = [f"table {table}", f"flush table {table}", f"table {table} {{"]
    for name, body in new.sets.items():
        lines += [f"  set {name} {{", *(f"    {line}" for line in body), "  }"]
    for name, body in sorted(new.chains.items(), key=lambda item: _rank(item[0])):
        lines += [f"  chain {name} {{", *(f"    {line}" for line in body), "  }"]
    lines.append("}")
    lines += [f"delete chain {table} {name}" for name in sorted(set(old_chains) - set(new.chains))]
    lines += [f"delete set {table} {name}" for name in sorted(set(old_sets) - set(new.sets))]
    return "\n".join(lines) + "\n"


_HOOK = "type filter hook forward priority filter; policy accept;"
# ARP and other protocols than IP are no business of policies; neighbour discovery is IPv6's ARP. What the
# first fragment of a packet was denied, the rest of it can't complete.
_ALWAYS = (
    "ether type != { ip, ip6, 8021q, 8021ad } accept",
    "icmpv6 type { 1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143 } accept",
    "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
    "ip frag-off & 0x1fff != 0 accept",
    "frag frag-off != 0 accept",
)
# A tag hides addresses and ports from the rules.
_NO_TAGS = "ether type { 8021q, 8021ad } drop"
_WITH_PORTS = "meta l4proto { tcp, udp, sctp }"
# What is over soon, or may be over already, is forgotten sooner.
_LIVES = (
    ("meta l4proto { tcp, sctp }", ""),
    ("meta l4proto udp", " timeout 3m"),
    ("tcp flags & (fin | rst) != 0x0", " timeout 30s"),
)


def _rank(name: str) -> tuple[int, str]:
    """Chains before those that jump to them."""
    order = ("allow-", "keep-", "net-", "forward")
    return next(position for position, start in enumerate(order) if name.startswith(start)), name


class _Leads:
    """Names of chains by what they say, so that ports which are closed alike share one."""

    def __init__(self, chains: dict[str, tuple[str, ...]]) -> None:
        self._chains = chains
        self._known: dict[tuple[int, str], str] = {}

    def to(self, allowances: tuple[Allowance, ...], side: str) -> str:
        """The chain that lets these pass, made where it is new."""
        key = id(allowances), side
        if key not in self._known:
            body = tuple(_direction(allowances, side))
            name = f"allow-{hashlib.sha256(repr(body).encode()).hexdigest()[:16]}"
            self._chains[name] = body
            self._known[key] = name
        return self._known[key]


def _dispatch(ports: Sequence[PolicedPort], leads: _Leads) -> list[str]:
    """What comes from a port meets its egress rules, what goes to one its ingress rules; both may apply."""
    lines = []
    sending = {port.device: leads.to(port.closed.egress, "daddr") for port in ports
               if port.closed.egress is not None}  # fmt: skip
    receiving = {port.device: leads.to(port.closed.ingress, "saddr") for port in ports
                 if port.closed.ingress is not None}  # fmt: skip
    for field, chains in (("iifname", sending), ("oifname", receiving)):
        if chains:
            cases = ", ".join(f'"{device}" : jump {chain}' for device, chain in chains.items())
            lines.append(f"{field} vmap {{ {cases} }}")
    return lines


def _to_networks(networks: Mapping[int, Sequence[PolicedPort]]) -> list[str]:
    cases = ", ".join(
        f'"{port.device}" : goto net-{vni:x}' for vni, ports in networks.items() for port in ports
    )
    return [f"iifname vmap {{ {cases} }}", f"oifname vmap {{ {cases} }}"]


def _direction(allowances: Iterable[Allowance], side: str) -> Iterable[str]:
    for allowance in allowances:
        for peers in _peers(allowance, side):
            for ports in _ports(allowance.ports):
                yield " ".join(part for part in (peers, ports, "return") if part)
    yield "counter drop"


def _peers(allowance: Allowance, side: str) -> list[str]:
    if allowance.blocks is None:
        return [""]
    found = []
    for version, family in _IP.items():
        blocks = [str(block) for block in allowance.blocks if block.version == version]
        excepted = [str(block) for block in allowance.excepted if block.version == version]
        if blocks:
            text = f"{family} {side} {{ {', '.join(blocks)} }}"
            found.append(f"{text} {family} {side} != {{ {', '.join(excepted)} }}" if excepted else text)
    return found


def _ports(ranges: tuple[PortRange, ...] | None) -> list[str]:
    if ranges is None:
        return [""]
    by_protocol: dict[str, list[tuple[int, int]]] = {}
    for protocol, first, last in ranges:
        by_protocol.setdefault(protocol.lower(), []).append((first, last))
    found = []
    for protocol, pairs in sorted(by_protocol.items()):
        numbers = ", ".join(f"{first}-{last}" for first, last in _joined(pairs))
        found.append(f"meta l4proto {protocol} th dport {{ {numbers} }}")
    return found


def _joined(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same ports without overlap."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found


def _memory(vni: int) -> dict[str, tuple[str, ...]]:
    def kept(kind: str, life: str) -> tuple[str, ...]:
        return kind, "flags dynamic, timeout", f"timeout {life}", f"size {_SET_SIZE}"

    made = {}
    for version, family in _IP.items():
        address = f"ipv{version}_addr"
        flow = f"type {address} . inet_service . {address} . inet_service . inet_proto"
        made[f"flows{version}-{vni:x}"] = kept(flow, _FLOW_LIFE)
        icmp = "icmp" if version == 4 else "icmpv6"
        echo = f"typeof {family} saddr . {family} daddr . {icmp} id"
        made[f"echoes{version}-{vni:x}"] = kept(echo, _ECHO_LIFE)
        made[f"others{version}-{vni:x}"] = kept(f"type {address} . {address} . inet_proto", _FLOW_LIFE)
    return made


def _answers(vni: int) -> list[str]:
    """Let pass what belongs to something that was let pass before, in either direction."""
    lines = [_NO_TAGS]
    for version, family in _IP.items():
        icmp = "icmp" if version == 4 else "icmpv6"
        flow = f"{family} saddr . th sport . {family} daddr . th dport . meta l4proto"
        pair = f"{family} saddr . {family} daddr"
        lines.append(f"{_WITH_PORTS} {flow} @flows{version}-{vni:x} goto keep-{vni:x}")
        lines.append(f"{icmp} type echo-reply {pair} . {icmp} id @echoes{version}-{vni:x} accept")
        lines.append(f"{pair} . meta l4proto @others{version}-{vni:x} goto keep-{vni:x}")
    return lines


def _keep(vni: int) -> tuple[str, ...]:
    """Remember what is let through, both ways round, and let it through."""
    lines = []
    for version, family in _IP.items():
        ends = [f"{family} saddr . th sport", f"{family} daddr . th dport"]
        for first, second in (ends, reversed(ends)):
            flow = f"{first} . {second} . meta l4proto"
            lines += [f"{kind} update @flows{version}-{vni:x} {{ {flow}{life} }}" for kind, life in _LIVES]
        icmp = "icmp" if version == 4 else "icmpv6"
        back = f"{family} daddr . {family} saddr"
        lines.append(f"{icmp} type echo-request update @echoes{version}-{vni:x} {{ {back} . {icmp} id }}")
    lines.append("meta l4proto { icmp, icmpv6, tcp, udp, sctp } accept")
    for version, family in _IP.items():
        for pair in (f"{family} saddr . {family} daddr", f"{family} daddr . {family} saddr"):
            lines.append(f"update @others{version}-{vni:x} {{ {pair} . meta l4proto }}")
    return (*lines, "accept")
