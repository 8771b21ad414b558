"""Why a pod is not up: everything the cluster says about it that a user could find."""

from __future__ import annotations

from collections.abc import Iterator

from multinet.kube import resources
from multinet.model.attachments import VirtualMachine
from multinet.model.objects import Obj, name_of, namespace_of, section, uid_of
from scenarios.cluster import Cluster

Told = tuple[str, str, str]
"""``(where it is said, reason, message)``."""


def told(cluster: Cluster, pod: Obj) -> Iterator[Told]:
    """Reasons in the pod's status, in its Events and in its VirtualMachine."""
    status = section(pod, "status")
    for condition in status.get("conditions") or ():
        if condition.get("reason"):
            yield f"condition {condition.get('type')}", condition["reason"], condition.get("message") or ""
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            yield f"container {container.get('name')}", waiting["reason"], waiting.get("message") or ""
    for event in cluster.events_of(namespace_of(pod), name_of(pod)):
        yield f"{event.get('type')} event", str(event.get("reason")), str(event.get("message") or "")
    for obj in cluster.all(resources.VIRTUAL_MACHINES):
        machine = VirtualMachine.from_object(obj)
        if machine.pod.uid == uid_of(pod) and machine.resolved is not None and not machine.resolved.is_true:
            yield "VirtualMachine", machine.resolved.reason, machine.resolved.message


def why_pending(cluster: Cluster, pod: Obj) -> str:
    """`` (reason: message)`` of the most telling source, or nothing."""
    found = list(told(cluster, pod))
    for prefix in ("VirtualMachine", "Warning event", "container"):
        for where, reason, message in reversed(found):
            if where.startswith(prefix):
                return f" ({reason}: {message})" if message else f" ({reason})"
    return ""
