"""The columns of workloads. Source: kubernetes ``pkg/printers/internalversion``."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

from multinet.apiserver.columns import AGE, NAME, human_duration
from multinet.apiserver.resources import Column
from multinet.model.objects import Obj


def _number(section: str, name: str, default: int = 0) -> Callable[[Obj, float], int]:
    return lambda obj, _now: int((obj.get(section) or {}).get(name, default))


def _of(part: str, whole: str) -> Callable[[Obj, float], str]:
    """``ready/desired``."""

    def cell(obj: Obj, _now: float) -> str:
        return f"{(obj.get('status') or {}).get(part, 0)}/{obj['spec'].get(whole, 1)}"

    return cell


def _containers(obj: Obj) -> list[Obj]:
    found: list[Obj] = ((obj["spec"].get("template") or {}).get("spec") or {}).get("containers") or []
    return found


def _names(obj: Obj, _now: float) -> str:
    return ",".join(str(item.get("name")) for item in _containers(obj))


def _images(obj: Obj, _now: float) -> str:
    return ",".join(str(item.get("image")) for item in _containers(obj))


def _selector(obj: Obj, _now: float) -> str:
    selector = obj["spec"].get("selector") or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    return ",".join([*parts, *_expressions(selector)]) or "<none>"


def _expressions(selector: Obj) -> Iterator[str]:
    for item in selector.get("matchExpressions") or ():
        values = ",".join(item.get("values") or ())
        yield f"{item.get('key')} {str(item.get('operator', '')).lower()} ({values})"


def _node_selector(obj: Obj, _now: float) -> str:
    chosen = ((obj["spec"].get("template") or {}).get("spec") or {}).get("nodeSelector") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(chosen.items())) or "<none>"


def _job_status(job: Obj, _now: float) -> str:
    held = {
        c.get("type") for c in (job.get("status") or {}).get("conditions") or () if c.get("status") == "True"
    }
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if kind in held:
            return shown
    return "Terminating" if "deletionTimestamp" in job["metadata"] else "Running"


def _completions(job: Obj, _now: float) -> str:
    done = (job.get("status") or {}).get("succeeded", 0)
    wanted, parallelism = job["spec"].get("completions"), job["spec"].get("parallelism", 1)
    if wanted is not None:
        return f"{done}/{wanted}"
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Obj, now: float) -> str:
    status = job.get("status") or {}
    if not status.get("startTime"):
        return ""
    begun = datetime.datetime.fromisoformat(status["startTime"]).timestamp()
    ended = status.get("completionTime")
    return human_duration((datetime.datetime.fromisoformat(ended).timestamp() if ended else now) - begun)


_WIDE: tuple[Column, ...] = (
    Column("Containers", _names, priority=1),
    Column("Images", _images, priority=1),
    Column("Selector", _selector, priority=1),
)
DEPLOYMENT = (
    NAME,
    Column("Ready", _of("readyReplicas", "replicas")),
    Column("Up-to-date", _number("status", "updatedReplicas"), type="integer"),
    Column("Available", _number("status", "availableReplicas"), type="integer"),
    AGE,
    *_WIDE,
)
REPLICA_SET = (
    NAME,
    Column("Desired", _number("spec", "replicas", 1), type="integer"),
    Column("Current", _number("status", "replicas"), type="integer"),
    Column("Ready", _number("status", "readyReplicas"), type="integer"),
    AGE,
    *_WIDE,
)
DAEMON_SET = (
    NAME,
    Column("Desired", _number("status", "desiredNumberScheduled"), type="integer"),
    Column("Current", _number("status", "currentNumberScheduled"), type="integer"),
    Column("Ready", _number("status", "numberReady"), type="integer"),
    Column("Up-to-date", _number("status", "updatedNumberScheduled"), type="integer"),
    Column("Available", _number("status", "numberAvailable"), type="integer"),
    Column("Node Selector", _node_selector),
    AGE,
    *_WIDE,
)
STATEFUL_SET = (NAME, Column("Ready", _of("readyReplicas", "replicas")), AGE, *_WIDE[:2])
JOB = (
    NAME,
    Column("Status", _job_status),
    Column("Completions", _completions),
    Column("Duration", _job_duration),
    AGE,
    *_WIDE,
)
