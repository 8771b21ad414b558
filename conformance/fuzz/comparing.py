"""Compares two worlds in which the same was done, facet by facet, without asking which of them is right.

What nobody may foretell is left out: a MAC that nobody asked for; and between different implementations
(not ``exact``) names and addresses that nobody asked for, and everything that only ours records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from conformance.fuzz import steps
from conformance.fuzz.seen import Seen, SeenPod
from conformance.fuzz.steps import Pick, Step


class Facet(StrEnum):
    """What two worlds can differ in."""

    PRESENT = "present"
    ATTACHED = "attached"
    ADDRESSES = "addresses"
    RUNNING = "running"
    KERNEL = "kernel"
    STATUS = "status"
    POD_IPS = "pod-ips"
    NETWORKS = "networks"
    REMAINS = "remains"
    FORWARDING = "forwarding"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Difference:
    """One facet of one thing (a pod's or NAD's key, or empty), as either side shows it."""

    facet: Facet
    about: str
    left: str
    right: str

    def same_place(self, other: Difference) -> bool:
        """Whether both are about the same, whatever the sides show."""
        return (self.facet, self.about) == (other.facet, other.about)

    def __str__(self) -> str:
        return f"{self.facet}{f' of {self.about}' if self.about else ''}: {self.left} | {self.right}"


@dataclass(slots=True)
class Asked:
    """What pods asked for by name so far, by pod."""

    picks: dict[str, tuple[Pick, ...]] = field(default_factory=dict)

    def note(self, step: Step) -> None:
        """Take in a step."""
        if isinstance(step, steps.CreatePod):
            self.picks[step.key] = step.picks
        elif isinstance(step, steps.EditSelection):
            self.picks[step.key] = (*self.picks.get(step.key, ()), *step.picks)

    def values(self, pod: str, part: str) -> frozenset[str]:
        """All that a pod asked for: its picks' ``interface``, ``ip`` or ``mac``."""
        return frozenset(filter(None, (getattr(pick, part) for pick in self.picks.get(pod, ()))))


def compare(left: Seen, right: Seen, asked: Asked, *, exact: bool) -> list[Difference]:
    """All differences, those of pods first. ``exact``: both sides are the same implementation."""
    return list(_pods(left, right, asked, exact=exact)) + (list(_world(left, right)) if exact else [])


def _pods(left: Seen, right: Seen, asked: Asked, *, exact: bool) -> Iterator[Difference]:
    for key in sorted(left.pods.keys() | right.pods.keys()):
        one, other = left.pods.get(key), right.pods.get(key)
        if one is None or other is None:
            yield Difference(Facet.PRESENT, key, _yes(one is not None), _yes(other is not None))
            continue
        first = dict(_facets(one, asked, exact=exact))
        for facet, second in _facets(other, asked, exact=exact):
            if first[facet] != second:
                yield Difference(facet, key, first[facet], second)


def _facets(pod: SeenPod, asked: Asked, *, exact: bool) -> Iterator[tuple[Facet, str]]:
    """What there is to be said about a pod."""
    names, macs = asked.values(pod.key, "interface"), asked.values(pod.key, "mac")
    ips = asked.values(pod.key, "ip")

    def name(text: str, number: int) -> str:
        return text if exact or text in names or number == 0 else "*"

    yield Facet.RUNNING, _yes(pod.running)
    recorded = list(enumerate(pod.recorded))
    attached = [f"{name(item.interface, number)}={item.nad or 'default'}" for number, item in recorded]
    yield Facet.ATTACHED, ", ".join(attached) or "nothing"
    given = [
        "/".join(ip for ip in item.ips if exact or ip in ips) + (f" {item.mac}" if item.mac in macs else "")
        for item in pod.recorded
    ]
    yield Facet.ADDRESSES, ", ".join(given)
    kernel = None if pod.kernel is None else sorted(item.name for item in pod.kernel)
    if kernel is not None and not exact:
        kernel = sorted(name(item, int(item != "eth0")) for item in kernel)
    yield Facet.KERNEL, "can't be looked at" if kernel is None else ", ".join(kernel) or "nothing"
    yield Facet.POD_IPS, ", ".join(pod.pod_ips) if exact else _yes(bool(pod.pod_ips))
    if exact:
        yield Facet.STATUS, _status(pod.status, macs)


def _status(text: str, macs: frozenset[str]) -> str:
    """A status without what is chosen by chance."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(_tame(value, macs), sort_keys=True)


def _tame(value: Any, macs: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_tame(item, macs) for item in value]
    if isinstance(value, dict):
        return {
            key: "*" if key == "mac" and item not in macs else _tame(item, macs)
            for key, item in value.items()
        }
    return value


def _world(left: Seen, right: Seen) -> Iterator[Difference]:
    for key in sorted(left.networks.keys() | right.networks.keys()):
        one, other = left.networks.get(key, "none"), right.networks.get(key, "none")
        if one != other:
            yield Difference(Facet.NETWORKS, key, one, other)
    # Whose they are has numbers in it that are chosen by chance.
    for facet, one_s, other_s in (
        (Facet.REMAINS, left.leftovers, right.leftovers),
        (Facet.FORWARDING, left.misled, right.misled),
    ):
        if len(one_s) != len(other_s):
            yield Difference(facet, "", "; ".join(one_s) or "nothing", "; ".join(other_s) or "nothing")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
