"""The environment of a container: plain values, references to the pod, to ConfigMaps and to Secrets. Pure.

What is asked for and not there is an :class:`InputError` that names it, unless the reference is optional. A
key that is no name of a variable is left out of ``envFrom``, as in Kubernetes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from multinet.errors import InputError
from multinet.kubelet.podspec import PATH, PodFacts, containers_of, expand, field_value
from multinet.kubelet.references import Kind, Reference
from multinet.model.objects import Obj, name_of, namespace_of
from multinet.model.quantities import divided, quantity

Find = Callable[[Reference], Obj | None]
_VARIABLE = re.compile(r"[^=\x00-\x1f\x7f-\U0010ffff]+")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values come from: the pod's own facts, and the objects it refers to."""

    facts: PodFacts
    find: Find


def environment_of(pod: Obj, container: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """The container's environment; ``InputError`` for a source that is not supported or not there."""
    env = {"PATH": PATH, "HOSTNAME": name_of(pod)}
    for entry in container.get("envFrom") or ():
        env |= dict(_whole(pod, entry, sources))
    for entry in container.get("env") or ():
        name, source = str(entry["name"]), entry.get("valueFrom")
        if source is None:
            env[name] = expand(str(entry.get("value") or ""), env)
            continue
        value = _referred(pod, container, name, source, sources)
        if value is not None:
            env[name] = value
    for name, value in env.items():
        if "\0" in name + value:
            raise InputError("a NUL can't be in the environment", where=f"variable {name!r}")
    return env


def _whole(pod: Obj, entry: Mapping[str, Any], sources: Sources) -> Iterator[tuple[str, str]]:
    prefix = str(entry.get("prefix") or "")
    for kind, field in _KINDS:
        source = entry.get(f"{field}Ref")
        if not source:
            continue
        reference = Reference(kind, namespace_of(pod), str(source.get("name") or ""))
        held = sources.find(reference)
        if held is None:
            if source.get("optional"):
                continue
            raise InputError(f"{reference.shown} not found", where="envFrom")
        for key, value in contents(kind, held).items():
            if _VARIABLE.fullmatch(prefix + key):
                yield prefix + key, value.decode(errors="surrogateescape")


_KINDS: tuple[tuple[Kind, str], ...] = (("configMap", "configMap"), ("secret", "secret"))


def _referred(
    pod: Obj, container: Mapping[str, Any], name: str, source: Mapping[str, Any], sources: Sources
) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, str(source["fieldRef"].get("fieldPath")), sources.facts)
    if "resourceFieldRef" in source:
        return resource_value(pod, container, source["resourceFieldRef"])
    for kind, field in _KINDS:
        asked = source.get(f"{field}KeyRef")
        if asked is not None:
            return _key(pod, name, kind, asked, sources.find)
    kind_given = next(iter(source), "an empty valueFrom")
    raise InputError(f"env from {kind_given} is not supported", where=f"variable {name}")


def _key(pod: Obj, variable: str, kind: Kind, asked: Mapping[str, Any], find: Find) -> str | None:
    reference = Reference(kind, namespace_of(pod), str(asked.get("name") or ""))
    key = str(asked.get("key") or "")
    held = find(reference)
    value = contents(kind, held).get(key) if held is not None else None
    if value is not None:
        return value.decode(errors="surrogateescape")
    if asked.get("optional"):
        return None
    where = f"variable {variable}"
    if held is None:
        raise InputError(f"{reference.shown} not found", where=where)
    raise InputError(f"couldn't find key {key} in {reference.shown}", where=where)


def contents(kind: Kind, held: Obj) -> dict[str, bytes]:
    """The data of a ConfigMap or Secret by key; a value that is no base64 is an ``InputError``."""
    found: dict[str, bytes] = {}
    if kind == "configMap":
        found = {key: str(value).encode() for key, value in (held.get("data") or {}).items()}
    for key, value in (held.get("data" if kind == "secret" else "binaryData") or {}).items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"key {key} is not base64", where=f"{kind.lower()} {name_of(held)}") from error
    return found


def resource_value(pod: Obj, container: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The value of a ``resourceFieldRef``; a limit that is not set is what the node has."""
    wanted = asked.get("containerName")
    if wanted:
        every = (*containers_of(pod), *containers_of(pod, "initContainers"))
        found = next((item for item in every if item.get("name") == wanted), None)
        if found is None:
            raise InputError(f"container {wanted} not found", where="resourceFieldRef")
        container = found
    resource = str(asked.get("resource") or "")
    kind, _, name = resource.partition(".")
    where = f"resourceFieldRef {resource}"
    if kind not in ("limits", "requests") or name not in ("cpu", "memory", "ephemeral-storage"):
        raise InputError("unsupported resource", where=where)
    divisor = quantity(asked.get("divisor") or "0", where) or Fraction(1)
    given = ((container.get("resources") or {}).get(kind) or {}).get(name)
    if given is not None:
        return divided(quantity(given, where), divisor)
    return divided(_of_node(name) if kind == "limits" else Fraction(0), divisor)


def _of_node(resource: str) -> Fraction:
    if resource == "cpu":
        return Fraction(os.cpu_count() or 1)
    if resource == "memory":
        return Fraction(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    raise InputError("no limit is set, and the node states none", where=f"resource {resource}")
