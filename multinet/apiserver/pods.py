"""Pods: defaults, validation, graceful deletion, binding.

Source: kubernetes ``pkg/apis/core/v1/defaults.go``, ``pkg/apis/core/validation`` and
``pkg/registry/core/pod/strategy.go``; the parts a user of a lab meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from multinet.apiserver import metadata as meta
from multinet.apiserver.codec import copied
from multinet.apiserver.errors import (
    FieldError,
    conflict,
    duplicate,
    expect,
    field_forbidden,
    invalid,
    invalid_value,
    required,
    unsupported,
)
from multinet.apiserver.names import dns_label
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.store import Entry
from multinet.model.objects import Obj

DEFAULT_GRACE = 30
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_CONTAINER_LISTS = ("containers", "initContainers")
_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def prepare_create(pod: Obj) -> None:
    """Fill in the defaults of a new pod; its status starts as Pending."""
    spec = pod.get("spec")
    pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    if not isinstance(spec, dict):
        return
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", DEFAULT_GRACE)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    _default_tolerations(spec)
    for container in _containers(spec):
        _default_container(container)


def _default_tolerations(spec: Obj) -> None:
    held = spec.setdefault("tolerations", [])
    if not isinstance(held, list):
        return
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(isinstance(one, dict) and one.get("key") in (key, None, "") for one in held):
            held.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _default_container(container: Obj) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    always = tag in ("", "latest") and "@" not in image
    container.setdefault("imagePullPolicy", "Always" if always else "IfNotPresent")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        if isinstance(port, dict):
            port.setdefault("protocol", "TCP")


def _containers(spec: Obj) -> Iterator[Obj]:
    for field in _CONTAINER_LISTS:
        held = spec.get(field)
        if isinstance(held, list):
            yield from (container for container in held if isinstance(container, dict))


def validate(pod: Obj) -> Iterator[FieldError]:
    """Yield what is wrong with a pod's spec."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        yield required("spec.containers")
        return
    if not spec.get("containers"):
        yield required("spec.containers")
    seen: set[str] = set()
    for field in _CONTAINER_LISTS:
        for index, container in enumerate(spec.get(field) or ()):
            yield from _container_findings(container, f"spec.{field}[{index}]", seen)
    for index, volume in enumerate(spec.get("volumes") or ()):
        if not volume.get("name"):
            yield required(f"spec.volumes[{index}].name")
    for field, allowed in (
        ("restartPolicy", ("Always", "OnFailure", "Never")),
        ("dnsPolicy", ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")),
    ):
        if spec.get(field) not in (None, *allowed):
            yield unsupported(f"spec.{field}", spec[field], allowed)
    grace = spec.get("terminationGracePeriodSeconds")
    if not isinstance(grace, int) or grace < 0:
        yield invalid_value("spec.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")


def _container_findings(container: Any, path: str, seen: set[str]) -> Iterator[FieldError]:
    if not isinstance(container, dict):
        yield invalid_value(path, container, "must be an object")
        return
    name = container.get("name")
    if not name:
        yield required(f"{path}.name")
    elif not isinstance(name, str):
        yield invalid_value(f"{path}.name", name, "must be a string")
    elif wrong := dns_label(name):
        yield invalid_value(f"{path}.name", name, wrong)
    elif name in seen:
        yield duplicate(f"{path}.name", name)
    else:
        seen.add(name)
    if not container.get("image"):
        yield required(f"{path}.image")
    if container.get("imagePullPolicy") not in ("Always", "IfNotPresent", "Never"):
        yield unsupported(
            f"{path}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never")
        )
    for field in ("command", "args"):
        if not all(isinstance(word, str) for word in container.get(field) or ()):
            yield invalid_value(f"{path}.{field}", container[field], "must be a list of strings")
    for field in ("env", "volumeMounts"):
        for index, item in enumerate(container.get(field) or ()):
            if not item.get("name"):
                yield required(f"{path}.{field}[{index}].name")
    for index, port in enumerate(container.get("ports") or ()):
        yield from _port(port, f"{path}.ports[{index}]")


def _port(port: Obj, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with one port; ``hostPort`` 0 is none."""
    for field in ("containerPort", "hostPort"):
        number = port.get(field)
        if field == "hostPort" and number in (None, 0):
            continue
        if not isinstance(number, int) or not 1 <= number <= 65535:
            yield invalid_value(f"{path}.{field}", number, "must be between 1 and 65535, inclusive")
    if port.get("protocol", "TCP") not in _PROTOCOLS:
        yield unsupported(f"{path}.protocol", port["protocol"], _PROTOCOLS)


def validate_update(pod: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield the change of anything in the spec that can't change."""
    now, before = pod["spec"], old["spec"]
    if now == before:
        return
    now = copied(now)
    for field in _CONTAINER_LISTS:
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
        for container in _containers(spec):
            _default_container(container)


def grace_seconds(pod: Obj, asked: int | None) -> int:
    """Return how long the kubelet has; 0 for a pod that no kubelet runs or that has ended."""
    phase = (pod.get("status") or {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return max(asked, 0)
    return int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE))


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
