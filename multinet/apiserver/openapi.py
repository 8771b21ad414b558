"""OpenAPI, as far as clients need it.

kubectl's ``apply`` with default validation asks ``/openapi/v3`` whether PATCH of a kind takes
``fieldValidation`` and then leaves validation to the server; ``explain`` shows the schemas. Custom resources
have their own schemas here; built-in kinds are open objects. PATCH of a built-in kind offers no strategic
merge patch *in this document*: kubectl would look for merge keys in our open schemas, and without the offer
it uses the ones it has built in.

``/openapi/v2`` is an empty document (kubectl reads it as protobuf only): older clients fall back likewise.
"""

from __future__ import annotations

import hashlib
from typing import Any

from multinet.apiserver.codec import JSON, encode
from multinet.apiserver.discovery import KUBERNETES, Answer
from multinet.apiserver.errors import no_such_path
from multinet.apiserver.patches import JSON_PATCH, MERGE_PATCH
from multinet.apiserver.resources import ResourceType, Types, Version
from multinet.model.objects import Obj

# Asked for with an @, which media types can't have: kube-apiserver answers with a dot for it.
_V2_PROTO = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_INFO: Obj = {"title": "Kubernetes", "version": KUBERNETES}
_OPEN: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_GVK = "x-kubernetes-group-version-kind"


def answer(types: Types, path: str, accept: str) -> Answer | None:
    """Return body and content type for an OpenAPI path; None if it is none."""
    if path == "/openapi/v2":
        if "proto-openapi.spec.v2" in accept:
            return _empty_v2_protobuf(), _V2_PROTO
        return encode({"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": {}}), JSON
    if path.rstrip("/") == "/openapi/v3":
        return encode({"paths": _index(types)}), JSON
    if path.startswith("/openapi/v3/"):
        return encode(_document(types, path.removeprefix("/openapi/v3/"))), JSON
    return None


def _empty_v2_protobuf() -> bytes:
    """Encode an OpenAPI v2 Document (gnostic) with swagger = 1, info = 2 {title = 1, version = 2}."""
    info = _field(1, str(_INFO["title"]).encode()) + _field(2, str(_INFO["version"]).encode())
    return _field(1, b"2.0") + _field(2, info)


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _index(types: Types) -> Obj:
    index: Obj = {}
    for group, version in _group_versions(types):
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = hashlib.sha256(encode(_document(types, name))).hexdigest().upper()
        index[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return index


def _group_versions(types: Types) -> list[tuple[str, str]]:
    return sorted({(member.group, version.name) for member in types.all() for version in member.versions})


def _document(types: Types, name: str) -> Obj:
    parts = name.strip("/").split("/")
    group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
    if parts[0] == "apis" and len(parts) == 3:
        group, version = parts[1], parts[2]
    members = [(m, found) for m in types.groups().get(group, ()) if (found := m.version(version))]
    if not members:
        raise no_such_path()
    paths: Obj = {}
    schemas: Obj = {}
    for member, found in members:
        schemas[_schema_name(member, found)] = _schema(member, found)
        paths.update(_paths(member, found))
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def _schema_name(member: ResourceType, version: Version) -> str:
    reversed_group = ".".join(reversed(member.group.split("."))) if member.group else "io.k8s.api.core"
    return f"{reversed_group}.{version.name}.{member.kind}"


def _schema(member: ResourceType, version: Version) -> Obj:
    schema: Obj = dict(version.schema.open_api) if version.schema else dict(_OPEN)
    properties = dict(schema.get("properties") or {})
    properties["apiVersion"] = properties["kind"] = {"type": "string"}
    properties["metadata"] = _OPEN
    schema["properties"] = properties
    schema[_GVK] = [_gvk(member, version)]
    return schema


def _gvk(member: ResourceType, version: Version) -> Obj:
    return {"group": member.group, "version": version.name, "kind": member.kind}


def _paths(member: ResourceType, version: Version) -> Obj:
    root = f"/apis/{member.group}/{version.name}" if member.group else f"/api/{version.name}"
    scope = "/namespaces/{namespace}" if member.namespaced else ""
    collection = f"{root}{scope}/{member.plural}"
    paths: Obj = {collection: {"post": _operation(member, version, "post")}}
    if not member.answer:
        paths[collection]["get"] = _operation(member, version, "list")
        item = {method: _operation(member, version, method) for method in ("get", "put", "patch", "delete")}
        paths[f"{collection}/{{name}}"] = item
    return paths


def _operation(member: ResourceType, version: Version, action: str) -> Obj:
    reference = {"$ref": f"#/components/schemas/{_schema_name(member, version)}"}
    operation: Obj = {
        "operationId": f"{action}{version.name.capitalize()}{member.kind}",
        "x-kubernetes-action": action,
        _GVK: _gvk(member, version),
        "responses": {"200": {"description": "OK", "content": {JSON: {"schema": reference}}}},
    }
    if action in ("post", "put", "patch"):
        operation["parameters"] = [
            _parameter("dryRun"),
            _parameter("fieldManager"),
            _parameter("fieldValidation"),
        ]
    elif action == "delete":
        operation["parameters"] = [_parameter("dryRun"), _parameter("gracePeriodSeconds", "integer")]
    content: dict[str, Any] = {}
    if action in ("post", "put"):
        content = {JSON: {"schema": reference}}
    elif action == "patch":
        content = {media: {"schema": _OPEN} for media in (JSON_PATCH, MERGE_PATCH)}
    if content:
        operation["requestBody"] = {"content": content, "required": True}
    return operation


def _parameter(name: str, type_: str = "string") -> Obj:
    return {"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": True}}
