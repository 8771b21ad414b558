"""Bundles: custom objects that belong together, created in order by one request (decision 35).

A pod is attached by a dozen objects, written one after the other. Each request costs server and client
several times what is in it, so our own API group has a kind that is never stored: creating a ``Bundle``
creates ``spec.objects``. Each is created as by a request of its own, with two differences: an object keeps
the ``status`` it comes with, and the first refusal ends the bundle. What was created before it stays;
``status`` says how many those were and what the refusal was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from multinet.apiserver.errors import StatusError, bad_request, no_such_path
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.resources import ResourceType, Version
from multinet.model.objects import API_GROUP, API_VERSION, Obj

_VERSION = API_VERSION.removeprefix(f"{API_GROUP}/")
OBJECTS_MAX = 256


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
    objects = spec.get("objects") if isinstance(spec, dict) else None
    if not isinstance(objects, list) or len(objects) > OBJECTS_MAX:
        raise bad_request(f"spec.objects must be a list of at most {OBJECTS_MAX} objects")
    status: Obj = {"created": 0}
    bundle["status"] = status
    each = replace(options, keeps_status=True)
    for obj in objects:
        try:
            operations.create(_target(operations, obj), obj, each)
        except StatusError as error:
            status["failure"] = error.status()
            return
        status["created"] += 1


def _target(operations: Operations, obj: Any) -> Target:
    """What a request for this object alone would be about."""
    if not isinstance(obj, dict):
        raise bad_request("spec.objects must hold objects")
    kind, api_version = obj.get("kind"), obj.get("apiVersion")
    found = operations.types.of_kind(str(api_version), str(kind))
    version = found.version(str(api_version).rpartition("/")[2]) if found else None
    if found is None or version is None:
        raise no_such_path()
    if not found.custom:
        raise bad_request(f"{kind} is no kind of a CustomResourceDefinition: a bundle can't hold it")
    metadata = obj.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if found.namespaced != bool(namespace):
        raise bad_request(f"metadata.namespace of {kind}: {'missing' if found.namespaced else 'not allowed'}")
    return Target(found, version, str(namespace or ""))
