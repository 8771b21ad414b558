"""A CustomResourceDefinition (apiextensions.k8s.io/v1) as a resource type, and its own strategy."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jsonschema

from multinet.apiserver import metadata as meta
from multinet.apiserver.codec import decode_json, encode
from multinet.apiserver.columns import printer_columns
from multinet.apiserver.errors import (
    FieldError,
    StatusError,
    expect,
    field_forbidden,
    invalid_value,
    required,
)
from multinet.apiserver.names import dns_1035_label
from multinet.apiserver.resources import ResourceType, Version
from multinet.apiserver.schema import Schema
from multinet.model.objects import Obj

_EITHER, _UNKNOWN = "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def resource_type_of(crd: Obj) -> ResourceType:
    """Return the resource type a definition describes."""
    spec = crd["spec"]
    names = spec["names"]
    versions = [version for version in spec["versions"] if version.get("served")]
    storage = next(version for version in spec["versions"] if version.get("storage"))
    return ResourceType(
        group=spec["group"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        versions=tuple(_version(encode(version)) for version in versions),
        storage=storage["name"],
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        subresources=tuple(name for name in storage.get("subresources") or {} if name == "status"),
        field_labels=tuple(field["jsonPath"].lstrip(".") for field in storage.get("selectableFields", ())),
        generation=True,
        custom=True,
    )


@functools.lru_cache(maxsize=256)
def _version(text: bytes) -> Version:
    """Remembered, as :func:`_schema_problem` is; nothing in a version changes."""
    version = decode_json(text)
    return Version(
        version["name"],
        columns=printer_columns(version.get("additionalPrinterColumns", [])),
        schema=Schema(version["schema"]["openAPIV3Schema"]),
    )


def prepare_create(crd: Obj) -> None:
    """Fill in the names left out; a new definition is accepted and established at once."""
    spec = crd.setdefault("spec", {})
    expect(spec, dict, "spec")
    names = spec.setdefault("names", {})
    expect(names, dict, "spec.names")
    expect(names.get("kind"), str, "spec.names.kind")
    expect(spec.get("versions"), list, "spec.versions")
    for version in spec.get("versions") or ():
        expect(version, dict, "spec.versions[]")
    kind = names.get("kind", "")
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})
    finalizers = crd["metadata"].setdefault("finalizers", [])
    if CLEANUP_FINALIZER not in finalizers:
        finalizers.append(CLEANUP_FINALIZER)
    now = meta.timestamp()
    crd["status"] = {
        "acceptedNames": dict(names),
        "storedVersions": [v.get("name", "") for v in spec.get("versions", ()) if v.get("storage")],
        "conditions": [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ],
    }


def prepare_update(crd: Obj, old: Obj) -> None:
    """Keep names filled in and the accepted names in step."""
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    for name in ("singular", "listKind"):
        names.setdefault(name, old["spec"]["names"].get(name, ""))
    spec.setdefault("conversion", {"strategy": "None"})
    if "status" in crd and crd["status"] == old.get("status"):
        crd["status"] = {**crd["status"], "acceptedNames": dict(names)}


def prepare_delete(crd: Obj) -> None:
    """Say that the definition is going away."""
    conditions = crd.setdefault("status", {}).setdefault("conditions", [])
    conditions.append(
        _condition(
            "Terminating",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion",
            meta.timestamp(),
        )
    )


def validate(crd: Obj) -> Iterator[FieldError]:
    """Yield what is wrong with a definition."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    group, plural = spec.get("group", ""), names.get("plural", "")
    yield from (required(f"spec.{field}") for field in ("group", "scope", "versions") if not spec.get(field))
    yield from (required(f"spec.names.{field}") for field in ("plural", "kind") if not names.get(field))
    if spec.get("scope") and spec["scope"] not in ("Cluster", "Namespaced"):
        yield FieldError(
            "spec.scope",
            "FieldValueNotSupported",
            f'Unsupported value: "{spec["scope"]}": supported values: "Cluster", "Namespaced"',
        )
    if group and plural and crd["metadata"]["name"] != f"{plural}.{group}":
        yield invalid_value(
            "metadata.name", crd["metadata"]["name"], 'must be spec.names.plural+"."+spec.group'
        )
    if plural and (wrong := dns_1035_label(plural)):
        yield invalid_value("spec.names.plural", plural, wrong)
    versions = spec.get("versions") or []
    if versions and sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid_value(
            "spec.versions",
            [v.get("name") for v in versions],
            "must have exactly one version marked as storage version",
        )
    for index, version in enumerate(versions):
        yield from _version_findings(version, f"spec.versions[{index}]")


def _version_findings(version: Obj, path: str) -> Iterator[FieldError]:
    if not version.get("name"):
        yield required(f"{path}.name")
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        return
    if schema.get("type") != "object":
        yield invalid_value(
            f"{path}.schema.openAPIV3Schema.type", schema.get("type", ""), "must be object at the root"
        )
        return
    yield from _untyped(schema, f"{path}.schema.openAPIV3Schema")
    problem = _schema_problem(encode({name: value for name, value in schema.items() if name != "nullable"}))
    if problem:
        yield invalid_value(f"{path}.schema.openAPIV3Schema", "", problem)
    try:
        printer_columns(version.get("additionalPrinterColumns", []))
    except StatusError as error:
        yield invalid_value(f"{path}.additionalPrinterColumns", "", error.message)


def _untyped(schema: Obj, path: str) -> Iterator[FieldError]:
    """Yield the places where a structural schema needs a type and has none."""
    additional = schema.get("additionalProperties")
    below = [(f"{path}.properties[{name}]", one) for name, one in (schema.get("properties") or {}).items()]
    below += [(f"{path}.additionalProperties", additional)] if isinstance(additional, dict) else []
    found = [(where, one, "object fields") for where, one in below]
    if schema.get("type") == "array":
        if not isinstance(schema.get("items"), dict):
            yield required(f"{path}.items", "must be specified")
        else:
            found.append((f"{path}.items", schema["items"], "array items"))
    for where, one, what in found:
        if not isinstance(one, dict):
            continue
        if not (one.get("type") or one.get(_EITHER) or one.get(_UNKNOWN)):
            yield required(f"{where}.type", f"must not be empty for specified {what}")
        yield from _untyped(one, where)


@functools.lru_cache(maxsize=256)
def _schema_problem(schema: bytes) -> str:
    """What is wrong with a JSON schema, if anything.

    Remembered: it takes milliseconds, and servers are started with the same definitions again and again.
    """
    try:
        jsonschema.Draft202012Validator.check_schema(decode_json(schema))
    except jsonschema.SchemaError as error:
        return error.message
    return ""


def validate_update(crd: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield changes of what can't change."""
    for field in ("group", "scope"):
        if crd["spec"].get(field) != old["spec"].get(field):
            yield invalid_value(f"spec.{field}", crd["spec"].get(field), "field is immutable")
    for field in ("plural", "kind"):
        if crd["spec"]["names"].get(field) != old["spec"]["names"].get(field):
            yield field_forbidden(f"spec.names.{field}", "field is immutable")


def _condition(type_: str, reason: str, message: str, now: str) -> Obj:
    return {
        "type": type_,
        "status": "True",
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
