"""A pod's status, computed from what runs. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from multinet.kubelet.containers import Container, Exit
from multinet.kubelet.podspec import containers_of, restart_policy
from multinet.model.objects import Obj, section

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
    """What there is of a pod on the node. ``waiting`` maps a container to (reason, message)."""

    init: Sequence[Container]
    main: Sequence[Container]
    waiting: Mapping[str, tuple[str, str]]
    has_network: bool
    pod_ips: tuple[str, ...]
    host_ip: str


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as Kubernetes writes times: ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_status(pod: Obj, view: PodView, now: str) -> Obj:
    """The status of ``pod``; condition times are kept where the condition's status is unchanged."""
    existing = section(pod, "status")
    phase = phase_of(pod, view)
    done = phase in ("Succeeded", "Failed")
    init_done = all(item.exit is not None and item.exit.code == 0 for item in view.init)
    ready = init_done and all(item.running for item in view.main) and not done
    unready = [item.name for item in view.main if not item.running]
    listed = f"containers with unready status: [{' '.join(unready)}]"
    why = ("PodCompleted", "") if done else ("ContainersNotReady", listed)
    conditions = [
        _condition("PodReadyToStartContainers", view.has_network and not done),
        _condition("Initialized", init_done, "" if init_done else "ContainersNotInitialized"),
        _condition("Ready", ready, *(("", "") if ready else why)),
        _condition("ContainersReady", ready, *(("", "") if ready else why)),
        _condition("PodScheduled", True),
    ]
    status: Obj = {
        "phase": phase,
        "startTime": existing.get("startTime") or now,
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "conditions": _merged(existing.get("conditions") or (), conditions, now),
        "containerStatuses": _statuses(containers_of(pod), view.main, view.waiting),
    }
    if view.pod_ips:
        status |= {"podIP": view.pod_ips[0], "podIPs": [{"ip": ip} for ip in view.pod_ips]}
    if view.init:
        inits = containers_of(pod, "initContainers")
        status["initContainerStatuses"] = _statuses(inits, view.init, view.waiting, init=True)
    return status


def phase_of(pod: Obj, view: PodView) -> str:
    """The phase by the rules of Kubernetes ("Pod Lifecycle")."""
    policy = restart_policy(pod)
    if any(item.exit is not None and item.exit.code != 0 for item in view.init) and policy == "Never":
        return "Failed"
    if any(item.exit is None or item.exit.code != 0 for item in view.init):
        return "Pending"
    if any(not item.attempts for item in view.main):
        return "Pending"
    exits = [item.exit for item in view.main]
    if policy == "Always" or any(found is None for found in exits):
        return "Running"
    if all(found is not None and found.code == 0 for found in exits):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


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
        _container_status(spec, container, waiting.get(container.name), init=init)
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
        "ready": container.running if not init else container.exit is not None and container.exit.code == 0,
        "started": container.running,
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
