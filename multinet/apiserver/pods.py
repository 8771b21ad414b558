"""Pods: what comes with creation, which updates there are, graceful deletion, binding.

Source: kubernetes ``pkg/apis/core/validation`` and ``pkg/registry/core/pod/strategy.go``; the parts a user of
a lab meets. Defaults and what is wrong with a spec: :mod:`.pod_defaults`, :mod:`.pod_validation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from multinet.apiserver import metadata as meta
from multinet.apiserver import pod_defaults
from multinet.apiserver.codec import copied
from multinet.apiserver.errors import (
    FieldError,
    conflict,
    expect,
    field_forbidden,
    forbidden,
    invalid,
    required,
)
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.pod_defaults import CONTAINER_LISTS
from multinet.apiserver.store import Entry, Store
from multinet.model.objects import Obj

_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


_GATED: Obj = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
# The priority classes that every cluster has; others would be objects of a kind that this API does not serve.
_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def prepare_create(pod: Obj) -> None:
    """Fill in the defaults of a new pod; its status starts as Pending."""
    spec = pod.get("spec")
    pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    if isinstance(spec, dict):
        if (priority := spec.get("priorityClassName")) in _PRIORITIES:
            spec["priority"] = _PRIORITIES[priority]
        pod_defaults.fill_in(spec)
        pod["status"]["qosClass"] = pod_defaults.qos_class(spec)
        if spec.get("schedulingGates"):
            pod["status"]["conditions"] = [{**_GATED, "lastTransitionTime": meta.timestamp()}]


def admit(store: Store, pod: Obj, old: Obj | None) -> Iterable[FieldError]:
    """Refuse a new pod whose service account or priority class there is not.

    ``default`` is taken without an object: here nobody makes one for each namespace.
    """
    if old is not None:
        return ()
    spec, namespace, name = pod["spec"], pod["metadata"]["namespace"], pod["metadata"]["name"]
    account = spec["serviceAccountName"]
    if account != "default" and store.get("serviceaccounts", namespace, account) is None:
        why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise forbidden("pods", "", name, why)
    priority = spec.get("priorityClassName")
    if priority and priority not in _PRIORITIES:
        raise forbidden("pods", "", name, f"no PriorityClass with name {priority} was found")
    if spec.get("ephemeralContainers"):
        return [field_forbidden("spec.ephemeralContainers", "cannot be set on create")]
    return ()


def validate_update(pod: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield the change of anything in the spec that can't change."""
    now, before = pod["spec"], old["spec"]
    if now == before:
        return
    for field in CONTAINER_LISTS:
        if len(now.get(field) or ()) != len(before.get(field) or ()):
            yield field_forbidden(f"spec.{field}", "pod updates may not add or remove containers")
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


def _same_address(status: Any) -> None:
    """``podIP`` is the first of ``podIPs``, whichever of them was written."""
    if not isinstance(status, dict):
        return
    one, several = status.get("podIP"), status.get("podIPs") or []
    if one and (not several or several[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif several and not one:
        status["podIP"] = several[0].get("ip")


def prepare_update(pod: Obj, old: Obj) -> None:
    """Keep the defaults a partial update left out."""
    _same_address(pod.get("status"))
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
