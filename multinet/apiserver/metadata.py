"""``metadata``: what the server owns, what a user may write, and what is wrong with it."""

from __future__ import annotations

import functools
import secrets
import time
import uuid
from collections.abc import Iterator

from multinet.apiserver.errors import FieldError, bad_request, field_forbidden, invalid_value, required
from multinet.apiserver.names import annotation_findings, label_findings, qualified_name
from multinet.apiserver.resources import ResourceType
from multinet.model.objects import Obj

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
)
_STRING_MAPS = ("labels", "annotations")


def timestamp(seconds: float | None = None) -> str:
    """Return RFC 3339 in UTC with whole seconds, as Kubernetes' ``Time``."""
    return _written(int(time.time() if seconds is None else seconds))


@functools.lru_cache(maxsize=16)
def _written(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def check_shape(obj: Obj) -> Obj:
    """Return ``metadata`` (made if absent); a shape that can't be read is a 400."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise bad_request("json: cannot unmarshal metadata: expected an object")
    for field in _STRING_MAPS:
        held = metadata.get(field)
        if held is None:
            metadata.pop(field, None)
        elif not isinstance(held, dict):
            raise _unreadable(f"metadata.{field}", held, "map[string]string")
        else:
            for value in held.values():
                if not isinstance(value, str):
                    raise _unreadable(f"metadata.{field}", value, "string")
    for field in ("name", "namespace", "generateName", "resourceVersion", "uid"):
        held = metadata.get(field)
        if held is None:
            metadata.pop(field, None)
        elif not isinstance(held, str):
            raise _unreadable(f"metadata.{field}", held, "string")
    for field, item in (("finalizers", str), ("ownerReferences", dict)):
        held = metadata.get(field)
        if held is None or held == []:
            metadata.pop(field, None)
        elif not isinstance(held, list) or not all(isinstance(one, item) for one in held):
            raise _unreadable(f"metadata.{field}", held, f"[]{item.__name__}")
    for reference in metadata.get("ownerReferences", ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(reference.get(field, ""), str):
                raise _unreadable(f"metadata.ownerReferences.{field}", reference[field], "string")
    return metadata


def _unreadable(field: str, value: object, wanted: str) -> Exception:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    got = kinds.get(type(value), "null")
    return bad_request(
        f"json: cannot unmarshal {got} into Go struct field ObjectMeta.{field} of type {wanted}"
    )


def stamp(obj: Obj, namespace: str) -> None:
    """Give a new object its name (from generateName if need be), uid and creation time."""
    metadata = obj["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
        metadata["name"] = metadata["generateName"][:58] + suffix
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    for field in (
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "generation",
    ):
        metadata.pop(field, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp()


def carry_over(new: Obj, old: Obj) -> None:
    """Put the fields the server owns back into an update, whatever the client sent."""
    fresh, held = new["metadata"], old["metadata"]
    for field in _SERVER_OWNED:
        if field in held:
            fresh[field] = held[field]
        else:
            fresh.pop(field, None)
    fresh.pop("selfLink", None)
    fresh.pop("managedFields", None)
    fresh["name"] = held["name"]
    if "namespace" in held:
        fresh["namespace"] = held["namespace"]


def findings(obj: Obj, resource_type: ResourceType) -> Iterator[FieldError]:
    """Yield what is wrong with the metadata of an object that is to be stored."""
    metadata = obj["metadata"]
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif wrong := resource_type.strategy.name_errors(name):
        yield invalid_value("metadata.name", name, wrong)
    yield from label_findings(metadata.get("labels", {}))
    yield from annotation_findings(metadata.get("annotations", {}))
    for finalizer in metadata.get("finalizers", ()):
        if wrong := qualified_name(finalizer):
            yield invalid_value("metadata.finalizers", finalizer, wrong)
    for index, reference in enumerate(metadata.get("ownerReferences", ())):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                yield invalid_value(
                    f"metadata.ownerReferences[{index}].{field}",
                    reference.get(field, ""),
                    "must not be empty",
                )


def finalizer_findings(new: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield the finalizers added to an object that is being deleted, which is not allowed."""
    if "deletionTimestamp" not in old["metadata"]:
        return
    added = set(new["metadata"].get("finalizers", ())) - set(old["metadata"].get("finalizers", ()))
    if added:
        names = ", ".join(sorted(added))
        yield field_forbidden(
            "metadata.finalizers",
            f"no new finalizers can be added if the object is being deleted, found new finalizers [{names}]",
        )
