"""Config objects that have no other home in Kubernetes: projects and IPAMs made here, and kept key-values.

Each is a ConfigMap in ``kube-system`` with the label ``multinet.opencontrail.org/config-object: <kind>``.
Its name is made of kind and fq name, so the Kubernetes API itself refuses the second of two with one name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from multinet.configapi.notes import Notes
from multinet.configapi.view import LABEL_RECORD, RECORD_NAMESPACE
from multinet.model.objects import Obj, labels_of

_KEY = "object.json"
KEY_VALUE = "useragent-kv"


def record_name(kind: str, fq_name: Iterable[str]) -> str:
    """The ConfigMap's name."""
    parts = list(fq_name)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9]+", "-", parts[-1].lower()).strip("-")[:60].strip("-")
    return f"config-{kind}-{readable or 'x'}-{digest}"


def record(kind: str, notes: Notes) -> Obj:
    """The ConfigMap, ready to create."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": record_name(kind, notes.fq_name),
            "namespace": RECORD_NAMESPACE,
            "labels": {LABEL_RECORD: kind},
        },
        "data": {_KEY: notes.text()},
    }


def kind_of(config_map: Mapping[str, Any]) -> str:
    """The kind of object a ConfigMap holds."""
    return labels_of(config_map).get(LABEL_RECORD, "")


def notes_of(config_map: Mapping[str, Any]) -> Notes | None:
    """The object in a ConfigMap; None where it can't be read."""
    try:
        read = orjson.loads((config_map.get("data") or {}).get(_KEY, ""))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(read, dict):
        return None
    notes = Notes.from_dict(read)
    return notes if notes.fq_name else None


def rewritten(config_map: Obj, notes: Notes) -> Obj:
    """The ConfigMap with another content."""
    return {**config_map, "data": {_KEY: notes.text()}}
