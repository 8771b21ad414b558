"""A pod's status, computed from what runs. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from multinet.kubelet.containers import Container, Exit
from multinet.kubelet.podspec import containers_of, is_sidecar, restart_policy
from multinet.model.objects import Obj, section

# The conditions which this kubelet decides; others belong to others.
CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
# The keys of a status which this kubelet owns; others are left as they are.
OWNED = (
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "conditions",
    "initContainerStatuses",
    "containerStatuses",
)


@dataclass(frozen=True, slots=True)
class PodView:
    """What there is of a pod on the node. ``waiting`` maps a container to (reason, message).

    ``ended`` is set when the pod as a whole has failed: (reason, message).
    """

    init: Sequence[Container]
    main: Sequence[Container]
    waiting: Mapping[str, tuple[str, str]]
    has_network: bool
    pod_ips: tuple[str, ...]
    host_ips: tuple[str, ...]
    ended: tuple[str, str] | None = None


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as Kubernetes writes times: ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_status(pod: Obj, view: PodView, now: str) -> Obj:
    """The status of ``pod``; condition times are kept where the condition's status is unchanged."""
    existing = section(pod, "status")
    phase = phase_of(pod, view)
    done = phase in ("Succeeded", "Failed")
    init_done = not any(_holds_back(spec, item) for spec, item in _inits(pod, view))
    serving = (*(item for spec, item in _inits(pod, view) if is_sidecar(spec)), *view.main)
    unready = [item.name for item in serving if not item.ready]
    ready = init_done and not unready and not done
    listed = f"containers with unready status: [{' '.join(unready)}]"
    why = ("PodCompleted", "") if done else ("ContainersNotReady", listed)
    gates = () if not ready else _closed_gates(pod)
    pod_why = ("ReadinessGatesNotReady", f"readiness gates: {', '.join(gates)}") if gates else why
    conditions = [
        _condition("PodReadyToStartContainers", view.has_network and not done),
        _condition("Initialized", init_done, "" if init_done else "ContainersNotInitialized"),
        _condition("Ready", ready and not gates, *(("", "") if ready and not gates else pod_why)),
        _condition("ContainersReady", ready, *(("", "") if ready else why)),
        _condition("PodScheduled", True),
    ]
    status: Obj = {
        "phase": phase,
        "startTime": existing.get("startTime") or now,
        "hostIP": view.host_ips[0],
        "hostIPs": [{"ip": each} for each in view.host_ips],
        "conditions": _merged(existing.get("conditions") or (), conditions, now),
        "containerStatuses": _statuses(containers_of(pod), view.main, view.waiting),
    }
    if view.ended is not None:
        status |= {"reason": view.ended[0], "message": view.ended[1]}
    if view.pod_ips:
        status |= {"podIP": view.pod_ips[0], "podIPs": [{"ip": ip} for ip in view.pod_ips]}
    if view.init:
        inits = containers_of(pod, "initContainers")
        status["initContainerStatuses"] = _statuses(inits, view.init, view.waiting, init=True)
    return status


def phase_of(pod: Obj, view: PodView) -> str:
    """The phase by the rules of Kubernetes ("Pod Lifecycle")."""
    policy = restart_policy(pod)
    if view.ended is not None:
        return "Failed"
    inits = _inits(pod, view)
    if policy == "Never" and any(_failed(item) for spec, item in inits if not is_sidecar(spec)):
        return "Failed"
    # A sidecar counts once: when it has been started, what becomes of it later changes no phase.
    if any(_holds_back(spec, item) and not (is_sidecar(spec) and item.attempts) for spec, item in inits):
        return "Pending"
    if any(not item.attempts for item in view.main):
        return "Pending"
    exits = [item.exit for item in view.main]
    if policy == "Always" or any(found is None for found in exits):
        return "Running"
    if all(found is not None and found.code == 0 for found in exits):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _inits(pod: Obj, view: PodView) -> list[tuple[Mapping[str, Any], Container]]:
    return list(zip(containers_of(pod, "initContainers"), view.init, strict=True))


def _holds_back(spec: Mapping[str, Any], item: Container) -> bool:
    """Whether what comes after this init container has to wait for it."""
    return not item.started if is_sidecar(spec) else item.exit is None or item.exit.code != 0


def _failed(item: Container) -> bool:
    return item.exit is not None and item.exit.code != 0


def _closed_gates(pod: Obj) -> tuple[str, ...]:
    """The readiness gates whose conditions somebody has still to set."""
    conditions = section(pod, "status").get("conditions") or ()
    met = {item.get("type") for item in conditions if item.get("status") == "True"}
    gates = [str(gate.get("conditionType")) for gate in section(pod, "spec").get("readinessGates") or ()]
    return tuple(gate for gate in gates if gate not in met)


def status_patch(existing: Mapping[str, Any], wanted: Obj) -> Obj:
    """The merge patch from one status to the other: changed keys, and null for owned keys that vanish."""
    patch = {key: value for key, value in wanted.items() if existing.get(key) != value}
    return patch | {key: None for key in OWNED if key in existing and key not in wanted}


def _statuses(
    specs: Sequence[Mapping[str, Any]],
    containers: Sequence[Container],
    waiting: Mapping[str, tuple[str, str]],
    *,
    init: bool = False,
) -> list[Obj]:
    return [
        _container_status(spec, container, waiting.get(container.name), init=init and not is_sidecar(spec))
        for spec, container in zip(specs, containers, strict=True)
    ]


def _container_status(
    spec: Mapping[str, Any], container: Container, waiting: tuple[str, str] | None, *, init: bool
) -> Obj:
    state: Obj
    last: Obj = _terminated(container.previous)
    if container.running and container.run is not None:
        state = {"running": {"startedAt": timestamp(container.run.started_at)}}
    elif waiting is not None or container.exit is None:
        reason, message = waiting or ("ContainerCreating", "")
        state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        last = _terminated(container.exit or container.previous)
    else:
        state = _terminated(container.exit)
    return {
        "name": container.name,
        "image": str(spec.get("image") or ""),
        "imageID": "",
        "containerID": container.identity,
        "ready": container.exit is not None and container.exit.code == 0 if init else container.ready,
        "started": container.started,
        "restartCount": container.restarts,
        "state": state,
        "lastState": last,
    }


def _terminated(found: Exit | None) -> Obj:
    if found is None:
        return {}
    state: Obj = {
        "exitCode": found.code,
        "reason": found.reason,
        "startedAt": timestamp(found.started_at),
        "finishedAt": timestamp(found.finished_at),
    }
    if found.signal:
        state["signal"] = found.signal
    if found.message:
        state["message"] = found.message
    return {"terminated": state}


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Obj:
    condition: Obj = {"type": kind, "status": "True" if holds else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _merged(existing: Iterable[Mapping[str, Any]], wanted: list[Obj], now: str) -> list[Obj]:
    before = {item.get("type"): item for item in existing}
    for condition in wanted:
        old = before.pop(condition["type"], None)
        same = old is not None and old.get("status") == condition["status"]
        kept = old.get("lastTransitionTime") if old is not None and same else None
        condition["lastTransitionTime"] = kept or now
    return [*wanted, *(dict(item) for item in before.values())]
