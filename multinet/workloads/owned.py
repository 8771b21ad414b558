"""Who owns what, what a template makes, and how far a pod has come. Pure.

Source: kubernetes ``pkg/controller/controller_utils.go`` and ``pkg/api/v1/pod/util.go``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from multinet.model.objects import Obj, labels_of, metadata_of, name_of, namespace_of, section, uid_of

# Left out of resource names by Kubernetes: no vowels, nothing that looks like another.
_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """The owner reference of the controller, empty where there is none."""
    references: Iterable[Mapping[str, Any]] = metadata_of(obj).get("ownerReferences") or ()
    return next((item for item in references if item.get("controller")), {})


def reference_to(owner: Obj) -> Obj:
    """The owner reference which a controller writes into what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one, or none, matches nothing here."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return False
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    return all(_holds(item, labels) for item in selector.get("matchExpressions") or ())


def _holds(item: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, wanted = labels.get(str(item.get("key"))), item.get("values") or ()
    return {
        "In": value in wanted,
        "NotIn": value not in wanted,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(str(item.get("operator")), False)


def template_hash(template: Mapping[str, Any]) -> str:
    """A short name of what a template says, the same for equal templates."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, rest = divmod(number, len(_SAFE))
        letters.append(_SAFE[rest])
    return "".join(letters)


def pod_from(owner: Obj, *, name: str = "", labels: Mapping[str, str] | None = None) -> Obj:
    """The pod that an owner's template makes; without a name, the API gives one."""
    template = deepcopy(section(owner, "spec").get("template") or {})
    given = template.get("metadata") or {}
    metadata: Obj = {
        "namespace": namespace_of(owner),
        "labels": {**(given.get("labels") or {}), **(labels or {})},
        "annotations": dict(given.get("annotations") or {}),
        "ownerReferences": [reference_to(owner)],
    }
    metadata |= {"name": name} if name else {"generateName": f"{name_of(owner)}-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def is_ending(obj: Mapping[str, Any]) -> bool:
    """Whether it is being deleted."""
    return bool(metadata_of(obj).get("deletionTimestamp"))


def is_finished(pod: Obj) -> bool:
    """Whether its containers have ended for good."""
    return section(pod, "status").get("phase") in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """Whether it counts as a replica."""
    return not is_ending(pod) and not is_finished(pod)


def condition(obj: Obj, kind: str) -> Mapping[str, Any]:
    """A condition by its type, empty where there is none."""
    conditions: Iterable[Mapping[str, Any]] = section(obj, "status").get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), {})


def is_ready(pod: Obj) -> bool:
    """Whether it has the condition Ready."""
    return condition(pod, "Ready").get("status") == "True"


def available_in(pod: Obj, min_ready_s: float, now: float) -> float | None:
    """Seconds until the pod counts as available (0: it does); None while it is not ready."""
    if not is_ready(pod):
        return None
    since = condition(pod, "Ready").get("lastTransitionTime")
    if not min_ready_s or not since:
        return 0.0
    return max(0.0, datetime.fromisoformat(since).timestamp() + min_ready_s - now)


def first_to_go(pod: Obj) -> tuple[bool, bool, bool, str]:
    """Sort key for scaling down: without a node, not running, not ready, then the youngest come last."""
    placed = bool(section(pod, "spec").get("nodeName"))
    running = section(pod, "status").get("phase") == "Running"
    return (not placed, not running, not is_ready(pod), str(metadata_of(pod).get("creationTimestamp") or ""))


def ordinal(pod: Obj, owner: Obj) -> int:
    """The number at the end of a StatefulSet's pod's name; -1 when it is none."""
    number = name_of(pod).removeprefix(f"{name_of(owner)}-")
    return int(number) if number.isdecimal() else -1


def revision_label(pod: Obj) -> str:
    """Which template revision it was made of."""
    return labels_of(pod).get("controller-revision-hash", "")
