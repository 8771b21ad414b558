"""A recorded run: two nodes, one failing cell, control characters in its evidence."""

from __future__ import annotations

from typing import Any

import pytest

from reports.events import Event


def cell(step: int, source: str, destination: str, protocol: str, **more: Any) -> dict[str, Any]:
    """An observation between eth1 and eth1, as expected unless ``more`` says otherwise."""
    return {
        "step": step,
        "source": source,
        "source_interface": "eth1",
        "destination": destination,
        "destination_interface": "eth1",
        "protocol": protocol,
        "expected": "reached",
        "outcome": "reached",
        "verdict": "pass",
        "seen_at": [f"{destination}/eth1"],
        "control": True,
        "detail": "reached as expected",
        "crosses": "VNI 5 node1-node2",
        **more,
    }


RECORDED: list[tuple[str, dict[str, Any]]] = [
    (
        "run-started",
        {
            "schema": 1,
            "run": "20260102T030405Z-abcdef",
            "scenario": "two-pods",
            "file": "two-pods.yaml",
            "description": "Two pods & one <network>.",
            "lab": {"nodes": ["node1", "node2"], "dialect": "default"},
            "steps": [
                {"name": "pods", "action": "apply", "line": 7},
                {"name": "probe", "action": "matrix", "line": 20},
                {"name": "nothing is left over", "action": "leftovers", "line": 22},
            ],
            "environment": {"kernel": "6.1", "python": "3.11.7"},
        },
    ),
    ("capability", {"name": "vxlan", "available": True, "detail": "made one", "remedy": ""}),
    ("capability", {"name": "bpf", "available": False, "detail": "refused", "remedy": "run as root"}),
    ("lab-starting", {"nodes": ["node1", "node2"]}),
    ("lab-ready", {"seconds": 0.9}),
    ("step-started", {"index": 0, "name": "pods", "action": "apply", "line": 7}),
    ("step-finished", {"index": 0, "verdict": "pass", "seconds": 0.1, "facts": ["created Pod default/a"]}),
    ("step-started", {"index": 1, "name": "probe", "action": "matrix", "line": 20}),
    (
        "drawing",
        {
            "step": 1,
            "nodes": [
                {"id": "node/node1", "kind": "node", "label": "node1"},
                {"id": "node/node2", "kind": "node", "label": "node2"},
                {"id": "pod/default/a", "kind": "pod", "label": "default/a"},
                {"id": "pod/default/b", "kind": "pod", "label": "default/b"},
                {"id": "network/left", "kind": "network", "label": "left", "detail": "10.1.1.0/24"},
            ],
            "edges": [
                {"source": "pod/default/a", "target": "node/node1", "kind": "runs-on"},
                {"source": "pod/default/b", "target": "node/node2", "kind": "runs-on"},
                {"source": "pod/default/a", "target": "network/left", "kind": "attachment", "label": "eth1"},
                {"source": "pod/default/b", "target": "network/left", "kind": "attachment", "label": "eth1"},
            ],
        },
    ),
    ("observation", cell(1, "default/b", "default/a", "udp")),
    ("observation", cell(1, "default/b", "default/a", "arp")),
    ("observation", cell(1, "default/a", "default/b", "arp")),
    (
        "observation",
        cell(
            1,
            "default/a",
            "default/b",
            "udp",
            outcome="not-reached",
            verdict="fail",
            seen_at=[],
            detail="should be reached: nothing arrived",
        ),
    ),
    (
        "capture",
        {
            "step": 1,
            "path": "captures/step-02/default-a-eth1.pcap",
            "pod": "default/a",
            "interface": "eth1",
        },
    ),
    (
        "attachment",
        {
            "step": 1,
            "pod": "default/a",
            "interface": "eth1",
            "field": "MAC",
            "expected": "02:00:00:00:00:01",
            "annotation": "02:00:00:00:00:01",
            "kernel": "02:00:00:00:00:01",
            "verdict": "pass",
        },
    ),
    ("evidence", {"step": 1, "title": "log of vrouter", "text": "ping \x1b[31mred\x00 <done>"}),
    (
        "step-finished",
        {
            "index": 1,
            "verdict": "fail",
            "reason": "1 of 4 cells not as expected",
            "seconds": 0.7,
            "facts": ["4 cells"],
        },
    ),
    ("step-started", {"index": 2, "name": "nothing is left over", "action": "leftovers", "line": 22}),
    ("step-finished", {"index": 2, "verdict": "pass", "seconds": 0.2}),
    ("run-finished", {"verdict": "pass", "reason": ""}),
]


def events_of(records: list[tuple[str, dict[str, Any]]]) -> list[Event]:
    """Numbered events, an eighth of a second apart."""
    return [
        Event(number, 1767323045.0 + number / 8, kind, data)
        for number, (kind, data) in enumerate(records, start=1)
    ]


@pytest.fixture
def recorded() -> list[Event]:
    return events_of(RECORDED)
