"""The sandboxes of a lab, as its kubelets note them: one small JSON file per pod."""

from __future__ import annotations

import json
from pathlib import Path

from topology.backend import Sandbox


def read_sandbox(path: Path) -> Sandbox | None:
    """The sandbox of one file; None when the pod went away meanwhile."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not Path(f"/proc/{record['pid']}").exists():
        return None
    return Sandbox(
        namespace=record["namespace"],
        pod=record["name"],
        uid=record["uid"],
        node=record["node"],
        pid=record["pid"],
        netns=record["netns"],
    )


def read_sandboxes(nodes: Path) -> tuple[Sandbox, ...]:
    """All sandboxes of the nodes whose root directories are in ``nodes``, by namespace and pod."""
    if not nodes.is_dir():
        return ()
    found = (
        read_sandbox(path)
        for node in nodes.iterdir()
        for path in (node / "kubelet" / "sandboxes").glob("*.json")
    )
    return tuple(sorted((s for s in found if s is not None), key=lambda s: (s.namespace, s.pod)))
