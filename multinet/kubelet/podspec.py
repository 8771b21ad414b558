"""What a pod's specification means for the processes to start: command, environment, policy. Pure.

Images are not run. A container without ``command`` would run its image's entry point: its ``args`` are run
when their first word is an executable here (what an image without entry point would do); else it idles.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multinet.errors import InputError
from multinet.model.objects import Obj, annotations_of, labels_of, name_of, namespace_of, section, uid_of

_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(annotations|labels)\['([^']+)'\]")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a field reference may ask for beyond the object: known once the sandbox has its network."""

    node: str
    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...]


def grace_seconds(pod: Obj) -> float:
    """How long the pod's containers may take to stop."""
    deletion = pod.get("metadata", {}).get("deletionGracePeriodSeconds")
    if deletion is not None:
        return float(deletion)
    configured = section(pod, "spec").get("terminationGracePeriodSeconds")
    return 30.0 if configured is None else float(configured)


def hostname_of(pod: Obj) -> str:
    """The pod's host name: its name, unless it asks for another; cut to what a label may have."""
    wanted = str(section(pod, "spec").get("hostname") or name_of(pod))
    return wanted[:63].rstrip("-.")


def restart_policy(pod: Obj) -> str:
    """Always, OnFailure or Never."""
    return str(section(pod, "spec").get("restartPolicy") or "Always")


def command_of(container: Mapping[str, Any], env: Mapping[str, str]) -> tuple[str, ...]:
    """The argument list to execute; empty for a container that idles."""
    command = [expand(word, env) for word in container.get("command") or ()]
    arguments = [expand(word, env) for word in container.get("args") or ()]
    if command:
        return (*command, *arguments)
    if arguments and shutil.which(arguments[0], path=env.get("PATH", PATH)):
        return tuple(arguments)
    return ()


def working_dir(container: Mapping[str, Any]) -> str:
    """Where its command starts."""
    return str(container.get("workingDir") or "/")


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container runs on beside the others ("Sidecar Containers")."""
    return container.get("restartPolicy") == "Always"


# Fields that would change what a container is or may, and the place of each; ``[]`` is a list on the way.
_IGNORED = (
    "hostPID",
    "hostIPC",
    "runtimeClassName",
    "ephemeralContainers",
    "setHostnameAsFQDN",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.fsGroup",
    "securityContext.sysctls",
    "containers[].securityContext.runAsUser",
    "containers[].securityContext.runAsGroup",
    "containers[].securityContext.readOnlyRootFilesystem",
    "containers[].securityContext.capabilities",
    "containers[].resources.limits",
    "containers[].stdin",
)


def ignored_fields(pod: Obj) -> tuple[str, ...]:
    """Which fields of the spec have a value and no effect here."""
    return tuple(field for field in _IGNORED if _has(section(pod, "spec"), field.split(".")))


def _has(held: object, path: Sequence[str]) -> bool:
    if not path:
        return bool(held)
    if not isinstance(held, Mapping):
        return False
    name, listed = path[0].removesuffix("[]"), path[0].endswith("[]")
    below = held.get(name)
    if listed:
        return isinstance(below, list) and any(_has(item, path[1:]) for item in below)
    return _has(below, path[1:])


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable, ``$$`` by ``$``; an unknown name stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else env.get(name, match[0])

    return _REFERENCE.sub(value, text)


def field_value(pod: Obj, path: str, facts: PodFacts) -> str:
    """The value of a ``fieldRef`` (Kubernetes "downward API"); ``InputError`` for an unknown path."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        values = annotations_of(pod) if subscript[1] == "annotations" else labels_of(pod)
        return values.get(subscript[2], "")
    known = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": facts.node,
        "spec.serviceAccountName": str(section(pod, "spec").get("serviceAccountName") or "default"),
        "status.hostIP": facts.host_ips[0],
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in known:
        raise InputError("unknown field", where=f"fieldPath {path}", next_step=f"one of {', '.join(known)}")
    return known[path]


def containers_of(pod: Obj, kind: str = "containers") -> Sequence[Mapping[str, Any]]:
    """The container specifications: ``containers`` or ``initContainers``."""
    return section(pod, "spec").get(kind) or ()
