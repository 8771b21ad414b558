"""What a pod's specification means for the processes to start: command, environment, policy. Pure.

Images are not run. A container without ``command`` would run its image's entry point: its ``args`` are run
when their first word is an executable here (what an image without entry point would do); else it idles.

Volumes are not supported, and a container that mounts one is refused. One is left out silently: the
service account token that the API server adds to each pod by itself (``kube-api-access-*``).
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
_TOKEN_VOLUME = "kube-api-access-"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a field reference may ask for beyond the object: known once the sandbox has its network."""

    node: str
    host_ip: str
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
    if arguments and shutil.which(arguments[0], path=env.get("PATH", _PATH)):
        return tuple(arguments)
    return ()


def check_volumes(pod: Obj, container: Mapping[str, Any]) -> None:
    """``InputError`` naming the first volume the container uses, and its type, unless it can do without."""
    volumes = {str(item.get("name")): item for item in section(pod, "spec").get("volumes") or ()}
    uses = [(use, "mountPath") for use in container.get("volumeMounts") or ()]
    uses += [(use, "devicePath") for use in container.get("volumeDevices") or ()]
    for use, path in uses:
        name = str(use.get("name"))
        where = f"container {container.get('name')}, {path} {use.get(path)}"
        if name not in volumes:
            raise InputError(f"volume {name} is not among the pod's volumes", where=where)
        # Without a source, a volume is an emptyDir (Kubernetes API, "Volume").
        kind = next((key for key in volumes[name] if key != "name"), "emptyDir")
        if not (kind == "projected" and name.startswith(_TOKEN_VOLUME)):
            raise InputError(
                f"volume {name} of type {kind} is not supported",
                where=where,
                next_step="take the mount out; containers see the node's file system",
            )


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable, ``$$`` by ``$``; an unknown name stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else env.get(name, match[0])

    return _REFERENCE.sub(value, text)


def environment_of(pod: Obj, container: Mapping[str, Any], facts: PodFacts) -> dict[str, str]:
    """The container's environment; ``InputError`` for a source that is not supported or not there."""
    if container.get("envFrom"):
        raise InputError("envFrom is not supported", where=f"container {container.get('name')}")
    env = {"PATH": _PATH, "HOSTNAME": name_of(pod)}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom")
        if source is None:
            env[entry["name"]] = expand(str(entry.get("value") or ""), env)
        elif "fieldRef" in source:
            env[entry["name"]] = field_value(pod, str(source["fieldRef"].get("fieldPath")), facts)
        else:
            kind = next(iter(source), "an empty valueFrom")
            raise InputError(f"env from {kind} is not supported", where=f"variable {entry['name']}")
    return env


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
        "status.hostIP": facts.host_ip,
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in known:
        raise InputError("unknown field", where=f"fieldPath {path}", next_step=f"one of {', '.join(known)}")
    return known[path]


def containers_of(pod: Obj, kind: str = "containers") -> Sequence[Mapping[str, Any]]:
    """The container specifications: ``containers`` or ``initContainers``."""
    return section(pod, "spec").get(kind) or ()
