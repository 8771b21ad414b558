"""Which pod may run on which node: taints, selectors, node affinity. Pure.

Filters and their words follow kube-scheduler (NodeUnschedulable, TaintToleration, NodeAffinity), so that an
event reads as on a real cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from multinet.model.objects import Obj, labels_of, name_of, section

UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_BLOCKING_EFFECTS = ("NoSchedule", "NoExecute")
_AFFINITY_REASON = "node(s) didn't match Pod's node affinity/selector"


def objection(pod: Obj, node: Obj) -> str:
    """Why ``pod`` may not run on ``node``, in kube-scheduler's words; empty if it may."""
    spec = section(pod, "spec")
    tolerations = spec.get("tolerations") or []
    if section(node, "spec").get("unschedulable") and not _tolerated(UNSCHEDULABLE_TAINT, tolerations):
        return "node(s) were unschedulable"
    for taint in taints_of(node):
        if taint.get("effect") in _BLOCKING_EFFECTS and not _tolerated(taint, tolerations):
            return f"node(s) had untolerated taint {{{taint.get('key', '')}: {taint.get('value', '')}}}"
    labels = labels_of(node)
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(name) != value for name, value in selector.items()):
        return _AFFINITY_REASON
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if required is not None and not any(
        _term_matches(term, node) for term in required.get("nodeSelectorTerms") or []
    ):
        return _AFFINITY_REASON
    return ""


def fits_daemon(pod: Obj, node: Obj) -> bool:
    """Whether a DaemonSet wants this pod on the node, be the node ready or not."""
    return not objection(pod, {**node, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})


def taints_of(node: Obj) -> list[Mapping[str, Any]]:
    """The node's taints, with the one that the node lifecycle controller would give one not ready."""
    taints: list[Mapping[str, Any]] = list(section(node, "spec").get("taints") or [])
    conditions = section(node, "status").get("conditions") or []
    ready = next((c.get("status") for c in conditions if c.get("type") == "Ready"), "Unknown")
    if ready != "True":
        what = "not-ready" if ready == "False" else "unreachable"
        taints.append({"key": f"node.kubernetes.io/{what}", "effect": "NoSchedule"})
    return taints


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """An empty effect or key (the latter with Exists) matches all (core/v1 Toleration)."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _term_matches(term: Mapping[str, Any], node: Obj) -> bool:
    """All requirements of a NodeSelectorTerm hold; an empty term matches nothing (core/v1)."""
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    if not expressions and not fields:
        return False
    by_field = {"metadata.name": name_of(node)}
    return all(_requirement_holds(r, labels_of(node)) for r in expressions) and all(
        _requirement_holds(r, by_field) for r in fields
    )


def _requirement_holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.get("key", ""))
    wanted = requirement.get("values") or []
    operator = requirement.get("operator")
    if operator == "In":
        return value in wanted
    if operator == "NotIn":
        return value not in wanted
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    # Gt, Lt and whatever comes later: not matching is the safe side, and the event shows it.
    return False
