"""Pods: what comes with creation, which updates there are, graceful deletion, binding.

Source: kubernetes ``pkg/apis/core/validation`` and ``pkg/registry/core/pod/strategy.go``; the parts a user of
a lab meets. Defaults and what is wrong with a spec: :mod:`.pod_defaults`, :mod:`.pod_validation`.
"""

from __future__ import annotations

from collections.abc import Iterator

from multinet.apiserver import metadata as meta
from multinet.apiserver import pod_defaults
from multinet.apiserver.codec import copied
from multinet.apiserver.errors import FieldError, conflict, expect, field_forbidden, invalid, required
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.pod_defaults import CONTAINER_LISTS
from multinet.apiserver.store import Entry
from multinet.model.objects import Obj

_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def prepare_create(pod: Obj) -> None:
    """Fill in the defaults of a new pod; its status starts as Pending."""
    spec = pod.get("spec")
    pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    if isinstance(spec, dict):
        pod_defaults.fill_in(spec)
        pod["status"]["qosClass"] = pod_defaults.qos_class(spec)


def validate_update(pod: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield the change of anything in the spec that can't change."""
    now, before = pod["spec"], old["spec"]
    if now == before:
        return
    now = copied(now)
    for field in CONTAINER_LISTS:
        held = before.get(field) or []
        for index, container in enumerate(now.get(field) or ()):
            if index < len(held):
                container["image"] = held[index].get("image")
    if all(toleration in now.get("tolerations", ()) for toleration in before.get("tolerations", ())):
        now["tolerations"] = before.get("tolerations", [])
    for field in ("activeDeadlineSeconds",):
        now.pop(field, None)
        if field in before:
            now[field] = before[field]
    if now != before:
        changed = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
        yield field_forbidden("spec", f"{_CHANGEABLE}; changed: {', '.join(changed)}")


def prepare_update(pod: Obj, old: Obj) -> None:
    """Keep the defaults a partial update left out."""
    spec = pod.get("spec")
    if isinstance(spec, dict):
        for field in ("serviceAccount", "serviceAccountName", "tolerations", "priority", "preemptionPolicy"):
            if field not in spec and field in old["spec"]:
                spec[field] = old["spec"][field]
        for field in (
            "restartPolicy",
            "terminationGracePeriodSeconds",
            "dnsPolicy",
            "schedulerName",
            "securityContext",
            "enableServiceLinks",
            "nodeName",
        ):
            if field not in spec and field in old["spec"]:
                spec[field] = old["spec"][field]
        pod_defaults.fill_in_parts(spec)


def grace_seconds(pod: Obj, asked: int | None) -> int:
    """Return how long the kubelet has; 0 for a pod that no kubelet runs or that has ended."""
    phase = (pod.get("status") or {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return max(asked, 0)
    return int(pod["spec"].get("terminationGracePeriodSeconds", pod_defaults.DEFAULT_GRACE))


def bind(operations: Operations, target: Target, binding: Obj, options: Options) -> Entry:
    """Assign the pod to a node (``POST pods/NAME/binding``)."""
    expect(binding.get("target"), dict, "target")
    node = (binding.get("target") or {}).get("name", "")
    if not node:
        raise invalid("Binding", "", target.name, [required("target.name")])
    current = operations.get(target)
    pod = current.copy()
    if pod["spec"].get("nodeName"):
        why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise conflict("pods/binding", "", target.name, why)
    if "deletionTimestamp" in pod["metadata"]:
        why = f"pod {target.name} is being deleted, cannot be assigned to a host"
        raise conflict("pods/binding", "", target.name, why)
    pod["spec"]["nodeName"] = node
    annotations = (binding.get("metadata") or {}).get("annotations") or {}
    if annotations:
        pod["metadata"].setdefault("annotations", {}).update(annotations)
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [c for c in conditions if c.get("type") != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": meta.timestamp()})
    if options.dry_run:
        return current
    return operations.store.replace(current, pod)
