"""Layout of the topology drawing: networks are vertical lines, pods rows grouped by node.

An interface is a dot where its pod's row meets its network's line. That form needs no crossing-free layout,
stays readable with many pods, and is the same for the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from multinet.configapi.console.facts import InterfaceFacts, NetworkFacts, PodFacts

ROW = 34
GROUP_GAP = 30
HEAD = 150
LEFT = 300
COLUMN = 120
# The last name is slanted to the right of its line.
MARGIN = 110
_COLOURS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A network's line; ``colour`` numbers a CSS class."""

    name: str
    uuid: str
    x: int
    colour: int


@dataclass(frozen=True, slots=True)
class Dot:
    """An interface."""

    x: int
    y: int
    colour: int
    address: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """A pod: its row reaches from its box to its last dot."""

    name: str
    y: int
    end: int
    dots: tuple[Dot, ...]
    is_pod: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A node with its pods."""

    name: str
    y: int
    height: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it, in pixels."""

    width: int
    height: int
    lines: tuple[Line, ...]
    groups: tuple[Group, ...]


def draw(networks: Sequence[NetworkFacts], pods: Sequence[PodFacts], nodes: Sequence[str]) -> Drawing:
    """The drawing of networks, nodes and pods."""
    lines = tuple(
        Line(
            facts.entry.fq_name[-1], facts.entry.uuid, LEFT + COLUMN // 2 + COLUMN * number, number % _COLOURS
        )
        for number, facts in enumerate(networks)
    )
    by_uuid = {line.uuid: line for line in lines}
    groups: list[Group] = []
    y = HEAD
    for node in nodes:
        members = [facts for facts in pods if facts.node == node]
        if not node and not members:
            continue
        rows = tuple(_row(facts, y + ROW * (number + 1), by_uuid) for number, facts in enumerate(members))
        height = ROW * (len(rows) + 1)
        groups.append(Group(node or "not on a node yet", y, height, rows))
        y += height + GROUP_GAP
    width = LEFT + COLUMN * max(1, len(lines)) + MARGIN
    return Drawing(width, y + 10, lines, tuple(groups))


def _row(facts: PodFacts, y: int, lines: dict[str, Line]) -> Row:
    dots = tuple(
        _dot(interface, y, lines[interface.network.uuid])
        for interface in facts.interfaces
        if interface.network is not None and interface.network.uuid in lines
    )
    return Row(facts.name, y, max((dot.x for dot in dots), default=LEFT), dots, facts.is_pod)


def _dot(facts: InterfaceFacts, y: int, line: Line) -> Dot:
    addresses = facts.interface.addresses
    address = addresses[0].address if addresses else ""
    title = f"{facts.owner} {facts.interface.interface}: {facts.addresses} in {line.name}"
    return Dot(line.x, y, line.colour, address, title)
