"""The drawing's layout: nothing overlaps, however many pods; the same picture for the same lab."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest

from reports.drawing import FOOT_FROM, Picture, Text, layout, short_names

Rectangle = tuple[int, int, int, int]


def lab(pods: int, interfaces: int, networks: int) -> dict[str, Any]:
    """Pods over four nodes and one host, with names of all lengths."""
    nodes = [{"id": f"node/node{n}", "kind": "node", "label": f"node{n}"} for n in range(4)]
    for n in range(networks):
        name = f"default-domain.k8s-default.k8s-{'long-' * (n % 4)}{n}-pod-network"
        nodes.append({"id": f"network/{name}", "kind": "network", "label": name, "detail": f"10.{n}.0.0/16"})
    rails = [node["id"] for node in nodes if node["kind"] == "network"]
    edges = []
    for p in range(pods):
        kind = "host" if p == 0 else "pod"
        label = "host/outside" if p == 0 else f"namespace-{p % 3}/{'pod-' * (p % 7)}{p}"
        nodes.append({"id": f"pod/{label}", "kind": kind, "label": label, "detail": ""})
        edges.append({"source": f"pod/{label}", "target": f"node/node{p % 4}", "kind": "runs-on"})
        for i in range(interfaces):
            edges.append(
                {
                    "source": f"pod/{label}",
                    "target": rails[(p + i) % networks],
                    "kind": "attachment",
                    "label": f"eth{i}",
                    "addresses": [f"10.{i}.{p}.252/24"],
                }
            )
    return {"nodes": nodes, "edges": edges}


def area(text: Text) -> Rectangle:
    return (text.x, text.y - 11, text.x + text.width, text.y + 3)


def meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def lines(picture: Picture) -> list[Rectangle]:
    rails = [(rail.x - 1, rail.top, rail.x + 2, rail.bottom) for rail in picture.rails]
    return rails + [(link.left, link.y - 1, link.right + 5, link.y + 1) for link in picture.links]


@pytest.mark.parametrize(
    ("pods", "interfaces", "networks"), [(2, 1, 1), (6, 5, 5), (40, 3, 12), (10, 12, 20)]
)
def test_no_text_meets_another_or_a_line(pods: int, interfaces: int, networks: int) -> None:
    picture = layout(lab(pods, interfaces, networks))
    assert len(picture.links) == pods * interfaces
    texts = [area(text) for text in picture.texts]
    assert not [pair for pair in combinations(texts, 2) if meet(*pair)]
    assert not [(text, line) for text in texts for line in lines(picture) if meet(text, line)]


def test_boxes_hold_their_texts_and_the_picture_all() -> None:
    picture = layout(lab(40, 3, 12))
    members = [box for box in picture.boxes if box.style in ("pod", "host")]
    places = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in members]
    assert not [pair for pair in combinations(places, 2) if meet(*pair)]
    for text in picture.texts:
        left, top, right, bottom = area(text)
        for box in places:
            if meet((left, top, right, bottom), box):
                assert box[0] <= left
                assert right <= box[2]
                assert box[1] <= top
                assert bottom <= box[3]
        assert left >= 0
        assert right <= picture.width
        assert top >= 0
        assert bottom <= picture.height
    machines = [box for box in picture.boxes if box.style == "machine"]
    (host,) = [box for box in members if box.style == "host"]
    assert not any(machine.y <= host.y < machine.y + machine.height for machine in machines)


def test_the_layout_depends_on_the_content_only() -> None:
    data = lab(12, 3, 4)
    other = {key: random.Random(1).sample(found, len(found)) for key, found in data.items()}
    assert layout(other) == layout(data)


def test_short_names_come_first_and_the_full_one_is_the_title() -> None:
    picture = layout(lab(4, 2, 2))
    shown = {text.text: text.title for text in picture.texts}
    assert (
        shown["k8s-0-pod-network 10.0.0.0/16"] == "default-domain.k8s-default.k8s-0-pod-network 10.0.0.0/16"
    )
    assert shown["pod-1"] == "namespace-1/pod-1"
    assert short_names(["a.x", "b.x", "b.y"]) == {"a.x": "a.x", "b.x": "b.x", "b.y": "y"}


def test_a_tall_picture_names_the_networks_at_its_foot_too() -> None:
    def named(picture: Picture) -> int:
        return sum(text.text == "k8s-0-pod-network 10.0.0.0/16" for text in picture.texts)

    assert named(layout(lab(4, 2, 2))) == 1
    assert named(layout(lab(FOOT_FROM, 2, 2))) == 2


def test_nothing_to_draw_is_a_picture() -> None:
    assert layout({}).links == ()
