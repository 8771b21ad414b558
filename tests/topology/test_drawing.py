"""The drawing's data: boxes by text length, hosts as boxes of their own."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from topology.drawing import draw
from topology.expectation import ExpectedInterface, ExpectedPod
from topology.graph import Reachability

NETWORK = "default-domain.k8s-default.k8s-right-network-pod-network"


def attached(name: str, uid: str, node: str) -> ExpectedPod:
    interface = ExpectedInterface(
        index=0,
        interface="eth0",
        mac="02:00:00:00:00:01",
        network=NETWORK,
        fq_name=tuple(NETWORK.split(".")),
        nad="",
        vni=5,
        forwarding_mode="l2_l3",
        subnets=("10.20.20.0/24",),
    )
    return ExpectedPod(name, uid, node, (interface,))


@pytest.fixture
def drawing() -> dict[str, Any]:
    pods = (
        attached("default/a-pod-with-a-rather-long-name", "1", "node1"),
        attached("host/outside", "host/outside", "node1"),
        attached("host/a-pod-in-namespace-host", "2", "node2"),
    )
    return draw(Reachability(pods), ["node1", "node2"])


def test_a_plain_host_is_a_host_and_a_pod_in_a_namespace_of_that_name_is_not(drawing: dict[str, Any]) -> None:
    kinds = {node["label"]: node["kind"] for node in drawing["nodes"]}
    assert kinds["host/outside"] == "host"
    assert kinds["host/a-pod-in-namespace-host"] == "pod"
    labels = [node["label"] for node in drawing["nodes"]]
    assert labels.index("default/a-pod-with-a-rather-long-name") < labels.index("host/outside")
    assert {edge["target"] for edge in drawing["edges"] if edge["source"] == "pod/host/outside"} == {
        "node/node1",
        f"network/{NETWORK}",
    }


def test_boxes_are_as_wide_as_their_text_and_apart(drawing: dict[str, Any]) -> None:
    for node in drawing["nodes"]:
        assert node["w"] >= 8 * len(node["label"])
        assert node["x"] >= 0
        assert node["x"] + node["w"] <= drawing["width"]
    for a, b in combinations(drawing["nodes"], 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
