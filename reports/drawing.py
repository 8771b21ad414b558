"""The topology drawing as inline SVG: pods in rows on the left, networks as vertical rails on the right.

Layout is a function of the sorted data alone (no force layout), so the same lab is the same picture. Each
interface has a row of its own inside its pod's box and a line from there to its network's rail, so labels
can't meet however many interfaces a pod has, and the picture grows downwards, as the page does.

The rails' names are a staircase: each starts right of its own rail, and rails further right start below
it, so no line crosses a name. A tall picture has them at its foot, too, upside down. Box widths follow the
longest text in them; text widths are estimates on the generous side, as nothing here can measure a font.

Input (from the ``drawing`` event): nodes ``{id, kind: "node"|"pod"|"host"|"network", label, detail}``, edges
``{source, target, kind, label}``: ``runs-on`` from a pod or host to its node, ``attachment`` from a pod or
host to a network with the interface as its label and, if known, ``addresses``. Other kinds are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NAME_CHAR = 9
SMALL_CHAR = 7
LINE = 17
PAD = 8
HEADER = 28
MARGIN = 16
RAIL_GAP = 34
STAIR = 18
PALETTE = 8
LONGEST = 40
FOOT_FROM = 20
"""Rows from which on the networks' names are repeated at the foot."""

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; ``y`` is its base line, ``width`` an upper estimate in SVG units."""

    x: int
    y: int
    width: int
    text: str
    style: str = "small"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: ``style`` is machine, pod or host."""

    x: int
    y: int
    width: int
    height: int
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class Rail:
    """A network: a vertical line; ``colour`` is an index into the page's palette.

    ``dashed`` tells apart networks that share a colour.
    """

    x: int
    top: int
    bottom: int
    colour: int
    dashed: bool
    title: str


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: a horizontal line from its row in a pod to a rail, with a dot there."""

    y: int
    left: int
    right: int
    colour: int
    title: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn, in drawing order."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    rails: tuple[Rail, ...]
    links: tuple[Link, ...]
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class _Port:
    """An interface before it has a place."""

    interface: str
    address: str
    network: str

    @property
    def shown(self) -> str:
        return f"{self.interface} {self.address}".strip()


@dataclass(frozen=True, slots=True)
class _Member:
    """A pod or a host before it has a place."""

    style: str
    label: str
    detail: str
    ports: tuple[_Port, ...]

    @property
    def name(self) -> str:
        return _clipped(self.label.rpartition("/")[2])

    @property
    def under(self) -> str:
        space = self.label.rpartition("/")[0]
        return _clipped(f"{space}: {self.detail}" if self.detail else space)

    @property
    def height(self) -> int:
        return max(2, len(self.ports)) * LINE + PAD


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _of_kind(data: Data, kind: str) -> list[Data]:
    found = [node for node in data.get("nodes") or () if node.get("kind") == kind]
    return sorted(found, key=lambda node: str(node.get("id")))


def _label(node: Data) -> str:
    return str(node.get("label") or node.get("id"))


def short_names(labels: Iterable[str]) -> dict[str, str]:
    """The last component of each dotted name; the whole name where the last ones are equal."""
    every = list(labels)
    last = {label: label.rpartition(".")[2] or label for label in every}
    shown = list(last.values())
    return {label: name if shown.count(name) == 1 else label for label, name in last.items()}


def _members(data: Data) -> dict[str, list[_Member]]:
    """Pods and then hosts of each node, by the node's id; those of no known node under ``""``."""
    ports: dict[str, list[_Port]] = {}
    home: dict[str, str] = {}
    machines = {str(node.get("id")) for node in _of_kind(data, "node")}
    networks = {str(node.get("id")) for node in _of_kind(data, "network")}
    for edge in data.get("edges") or ():
        source, target = str(edge.get("source")), str(edge.get("target"))
        if edge.get("kind") == "runs-on" and target in machines:
            home[source] = target
        elif edge.get("kind") == "attachment" and target in networks:
            addresses = " ".join(str(found) for found in edge.get("addresses") or ())
            ports.setdefault(source, []).append(_Port(str(edge.get("label") or ""), addresses, target))
    members: dict[str, list[_Member]] = {}
    for kind in ("pod", "host"):
        for node in _of_kind(data, kind):
            key = str(node.get("id"))
            own = tuple(sorted(ports.get(key, ()), key=lambda port: (len(port.interface), port.interface)))
            member = _Member(kind, _label(node), str(node.get("detail") or ""), own)
            members.setdefault(home.get(key, ""), []).append(member)
    return members


class _Painter:
    """Places things from top to bottom; :meth:`result` makes the picture."""

    def __init__(self, data: Data) -> None:
        self.networks = _of_kind(data, "network")
        self.machines = _of_kind(data, "node")
        self.members = _members(data)
        every = [member for found in self.members.values() for member in found]
        names = [max(len(m.name) * NAME_CHAR, len(m.under) * SMALL_CHAR) for m in every]
        ports = [len(_clipped(port.shown)) * SMALL_CHAR for member in every for port in member.ports]
        self.name_width = max(names, default=90)
        self.pod_width = PAD + self.name_width + 2 * PAD + max(ports, default=0) + PAD
        heads = [len(_clipped(self._head(node))) * NAME_CHAR + 2 * PAD for node in self.machines]
        self.machine_width = max([self.pod_width + 2 * PAD, *heads])
        self.first_rail = MARGIN + self.machine_width + RAIL_GAP
        self.top = MARGIN + len(self.networks) * STAIR + PAD
        self.y = self.top
        self.boxes: list[Box] = []
        self.links: list[Link] = []
        self.texts: list[Text] = []
        self.place = {str(node.get("id")): position for position, node in enumerate(self.networks)}

    @staticmethod
    def _head(node: Data) -> str:
        return f"{_label(node)} {node.get('detail') or ''}".strip()

    def paint(self) -> None:
        for node in self.machines:
            self._machine(node)
        for member in self.members.get("", ()):
            self._member(member)

    def _machine(self, node: Data) -> None:
        """A node's box around its pods; its plain hosts stand below the box, outside."""
        found = self.members.get(str(node.get("id")), [])
        inside = [member for member in found if member.style == "pod"]
        height = HEADER + sum(member.height + PAD for member in inside)
        head = self._head(node)
        self.boxes.append(Box(MARGIN, self.y, self.machine_width, height, "machine", head))
        shown = _clipped(head)
        at = Text(MARGIN + PAD, self.y + 19, len(shown) * NAME_CHAR, shown, "name", head)
        self.texts.append(at)
        self.y += HEADER
        for member in inside:
            self._member(member)
        self.y += PAD
        for member in found:
            if member.style == "host":
                self._member(member)

    def _member(self, member: _Member) -> None:
        left, top = MARGIN + PAD, self.y
        title = f"{member.label} {member.detail}".strip()
        self.boxes.append(Box(left, top, self.pod_width, member.height, member.style, title))
        for line, (shown, style, char) in enumerate(
            ((member.name, "name", NAME_CHAR), (member.under, "small", SMALL_CHAR))
        ):
            if shown:
                at = (left + PAD, top + PAD + 9 + line * LINE)
                self.texts.append(Text(*at, len(shown) * char, shown, style, title))
        for row, port in enumerate(member.ports):
            y = top + PAD + 9 + row * LINE
            position = self.place[port.network]
            network = _label(self.networks[position])
            title = f"{member.label} {port.shown} in {network}"
            if not port.address:
                title = f"{member.label} {port.interface} in {network}"
            shown = _clipped(port.shown)
            x = left + PAD + self.name_width + 2 * PAD
            self.texts.append(Text(x, y, len(shown) * SMALL_CHAR, shown, "small", title))
            rail_x = self.first_rail + position * RAIL_GAP
            self.links.append(Link(y - 4, left + self.pod_width, rail_x, position % PALETTE, title))
        self.y += member.height + PAD

    def result(self) -> Picture:
        """The picture, once all is painted."""
        labels = [_label(network) for network in self.networks]
        short = short_names(labels)
        count, widest = len(labels), 0
        # Without a foot all rails end together, just below the last row.
        foot = len(self.links) > FOOT_FROM
        rails = []
        for position, (label, network) in enumerate(zip(labels, self.networks, strict=True)):
            x = self.first_rail + position * RAIL_GAP
            detail = str(network.get("detail") or "")
            shown = f"{short[label]} {detail}".strip()
            title = f"{label} {detail}".strip()
            ends = [MARGIN + position * STAIR + 11]
            bottom = self.y
            if foot:
                bottom = self.y + (count - 1 - position) * STAIR + 11
                ends.append(bottom)
            for y in ends:
                self.texts.append(Text(x + 7, y, len(shown) * SMALL_CHAR, shown, "small", title))
            rails.append(Rail(x, ends[0] - 9, bottom, position % PALETTE, position >= PALETTE, title))
            widest = max(widest, x + 7 + len(shown) * SMALL_CHAR)
        width = max(widest, MARGIN + self.machine_width) + MARGIN
        height = max([self.y, *(rail.bottom for rail in rails)]) + MARGIN
        return Picture(width, height, tuple(self.boxes), tuple(rails), tuple(self.links), tuple(self.texts))


def layout(data: Data) -> Picture:
    """Place everything; an empty drawing gives an empty picture."""
    painter = _Painter(data)
    painter.paint()
    return painter.result()
