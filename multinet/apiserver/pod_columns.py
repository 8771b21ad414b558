"""The columns of ``kubectl get pods``. Source: kubernetes ``pkg/printers/internalversion`` ``printPod``."""

from __future__ import annotations

from typing import Any

from multinet.apiserver.columns import AGE, NAME, since
from multinet.apiserver.resources import Column
from multinet.model.objects import Obj


def _statuses(pod: Obj, field: str) -> list[Obj]:
    return (pod.get("status") or {}).get(field) or []


def _ready(pod: Obj, _now: float) -> str:
    total = len(pod["spec"].get("containers", ()))
    ready = sum(bool(status.get("ready")) for status in _statuses(pod, "containerStatuses"))
    return f"{ready}/{total}"


def _restarts(pod: Obj, now: float) -> str:
    statuses = _statuses(pod, "containerStatuses")
    count = sum(int(status.get("restartCount", 0)) for status in statuses)
    ends = [
        status["lastState"]["terminated"]["finishedAt"]
        for status in statuses
        if ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    ]
    return f"{count} ({since(max(ends), now)} ago)" if count and ends else str(count)


def _status(pod: Obj, _now: float) -> str:
    status = pod.get("status") or {}
    phase = status.get("phase", "Unknown")
    reason = status.get("reason") or phase
    reason = _init_reason(pod) or _container_reason(pod, reason)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _init_reason(pod: Obj) -> str:
    total = len(pod["spec"].get("initContainers", ()))
    for index, status in enumerate(_statuses(pod, "initContainerStatuses")):
        state = status.get("state") or {}
        ended = state.get("terminated")
        if ended is not None:
            if not ended.get("exitCode"):
                continue
            return f"Init:{_ended_reason(ended)}"
        waiting = (state.get("waiting") or {}).get("reason", "")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return ""


def _container_reason(pod: Obj, reason: str) -> str:
    running = False
    for status in reversed(_statuses(pod, "containerStatuses")):
        state = status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _ended_reason(ended)
        elif status.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if _condition(pod, "Ready") == "True" else "NotReady"
    return reason


def _ended_reason(ended: Obj) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _condition(pod: Obj, type_: str) -> str:
    return next((c.get("status", "") for c in _statuses(pod, "conditions") if c.get("type") == type_), "")


def _address(pod: Obj, _now: float) -> str:
    status = pod.get("status") or {}
    addresses = status.get("podIPs") or []
    return (addresses[0].get("ip") if addresses else status.get("podIP")) or "<none>"


def _node(pod: Obj, _now: float) -> str:
    return pod["spec"].get("nodeName") or "<none>"


def _nominated(pod: Obj, _now: float) -> str:
    return (pod.get("status") or {}).get("nominatedNodeName") or "<none>"


def _gates(pod: Obj, _now: float) -> str:
    gates: list[Any] = pod["spec"].get("readinessGates") or []
    if not gates:
        return "<none>"
    met = sum(_condition(pod, gate.get("conditionType", "")) == "True" for gate in gates)
    return f"{met}/{len(gates)}"


COLUMNS = (
    NAME,
    Column("Ready", _ready, description="The aggregate readiness state of this pod for accepting traffic."),
    Column("Status", _status, description="The aggregate status of the containers in this pod."),
    Column(
        "Restarts",
        _restarts,
        description="The number of times the containers in this pod have been restarted.",
    ),
    AGE,
    Column("IP", _address, priority=1, description="IP address allocated to the pod."),
    Column("Node", _node, priority=1, description="Name of the node the pod is scheduled onto."),
    Column("Nominated Node", _nominated, priority=1, description="Node nominated to run the pod."),
    Column("Readiness Gates", _gates, priority=1, description="Readiness gates met of those asked for."),
)
