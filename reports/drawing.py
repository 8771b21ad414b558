"""The topology drawing as inline SVG: cluster nodes as boxes with their pods, networks as rails below.

Layout is a function of the sorted data alone (no force layout), so the same lab is the same picture. Each
network has a rail across the picture; a pod's interface is a line down to the rail, with the interface's
name at the pod and a dot on the rail.

Input (from the ``drawing`` event): nodes ``{id, kind: "node"|"pod"|"network", label, detail}``, edges
``{source, target, kind, label}``: ``runs-on`` from a pod to its node, ``attachment`` from a pod to a network
with the interface as its label. Other kinds are not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

POD_WIDTH = 132
POD_HEIGHT = 46
GAP = 18
HEADER = 30
RAIL_STEP = 40
MARGIN = 16
PALETTE = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a label; sizes in SVG units."""

    x: int
    y: int
    width: int
    height: int
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rail:
    """A network: a horizontal line; ``colour`` is an index into the page's palette."""

    y: int
    label: str
    detail: str
    colour: int


@dataclass(frozen=True, slots=True)
class Drop:
    """An interface: a vertical line from a pod to a rail."""

    x: int
    top: int
    bottom: int
    label: str
    colour: int
    title: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn, in drawing order."""

    width: int
    height: int
    machines: tuple[Box, ...]
    pods: tuple[Box, ...]
    rails: tuple[Rail, ...]
    drops: tuple[Drop, ...]


def _of_kind(data: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [node for node in data.get("nodes") or () if node.get("kind") == kind]
    return sorted(found, key=lambda node: str(node.get("id")))


def _label(node: dict[str, Any]) -> str:
    return str(node.get("label") or node.get("id"))


def layout(data: dict[str, Any]) -> Picture:
    """Place everything; an empty drawing gives an empty picture."""
    machines, pods, placed = [], [], {}
    left = MARGIN
    members = _of_kind(data, "pod")
    home = {
        edge.get("source"): edge.get("target")
        for edge in data.get("edges") or ()
        if edge.get("kind") == "runs-on"
    }
    for machine in _of_kind(data, "node"):
        inside = [pod for pod in members if home.get(pod.get("id")) == machine.get("id")]
        width = max(1, len(inside)) * (POD_WIDTH + GAP) + GAP
        for position, pod in enumerate(inside):
            box = Box(
                left + GAP + position * (POD_WIDTH + GAP),
                MARGIN + HEADER,
                POD_WIDTH,
                POD_HEIGHT,
                _label(pod),
                str(pod.get("detail") or ""),
            )
            pods.append(box)
            placed[str(pod.get("id"))] = box
        height = HEADER + POD_HEIGHT + GAP
        machines.append(Box(left, MARGIN, width, height, _label(machine), str(machine.get("detail") or "")))
        left += width + GAP
    first_rail = MARGIN + HEADER + POD_HEIGHT + GAP + 44
    rails = {
        str(network.get("id")): Rail(
            first_rail + position * RAIL_STEP,
            _label(network),
            str(network.get("detail") or ""),
            position % PALETTE,
        )
        for position, network in enumerate(_of_kind(data, "network"))
    }
    drops = _drops(data, placed, rails)
    height = first_rail + len(rails) * RAIL_STEP
    return Picture(
        max(left + MARGIN, 320), height, tuple(machines), tuple(pods), tuple(rails.values()), drops
    )


def _drops(data: dict[str, Any], placed: dict[str, Box], rails: dict[str, Rail]) -> tuple[Drop, ...]:
    of_pod: dict[str, list[tuple[str, str]]] = {}
    for edge in data.get("edges") or ():
        source, target = str(edge.get("source")), str(edge.get("target"))
        if source in placed and target in rails:
            of_pod.setdefault(source, []).append((str(edge.get("label") or ""), target))
    drops = []
    for pod, edges in sorted(of_pod.items()):
        box = placed[pod]
        for position, (label, target) in enumerate(sorted(edges)):
            x = box.x + (position + 1) * box.width // (len(edges) + 1)
            rail = rails[target]
            title = f"{box.label} {label} in {rail.label}"
            drops.append(Drop(x, box.y + box.height, rail.y, label, rail.colour, title))
    return tuple(drops)
