"""NetworkPolicy and MultiNetworkPolicy: how they are read, and whether they let one interface reach another.

NetworkPolicy (networking.k8s.io/v1) is about a pod's interface 0, MultiNetworkPolicy
(multi-networkpolicy v1beta1, v1beta2 of k8snetworkplumbingwg) about its interfaces in the networks whose
NADs the annotation ``k8s.v1.cni.cncf.io/policy-for`` names. All else is the same: what no policy selects is
open; what some policy selects for a direction is closed in it but for what the policies' rules allow, added
up. Selectors stand for the peers' interfaces *in the same network*, wherever else those pods are attached.

:func:`allows` answers for one pair, rule by rule, as the text of the API has it; the oracle asks it. The
node agent turns the same policies into lists of addresses (:mod:`multinet.vrouter.policy_lists`), and a test
holds the two formulations against each other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from multinet.errors import InputError
from multinet.model.labels import LabelSelector
from multinet.model.networks import IPAddress
from multinet.model.objects import Obj, annotations_of, key_of, namespace_of, section

ANNOTATION_POLICY_FOR = "k8s.v1.cni.cncf.io/policy-for"
INGRESS, EGRESS = "Ingress", "Egress"
PROTOCOLS = ("TCP", "UDP", "SCTP")

IPBlock = ipaddress.IPv4Network | ipaddress.IPv6Network


class PolicyError(InputError):
    """A policy can't be understood; it is then in force for nobody, and said to be so."""


@dataclass(frozen=True, slots=True)
class Member:
    """One interface of a pod as policies see it. ``network`` is the VirtualNetwork's object name.

    ``nad`` is empty for interface 0. ``named_ports`` are ``(name, protocol, number)`` of the containers.
    """

    pod: str
    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    network: str
    nad: str = ""
    addresses: tuple[IPAddress, ...] = ()
    named_ports: frozenset[tuple[str, str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Peer:
    """One element of ``from`` or ``to``: a block of addresses, or pods by labels of theirs.

    ``namespaces`` None is the policy's own namespace.
    """

    pods: LabelSelector | None = None
    namespaces: LabelSelector | None = None
    block: IPBlock | None = None
    excepted: tuple[IPBlock, ...] = ()

    def selects(self, member: Member, namespace: str) -> bool:
        """Whether a selector of a policy in ``namespace`` means this pod.

        A block means none, and what is no pod has no namespace.
        """
        if self.block is not None or not member.namespace:
            return False
        at_home = member.namespace == namespace
        there = at_home if self.namespaces is None else self.namespaces.matches(member.namespace_labels)
        return there and (self.pods is None or self.pods.matches(member.labels))

    def contains(self, address: IPAddress) -> bool:
        """Whether a block means this address; a selector means none."""
        if self.block is None or address not in self.block:
            return False
        return not any(address in each for each in self.excepted)


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """One element of ``ports``. ``name`` or ``first`` to ``last``; neither is every port of the protocol."""

    protocol: str = "TCP"
    name: str = ""
    first: int = 0
    last: int = 0

    def matches(self, protocol: str, number: int | None, destination: Member) -> bool:
        """Whether traffic of ``protocol`` (TCP, ICMP, ...) to a port of ``destination`` is meant."""
        if protocol != self.protocol or number is None:
            return False
        if self.name:
            return (self.name, protocol, number) in destination.named_ports
        return not self.first or self.first <= number <= self.last


@dataclass(frozen=True, slots=True)
class Rule:
    """Traffic with any of ``peers`` on any of ``ports``; an empty tuple is everybody, and every port."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. A direction is None where it restricts nothing; ``nads`` None: about interface 0."""

    namespace: str
    name: str
    kind: str
    pods: LabelSelector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    nads: frozenset[str] | None = None

    @classmethod
    def of(cls, policy: Obj) -> Policy:
        """Read an object of either kind; ``PolicyError`` names what is wrong."""
        try:
            return _read(policy)
        except InputError as error:
            raise _unreadable(policy, error.where, error.why or error.what) from error
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise _unreadable(policy, "spec", str(error)) from error

    def is_about(self, member: Member) -> bool:
        """Whether it selects this interface."""
        meant = not member.nad if self.nads is None else member.nad in self.nads
        return meant and member.namespace == self.namespace and self.pods.matches(member.labels)

    def rules(self, direction: str) -> tuple[Rule, ...] | None:
        """The rules of a direction."""
        return self.ingress if direction == INGRESS else self.egress

    def __str__(self) -> str:
        """``NetworkPolicy ns/name``."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether policies let traffic pass, and which of them decided."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic from one member of a network to another. ``number`` is the destination port, if it has any."""

    source: Member
    destination: Member
    protocol: str
    number: int | None = None
    version: int = 4


def allows(policies: Iterable[Policy], traffic: Traffic) -> Decision:
    """Whether the source may send it and the destination receive it; answers to it always may pass."""
    known = tuple(policies)
    reasons = []
    for direction, subject, peer in (
        (EGRESS, traffic.source, traffic.destination),
        (INGRESS, traffic.destination, traffic.source),
    ):
        deciding = [
            policy for policy in known if policy.is_about(subject) and policy.rules(direction) is not None
        ]
        letting = [policy for policy in deciding if _lets(policy, direction, peer, traffic)]
        names = ", ".join(map(str, letting or deciding))
        if deciding and not letting:
            return Decision(False, f"{direction.lower()} of {subject.pod} is closed by {names}")
        if deciding:
            reasons.append(f"{direction.lower()} of {subject.pod} is allowed by {names}")
    return Decision(True, "; ".join(reasons))


def _lets(policy: Policy, direction: str, peer: Member, traffic: Traffic) -> bool:
    addresses = [address for address in peer.addresses if address.version == traffic.version]
    for rule in policy.rules(direction) or ():
        met = not rule.peers or any(
            each.selects(peer, policy.namespace) or any(each.contains(address) for address in addresses)
            for each in rule.peers
        )
        ports = not rule.ports or any(
            port.matches(traffic.protocol, traffic.number, traffic.destination) for port in rule.ports
        )
        if met and ports:
            return True
    return False


def named_ports(pod: Obj) -> frozenset[tuple[str, str, int]]:
    """The named ports of a pod's containers."""
    found = set()
    for container in section(pod, "spec").get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") and isinstance(port.get("containerPort"), int):
                found.add((str(port["name"]), str(port.get("protocol") or "TCP"), int(port["containerPort"])))
    return frozenset(found)


def _read(policy: Obj) -> Policy:
    spec, namespace = section(policy, "spec"), namespace_of(policy)
    kind = str(policy.get("kind") or "NetworkPolicy")
    types = spec.get("policyTypes") or [INGRESS, *([EGRESS] if spec.get("egress") else [])]
    unknown = [each for each in types if each not in (INGRESS, EGRESS)]
    if unknown:
        raise InputError("unknown", where="spec.policyTypes", why=f"{unknown[0]!r} is no policy type")
    return Policy(
        namespace=namespace,
        name=str(policy["metadata"]["name"]),
        kind=kind,
        pods=LabelSelector.of(spec.get("podSelector") or {}, "spec.podSelector"),
        ingress=_rules(spec, "ingress", "from") if INGRESS in types else None,
        egress=_rules(spec, "egress", "to") if EGRESS in types else None,
        nads=nads_of(policy, namespace) if kind == "MultiNetworkPolicy" else None,
    )


def nads_of(policy: Obj, namespace: str) -> frozenset[str]:
    """The NADs (``namespace/name``) that a MultiNetworkPolicy is for."""
    names = [name.strip() for name in annotations_of(policy).get(ANNOTATION_POLICY_FOR, "").split(",")]
    return frozenset(name if "/" in name else f"{namespace}/{name}" for name in names if name)


def _rules(spec: Mapping[str, Any], direction: str, side: str) -> tuple[Rule, ...]:
    found = []
    for position, rule in enumerate(spec.get(direction) or ()):
        where = f"spec.{direction}[{position}]"
        peers = [_peer(item, f"{where}.{side}[{at}]") for at, item in enumerate(rule.get(side) or ())]
        ports = [_port(item, f"{where}.ports[{at}]") for at, item in enumerate(rule.get("ports") or ())]
        found.append(Rule(tuple(peers), tuple(ports)))
    return tuple(found)


def _peer(item: Mapping[str, Any], where: str) -> Peer:
    block, pods, namespaces = (item.get(key) for key in ("ipBlock", "podSelector", "namespaceSelector"))
    if block is not None:
        if pods is not None or namespaces is not None:
            raise InputError("two", where=where, why="ipBlock can't be together with a selector")
        network = ipaddress.ip_network(block["cidr"], strict=False)
        excepted = tuple(ipaddress.ip_network(each, strict=False) for each in block.get("except") or ())
        return Peer(block=network, excepted=excepted)
    if pods is None and namespaces is None:
        raise InputError("none", where=where, why="it needs podSelector, namespaceSelector or ipBlock")
    return Peer(
        pods=None if pods is None else LabelSelector.of(pods, f"{where}.podSelector"),
        namespaces=None if namespaces is None else LabelSelector.of(namespaces, f"{where}.namespaceSelector"),
    )


def _port(item: Mapping[str, Any], where: str) -> PolicyPort:
    protocol, port, last = str(item.get("protocol") or "TCP"), item.get("port"), item.get("endPort")
    if protocol not in PROTOCOLS:
        raise InputError("protocol", where=f"{where}.protocol", why=f"{protocol!r} is not known")
    if isinstance(port, str) and last is None:
        return PolicyPort(protocol, name=port)
    if port is None and last is None:
        return PolicyPort(protocol)
    first, end = int(port or 0), int(port or 0) if last is None else int(last)
    if isinstance(port, str) or not 1 <= first <= end <= 65535:
        raise InputError("port", where=where, why=f"{port!r} to {last or port!r} are no ports")
    return PolicyPort(protocol, first=first, last=end)


def _unreadable(policy: Obj, where: str, why: str) -> PolicyError:
    kind = str(policy.get("kind") or "NetworkPolicy")
    return PolicyError(
        f"{kind} {key_of(policy)} can't be understood, so it is in force for nobody",
        where=where,
        why=why,
        next_step=f"correct it: kubectl edit {kind.lower()} -n {namespace_of(policy)}",
    )
