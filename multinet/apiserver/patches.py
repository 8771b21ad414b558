"""The patch formats, by media type: each turns a body into a function from tree to tree.

Server-side apply (``application/apply-patch+yaml``) is answered 415: without field ownership it would be a
merge under another name, and clients that ask for it rely on the conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonpatch
from jsonpointer import JsonPointerException

from multinet.apiserver.codec import decode_json
from multinet.apiserver.errors import StatusError, bad_request, unsupported_media
from multinet.apiserver.resources import ResourceType
from multinet.apiserver.strategic import strategic_merge
from multinet.model.objects import Obj

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


def accepted(resource_type: ResourceType) -> tuple[str, ...]:
    """Return the patch media types a resource takes."""
    if resource_type.custom:
        return (JSON_PATCH, MERGE_PATCH)
    return (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


def patcher(body: bytes, content_type: str, resource_type: ResourceType) -> Callable[[Obj], Obj]:
    """Return the function that applies this patch. Raises 415 and 400 for what can't be read."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in accepted(resource_type):
        raise unsupported_media(media, accepted(resource_type))
    patch = decode_json(body)
    if media == JSON_PATCH:
        return _json_patcher(patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: expected an object")
    if media == MERGE_PATCH:
        return lambda tree: merge(tree, patch)
    return lambda tree: strategic_merge(tree, patch, resource_type.merge)


def merge(tree: Any, patch: Any) -> Any:
    """Apply an RFC 7386 merge patch."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(tree) if isinstance(tree, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _json_patcher(patch: Any) -> Callable[[Obj], Obj]:
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: expected a list of operations")

    def apply(tree: Obj) -> Obj:
        try:
            patched = jsonpatch.apply_patch(tree, patch, in_place=True)
        except jsonpatch.InvalidJsonPatch as error:
            raise bad_request(f"error decoding patch: {error}") from error
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, KeyError) as error:
            raise StatusError(
                422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
            ) from error
        if not isinstance(patched, dict):
            raise bad_request("error decoding patch: the patched document is no object")
        return patched

    return apply
