"""Bundles: writes that belong together, carried out in order by one request (decision 35).

A pod is attached by a dozen objects, written one after the other. Each request costs server and client
several times what is in it, so our own API group has a kind that is never stored: creating a ``Bundle``
creates ``spec.objects``, and then applies the merge patches in ``spec.patches``. Each is done as by a request
of its own, with two differences: a new object keeps the ``status`` it comes with, and the first refusal ends
the bundle. What was done before it stays; ``status`` says how much that was and what the refusal was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from multinet.apiserver import patches
from multinet.apiserver.errors import StatusError, bad_request, no_such_path
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.resources import ResourceType, Version
from multinet.model.objects import API_GROUP, API_VERSION, Obj

_VERSION = API_VERSION.removeprefix(f"{API_GROUP}/")
WRITES_MAX = 256


def bundles(operations: Operations) -> ResourceType:
    """The resource type whose creations are carried out on ``operations``."""
    return ResourceType(
        API_GROUP,
        "bundles",
        "Bundle",
        False,
        (Version(_VERSION),),
        storage=_VERSION,
        answer=lambda bundle, options: _carry_out(operations, bundle, options),
    )


def _carry_out(operations: Operations, bundle: Obj, options: Options) -> None:
    spec = bundle.pop("spec", None)
    objects, changes = _listed(spec, "objects"), _listed(spec, "patches")
    status: Obj = {"created": 0, "patched": 0}
    bundle["status"] = status
    each = replace(options, keeps_status=True)
    try:
        for obj in objects:
            _create(operations, obj, each)
            status["created"] += 1
        for change in changes:
            _patch(operations, change, options)
            status["patched"] += 1
    except StatusError as error:
        status["failure"] = error.status()


def _listed(spec: Any, field: str) -> list[Any]:
    found = spec.get(field, []) if isinstance(spec, dict) else None
    if not isinstance(found, list) or len(found) > WRITES_MAX:
        raise bad_request(f"spec.{field} must be a list of at most {WRITES_MAX} items")
    return found


def _create(operations: Operations, obj: Any, options: Options) -> None:
    target = _target(operations, obj)
    if not target.type.custom:
        raise bad_request(f"{target.type.kind} is no kind of a CustomResourceDefinition: send it by itself")
    operations.create(target, obj, options)


def _patch(operations: Operations, change: Any, options: Options) -> None:
    """``change`` names an object as a reference does (``name``, ``namespace``), and has its ``patch``."""
    target = _target(operations, {**change, "metadata": change} if isinstance(change, dict) else change)
    name, subresource, patch = change.get("name"), change.get("subresource", ""), change.get("patch")
    if not isinstance(name, str) or not name or not isinstance(patch, dict):
        raise bad_request("a patch needs a name and an object to merge")
    if subresource not in ("", "status") or subresource not in ("", *target.type.subresources):
        raise no_such_path()
    asked = replace(target, name=name, subresource=subresource)
    operations.modify(asked, lambda tree: patches.merge(tree, patch), options)


def _target(operations: Operations, obj: Any) -> Target:
    """What a request for this object alone would be about."""
    if not isinstance(obj, dict):
        raise bad_request("spec must hold lists of objects")
    kind, api_version = str(obj.get("kind")), str(obj.get("apiVersion"))
    found = operations.types.of_kind(api_version, kind)
    version = found.version(api_version.rpartition("/")[2]) if found else None
    if found is None or version is None or found.answer is not None:
        raise no_such_path()
    metadata = obj.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if found.namespaced != bool(namespace):
        raise bad_request(f"metadata.namespace of {kind}: {'missing' if found.namespaced else 'not allowed'}")
    return Target(found, version, str(namespace or ""))
