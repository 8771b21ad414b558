"""From policies to what a packet filter needs: per interface and direction, address blocks and port ranges.

Selectors are resolved to the addresses that the selected pods have in the interface's network now. Pure: the
same objects give the same lists, in the same order.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from multinet.model.networks import IPAddress
from multinet.model.policies import EGRESS, INGRESS, IPBlock, Member, Peer, Policy, PolicyPort, Rule

PortRange = tuple[str, int, int]
"""Protocol, first and last port."""
_ALL_PORTS = (0, 65535)
_host = functools.lru_cache(maxsize=1 << 16)(ipaddress.ip_network)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may pass: peers in ``blocks`` but not in ``excepted``, on ``ports``; None is all there are."""

    blocks: tuple[IPBlock, ...] | None
    excepted: tuple[IPBlock, ...] = ()
    ports: tuple[PortRange, ...] | None = None

    def lets(self, peer: IPAddress, protocol: str, number: int | None) -> bool:
        """Whether it lets traffic with ``peer`` pass."""
        if self.blocks is not None and not any(peer in block for block in self.blocks):
            return False
        if any(peer in block for block in self.excepted):
            return False
        if self.ports is None:
            return True
        return number is not None and any(
            protocol == known and first <= number <= last for known, first, last in self.ports
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """What policies leave of one interface; a direction that none of them restricts is None."""

    ingress: tuple[Allowance, ...] | None
    egress: tuple[Allowance, ...] | None


class Lists:
    """The lists of one network, ``members`` being all its interfaces.

    Pods that the same policies select have the same lists, so these are made once.
    """

    def __init__(self, policies: Iterable[Policy], members: Sequence[Member]) -> None:
        self._policies = tuple(policies)
        self._members = members
        self._made: dict[tuple[object, ...], tuple[Allowance, ...]] = {}

    def closed(self, subject: Member) -> Closed | None:
        """What the policies leave of an interface, None when nothing is closed."""
        about = [number for number, policy in enumerate(self._policies) if policy.is_about(subject)]
        found = Closed(*(self._direction(about, direction, subject) for direction in (INGRESS, EGRESS)))
        return None if found.ingress is None and found.egress is None else found

    def _direction(
        self, about: Sequence[int], direction: str, subject: Member
    ) -> tuple[Allowance, ...] | None:
        restricting = tuple(number for number in about if self._policies[number].rules(direction) is not None)
        if not restricting:
            return None
        # The names of a destination's ports are all that matters of the subject itself.
        key = restricting, direction, subject.named_ports if direction == INGRESS else None
        if key not in self._made:
            self._made[key] = _merged(
                allowance
                for policy in (self._policies[number] for number in restricting)
                for rule in policy.rules(direction) or ()
                for allowance in _allowances(rule, policy.namespace, direction, subject, self._members)
            )
        return self._made[key]


def _allowances(
    rule: Rule, namespace: str, direction: str, subject: Member, members: Sequence[Member]
) -> Iterator[Allowance]:
    plain = [port for port in rule.ports if not port.name]
    named = [port for port in rule.ports if port.name]
    if direction == INGRESS:
        resolved = tuple(_range(port, number) for port in named for number in _numbers(port, subject))
        ports = (*map(_whole_range, plain), *resolved)
        if ports or not rule.ports:
            yield from _peers(rule.peers, namespace, members, ports if rule.ports else None)
        return
    if plain or not rule.ports:
        ports = tuple(map(_whole_range, plain))
        yield from _peers(rule.peers, namespace, members, ports if rule.ports else None)
    for port in named:
        for member in members:
            numbers = _numbers(port, member)
            addresses = [each for each in member.addresses if _is_meant(rule, namespace, member, each)]
            if numbers and addresses:
                ranges = tuple(_range(port, number) for number in numbers)
                yield Allowance(_hosts(addresses), ports=ranges)


def _is_meant(rule: Rule, namespace: str, member: Member, address: IPAddress) -> bool:
    return not rule.peers or any(
        peer.selects(member, namespace) or peer.contains(address) for peer in rule.peers
    )


def _peers(
    peers: Sequence[Peer], namespace: str, members: Sequence[Member], ports: tuple[PortRange, ...] | None
) -> Iterator[Allowance]:
    if not peers:
        yield Allowance(None, ports=ports)
    for peer in peers:
        if peer.block is not None:
            yield Allowance((peer.block,), peer.excepted, ports)
            continue
        chosen = [member for member in members if peer.selects(member, namespace)]
        addresses = [address for member in chosen for address in member.addresses]
        if addresses:
            yield Allowance(_hosts(addresses), ports=ports)


def _merged(allowances: Iterable[Allowance]) -> tuple[Allowance, ...]:
    """One allowance for all blocks with the same ports and without exceptions."""
    alone: list[Allowance] = []
    together: dict[tuple[PortRange, ...] | None, set[IPBlock]] = {}
    for each in allowances:
        if each.blocks is None or each.excepted:
            alone.append(each)
        else:
            together.setdefault(each.ports, set()).update(each.blocks)
    merged = [Allowance(collapsed(blocks), ports=ports) for ports, blocks in together.items()]
    return tuple(sorted({*alone, *merged}, key=repr))


def collapsed(blocks: Iterable[IPBlock]) -> tuple[IPBlock, ...]:
    """The same addresses in as few blocks as possible, without overlap, IPv4 first."""
    found: list[IPBlock] = []
    known = set(blocks)
    found += ipaddress.collapse_addresses(each for each in known if isinstance(each, ipaddress.IPv4Network))
    found += ipaddress.collapse_addresses(each for each in known if isinstance(each, ipaddress.IPv6Network))
    return tuple(found)


def _hosts(addresses: Iterable[IPAddress]) -> tuple[IPBlock, ...]:
    return collapsed(_host(address) for address in addresses)


def _numbers(port: PolicyPort, member: Member) -> list[int]:
    return sorted(
        number
        for name, protocol, number in member.named_ports
        if (name, protocol) == (port.name, port.protocol)
    )


def _range(port: PolicyPort, number: int) -> PortRange:
    return port.protocol, number, number


def _whole_range(port: PolicyPort) -> PortRange:
    return (port.protocol, port.first, port.last) if port.first else (port.protocol, *_ALL_PORTS)
