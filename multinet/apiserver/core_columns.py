"""The columns of the built-in kinds other than pods. Source: kubernetes ``pkg/printers/internalversion``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multinet.apiserver.columns import AGE, NAME, since
from multinet.apiserver.resources import Column
from multinet.model.objects import Obj

_ROLE = "node-role.kubernetes.io/"


def _at(*path: str, empty: str = "<none>") -> Callable[[Obj, float], Any]:
    """Return a cell with the text at a path."""

    def cell(obj: Obj, _now: float) -> Any:
        held: Any = obj
        for name in path:
            held = held.get(name) if isinstance(held, dict) else None
        return empty if held in (None, "") else str(held)

    return cell


def _count(field: str) -> Callable[[Obj, float], Any]:
    return lambda obj, _now: len(obj.get(field) or ())


def _node_status(node: Obj, _now: float) -> str:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = next((c.get("status") for c in conditions if c.get("type") == "Ready"), None)
    shown = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return f"{shown},SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else shown


def _node_roles(node: Obj, _now: float) -> str:
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE}
    return ",".join(sorted(roles)) or "<none>"


def _node_address(kind: str) -> Callable[[Obj, float], str]:
    def cell(node: Obj, _now: float) -> str:
        addresses = (node.get("status") or {}).get("addresses") or []
        return next((a["address"] for a in addresses if a.get("type") == kind), "<none>")

    return cell


def _last_seen(event: Obj, now: float) -> str:
    series = event.get("series") or {}
    stamp = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
    )
    return since(stamp, now)


def _first_seen(event: Obj, now: float) -> str:
    return since(event.get("firstTimestamp") or event["metadata"].get("creationTimestamp"), now)


def _involved(event: Obj, _now: float) -> str:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _event_source(event: Obj, _now: float) -> str:
    source = event.get("source") or {}
    parts = (source.get("component") or event.get("reportingComponent"), source.get("host"))
    return ", ".join(part for part in parts if part)


def _message(event: Obj, _now: float) -> str:
    return str(event.get("message", "")).strip()


def _event_count(event: Obj, _now: float) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


NAMESPACE = (NAME, Column("Status", _at("status", "phase")), AGE)
NODE = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _node_roles),
    AGE,
    Column("Version", _at("status", "nodeInfo", "kubeletVersion", empty="")),
    Column("Internal-IP", _node_address("InternalIP"), priority=1),
    Column("External-IP", _node_address("ExternalIP"), priority=1),
    Column("OS-Image", _at("status", "nodeInfo", "osImage", empty="<unknown>"), priority=1),
    Column("Kernel-Version", _at("status", "nodeInfo", "kernelVersion", empty="<unknown>"), priority=1),
    Column(
        "Container-Runtime",
        _at("status", "nodeInfo", "containerRuntimeVersion", empty="<unknown>"),
        priority=1,
    ),
)
EVENT = (
    Column("Last Seen", _last_seen),
    Column("Type", _at("type", empty="")),
    Column("Reason", _at("reason", empty="")),
    Column("Object", _involved),
    Column("Subobject", _at("involvedObject", "fieldPath", empty=""), priority=1),
    Column("Source", _event_source, priority=1),
    Column("Message", _message),
    Column("First Seen", _first_seen, priority=1),
    Column("Count", _event_count, type="integer", priority=1),
    Column("Name", _at("metadata", "name"), priority=1),
)
CONFIG_MAP = (NAME, Column("Data", _count("data"), type="integer"), AGE)
SECRET = (
    NAME,
    Column("Type", _at("type", empty="Opaque")),
    Column("Data", _count("data"), type="integer"),
    AGE,
)
SERVICE_ACCOUNT = (NAME, Column("Secrets", _count("secrets"), type="integer", priority=1), AGE)
LEASE = (NAME, Column("Holder", _at("spec", "holderIdentity", empty="")), AGE)
CRD = (
    NAME,
    Column("Created At", _at("metadata", "creationTimestamp"), type="date"),
)
