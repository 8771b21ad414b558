"""The files of a volume that is made of API objects: ConfigMap, Secret, downward API, or several. Pure.

A file's content follows its source: when the ConfigMap or an annotation of the pod changes, so does the
payload, and :mod:`multinet.kubelet.volumes` exchanges the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from multinet.errors import InputError
from multinet.kubelet.environment import Sources, contents, resource_value
from multinet.kubelet.podspec import field_value
from multinet.kubelet.references import Kind, Reference
from multinet.model.objects import Obj, annotations_of, labels_of, namespace_of

DEFAULT_MODE = 0o644
KINDS = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True, slots=True)
class File:
    """One file's bytes and permissions."""

    data: bytes
    mode: int


Payload = dict[str, File]


class MissingSourceError(InputError):
    """An object that the volume is made of is not there (yet)."""


def payload_of(pod: Obj, volume: Mapping[str, Any], sources: Sources) -> Payload:
    """All files of a volume by path; :class:`MissingSourceError`, or ``InputError`` for what can't be."""
    kind = next(key for key in KINDS if key in volume)
    source: Mapping[str, Any] = volume[kind] or {}
    mode = _mode(source.get("defaultMode"), DEFAULT_MODE)
    if kind != "projected":
        return _part(pod, kind, source, mode, sources)
    files: Payload = {}
    for part in source.get("sources") or ():
        part_kind = next(iter(part), "")
        if part_kind not in ("configMap", "secret", "downwardAPI"):
            where = f"volume {volume.get('name')}"
            raise InputError(
                f"a projected source of type {part_kind or '(none)'} is not supported", where=where
            )
        files |= _part(pod, part_kind, part[part_kind] or {}, mode, sources)
    return files


def _part(pod: Obj, kind: str, source: Mapping[str, Any], mode: int, sources: Sources) -> Payload:
    if kind == "downwardAPI":
        return {
            _path(item.get("path")): File(_field(pod, item, sources), _mode(item.get("mode"), mode))
            for item in source.get("items") or ()
        }
    name = str(source.get("name") or source.get("secretName") or "")
    object_kind: Kind = "configMap" if kind == "configMap" else "secret"
    return _object(pod, object_kind, name, source, mode, sources)


def _object(
    pod: Obj, kind: Kind, name: str, source: Mapping[str, Any], mode: int, sources: Sources
) -> Payload:
    reference = Reference(kind, namespace_of(pod), name)
    held = sources.find(reference)
    optional = bool(source.get("optional"))
    if held is None:
        if optional:
            return {}
        raise MissingSourceError(f"{reference.shown} not found")
    values = contents(kind, held)
    items: Iterable[Mapping[str, Any]] | None = source.get("items")
    if items is None:
        return {_path(key): File(value, mode) for key, value in values.items()}
    files: Payload = {}
    for item in items:
        key = str(item.get("key") or "")
        if key in values:
            files[_path(item.get("path"))] = File(values[key], _mode(item.get("mode"), mode))
        elif not optional:
            raise MissingSourceError(f"{reference.shown} references non-existent key: {key}")
    return files


def _field(pod: Obj, item: Mapping[str, Any], sources: Sources) -> bytes:
    if item.get("resourceFieldRef"):
        asked = item["resourceFieldRef"]
        if not asked.get("containerName"):
            raise InputError("resourceFieldRef in a volume needs containerName", where=str(item.get("path")))
        return resource_value(pod, {}, asked).encode()
    path = str((item.get("fieldRef") or {}).get("fieldPath") or "")
    if path in ("metadata.annotations", "metadata.labels"):
        values = annotations_of(pod) if path.endswith("annotations") else labels_of(pod)
        return "\n".join(f"{key}={_quoted(values[key])}" for key in sorted(values)).encode()
    return field_value(pod, path, sources.facts).encode()


def _quoted(text: str) -> str:
    """As Go's ``strconv.Quote`` for what labels and annotations hold."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("\t", "\\t").replace("\r", "\\r") + '"'


def _path(text: object) -> str:
    path = PurePosixPath(str(text or ""))
    if not path.parts or path.is_absolute() or ".." in path.parts or path.parts[0].startswith(".."):
        raise InputError("a file's path must be relative and without ..", where="volume", why=repr(text))
    return str(path)


def _mode(value: object, default: int) -> int:
    return value & 0o777 if isinstance(value, int) else default
