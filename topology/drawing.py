"""Where to draw what: a simple layered layout of a lab, the same for the same lab.

From top to bottom: the fabric, the nodes on it, the pods under their nodes, the networks. Boxes stand in
equal columns, wide enough for the longest text in them, so a reader finds the same pod at the same place in
two reports of one scenario. Plain hosts stand below the pods of the node they are connected to. The result is
plain data; who draws it needs no layout library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from topology.expectation import ExpectedPod
from topology.graph import Reachability

_BOX_W, _BOX_H, _GAP = 150, 46, 24
_CHAR, _PAD = 8, 10
_ROWS = {"fabric": 20, "node": 110, "pod": 220, "network": 340}
_POD_STEP = 70


def draw(reachability: Reachability, nodes: Sequence[str], control_plane: str = "cp") -> dict[str, Any]:
    """``{"width", "height", "nodes", "edges"}``.

    A node is ``{id, kind, label, detail, x, y, w, h}`` with kind ``fabric``, ``node``, ``pod``, ``host`` or
    ``network``; x and y are its upper left corner. An edge is ``{source, target, kind, label}`` with kind
    ``fabric-link``, ``runs-on``, ``attachment`` (with ``interface``, ``mac`` and ``addresses``) or
    ``tunnel`` (with ``vni`` and ``network``; between nodes).
    """
    columns = (control_plane, *nodes)
    by_node = {
        node: sorted((pod for pod in reachability.pods if pod.node == node), key=_kind, reverse=True)
        for node in columns
    }
    deepest = max((len(pods) for pods in by_node.values()), default=0)
    networks = sorted({item.network for pod in reachability.pods for item in pod.interfaces})
    w = _box_width(reachability, (*columns, *networks))
    width = _span(max(len(columns), len(networks)), w)
    y_network = _ROWS["network"] + max(0, deepest - 1) * _POD_STEP
    boxes = [_box("fabric", "fabric", "fabric", "100.64.0.0/24", _GAP, _ROWS["fabric"], w=width - 2 * _GAP)]
    edges: list[dict[str, Any]] = []
    for column, node in enumerate(columns):
        x = _x(column, len(columns), width, w)
        boxes.append(_box(f"node/{node}", "node", node, "", x, _ROWS["node"], w=w))
        edges.append(_edge(f"node/{node}", "fabric", "fabric-link", "eth0"))
        for row, pod in enumerate(by_node[node]):
            y = _ROWS["pod"] + row * _POD_STEP
            boxes.append(_box(f"pod/{pod.pod}", _kind(pod), pod.pod, pod.problem, x, y, w=w))
            edges.append(_edge(f"pod/{pod.pod}", f"node/{node}", "runs-on", ""))
    for column, network in enumerate(networks):
        x = _x(column, len(networks), width, w)
        subnets = _subnets(reachability, network)
        boxes.append(_box(f"network/{network}", "network", network, subnets, x, y_network, w=w))
    edges += _attachments(reachability)
    for tunnel in reachability.tunnels():
        first, second = (f"node/{node}" for node in tunnel.nodes)
        edges.append(_edge(first, second, "tunnel", tunnel.name, vni=tunnel.vni, network=tunnel.network))
    return {"width": width, "height": y_network + _BOX_H + _GAP, "nodes": boxes, "edges": edges}


def _attachments(reachability: Reachability) -> list[dict[str, Any]]:
    return [
        _edge(
            f"pod/{pod.pod}",
            f"network/{item.network}",
            "attachment",
            item.interface,
            interface=item.interface,
            mac=item.mac,
            addresses=list(reachability.addresses.get((pod.pod, item.interface), ())),
        )
        for pod in reachability.pods
        for item in pod.interfaces
    ]


def _subnets(reachability: Reachability, network: str) -> str:
    found = {
        subnet
        for pod in reachability.pods
        for item in pod.interfaces
        if item.network == network
        for subnet in item.subnets
    }
    return ", ".join(sorted(found))


def _kind(pod: ExpectedPod) -> str:
    """A plain host's expectation has its own name where a pod's has the uid."""
    return "host" if pod.uid == pod.pod else "pod"


def _box_width(reachability: Reachability, names: Sequence[str]) -> int:
    texts = [*names, *(pod.pod for pod in reachability.pods)]
    return max([_BOX_W, *(len(text) * _CHAR + 2 * _PAD for text in texts)])


def _span(count: int, w: int) -> int:
    return _GAP + count * (w + _GAP)


def _x(column: int, count: int, width: int, w: int) -> int:
    """Spread ``count`` boxes over the width."""
    return _GAP + (width - _span(count, w)) // 2 + column * (w + _GAP)


def _box(identity: str, kind: str, label: str, detail: str, x: int, y: int, *, w: int) -> dict[str, Any]:
    return {
        "id": identity,
        "kind": kind,
        "label": label,
        "detail": detail,
        "x": x,
        "y": y,
        "w": w,
        "h": _BOX_H,
    }


def _edge(source: str, target: str, kind: str, label: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "target": target, "kind": kind, "label": label, **more}
