"""Create, update, patch and delete as Kubernetes defines them, without HTTP.

Trees handed in become the callee's: callers parse a fresh one per call. Every function is synchronous, so
a check and the write that follows it can't be parted by another request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from multinet.apiserver import metadata as meta
from multinet.apiserver.errors import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_value,
    method_not_allowed,
    not_found,
)
from multinet.apiserver.resources import ResourceType, Types, Version
from multinet.apiserver.store import Entry, Store
from multinet.model.objects import Obj


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. ``name`` is "" for a collection, ``subresource`` "" for the object itself."""

    type: ResourceType
    version: Version
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` the client speaks."""
        return self.type.api_version(self.version.name)


@dataclass(slots=True)
class Options:
    """How to write. ``warnings`` collects what the answer's Warning headers are to say.

    ``keeps_status``: a new custom object keeps the status it comes with, where it has one of its own.
    """

    dry_run: bool = False
    field_validation: str = "Warn"
    keeps_status: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion's options; ``grace_seconds`` None means the object's own."""

    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = "Background"
    dry_run: bool = False


class Operations:
    """The verbs over one store."""

    def __init__(self, store: Store, types: Types) -> None:
        self.store = store
        self.types = types

    def get(self, target: Target) -> Entry:
        """Return the entry or raise the 404."""
        resource_type = target.type
        entry = self.store.get(resource_type.key, target.namespace, target.name)
        if entry is None:
            raise not_found(resource_type.plural, resource_type.group, target.name)
        return entry

    def create(self, target: Target, obj: Obj, options: Options) -> Entry:
        """Store a new object."""
        resource_type = target.type
        self._check_identity(target, obj)
        if resource_type.answer is not None:
            obj["metadata"].setdefault("name", "")
            resource_type.answer(obj, options)
            return Entry(resource_type.key, obj, self.store.revision)
        if obj["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        meta.stamp(obj, target.namespace)
        if not obj["metadata"].get("name"):
            raise invalid(
                resource_type.kind, resource_type.group, "", list(meta.findings(obj, resource_type))
            )
        self._admit(target, obj["metadata"].get("name", ""))
        if resource_type.generation:
            obj["metadata"]["generation"] = 1
        if "status" in resource_type.subresources and resource_type.custom and not options.keeps_status:
            obj.pop("status", None)
        self._shape(target, obj, options)
        resource_type.strategy.prepare_create(obj)
        self._validate(target, obj)
        name = obj["metadata"]["name"]
        if self.store.get(resource_type.key, target.namespace, name) is not None:
            raise already_exists(resource_type.plural, resource_type.group, name)
        if options.dry_run:
            return Entry(resource_type.key, obj, self.store.revision)
        return self.store.create(resource_type.key, obj)

    def update(self, target: Target, obj: Obj, options: Options) -> Entry:
        """Replace an object (or its status) with the state the client sent."""
        current = self.get(target)
        if target.type.custom and not meta.check_shape(obj).get("resourceVersion"):
            finding = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(target.type.kind, target.type.group, target.name, [finding])
        return self._put(target, current, obj, options)

    def modify(self, target: Target, change: Callable[[Obj], Obj], options: Options) -> Entry:
        """Replace an object with what ``change`` makes of it (a patch); the tree may be changed in place."""
        current = self.get(target)
        tree = current.copy()
        tree["apiVersion"] = target.api_version
        return self._put(target, current, change(tree), options)

    def delete(self, target: Target, deletion: Deletion) -> tuple[Entry, bool]:
        """Delete an object; return it and whether it is gone (else it waits for finalizers or a kubelet)."""
        entry = self.get(target)
        self.check_preconditions(target, entry, deletion)
        strategy = target.type.strategy
        obj = entry.copy()
        metadata = obj["metadata"]
        grace = strategy.grace_seconds(obj, deletion.grace_seconds)
        pending = metadata.get("deletionGracePeriodSeconds") if "deletionTimestamp" in metadata else None
        if pending is not None and grace >= pending and (pending > 0 or self._held(target, obj)):
            return entry, False
        if grace == 0 and not self._held(target, obj):
            if not deletion.dry_run:
                entry = self.store.remove(entry, obj)
            return entry, True
        metadata["deletionTimestamp"] = meta.timestamp(time.time() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata and pending is None:
            metadata["generation"] += 1
        strategy.prepare_delete(obj)
        if deletion.dry_run:
            return Entry(target.type.key, obj, entry.revision), False
        return self.store.replace(entry, obj), False

    def check_preconditions(self, target: Target, entry: Entry, deletion: Deletion) -> None:
        """Raise the 409 if the object is not the one which the deletion is about."""
        why = ""
        if deletion.uid and deletion.uid != entry.uid:
            why = f"Precondition failed: UID in precondition: {deletion.uid}, UID in object meta: {entry.uid}"
        if deletion.resource_version and deletion.resource_version != str(entry.revision):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {deletion.resource_version}, "
                f"ResourceVersion in object meta: {entry.revision}"
            )
        if why:
            raise conflict(target.type.plural, target.type.group, target.name, why)

    def _put(self, target: Target, current: Entry, obj: Obj, options: Options) -> Entry:
        self._check_identity(target, obj)
        resource_type = target.type
        old = current.copy()
        sent = obj["metadata"].get("resourceVersion")
        if sent and sent != str(current.revision):
            raise conflict(resource_type.plural, resource_type.group, target.name)
        sent_uid = obj["metadata"].get("uid")
        if sent_uid and sent_uid != current.uid:
            why = f"Precondition failed: UID in precondition: {sent_uid}, UID in object meta: {current.uid}"
            raise conflict(resource_type.plural, resource_type.group, target.name, why)
        meta.carry_over(obj, old)
        obj["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        obj = self._part(target, obj, old)
        self._shape(target, obj, options)
        resource_type.strategy.prepare_update(obj, old)
        self._validate(target, obj, old)
        if resource_type.generation and _spec_differs(obj, old):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if obj == old:
            return current
        if options.dry_run:
            return Entry(resource_type.key, obj, current.revision)
        return self._store(target, current, obj)

    def _store(self, target: Target, current: Entry, obj: Obj) -> Entry:
        metadata = obj["metadata"]
        if (
            "deletionTimestamp" in metadata
            and not metadata.get("deletionGracePeriodSeconds")
            and not self._held(target, obj)
        ):
            return self.store.remove(current, obj)
        return self.store.replace(current, obj)

    def _part(self, target: Target, obj: Obj, old: Obj) -> Obj:
        """Keep what this endpoint may not change: the status, or all but the status."""
        if "status" not in target.type.subresources:
            return obj
        if target.subresource != "status":
            _restore(obj, old, "status")
            return obj
        if target.type.custom:
            kept = dict(old)
            _restore(kept, obj, "status")
            kept["apiVersion"] = obj["apiVersion"]
            return kept
        for name in set(old) - {"status", "metadata"}:
            obj[name] = old[name]
        for name in set(obj) - set(old) - {"status"}:
            del obj[name]
        return obj

    def _shape(self, target: Target, obj: Obj, options: Options) -> None:
        """Prune and default by the schema; keep the object in its storage version."""
        schema = target.version.schema
        if not target.type.custom:
            _drop_nulls(obj)
        if schema is not None:
            dropped = schema.prune(obj)
            if dropped and options.field_validation == "Strict":
                raise _strict(target, dropped)
            if dropped and options.field_validation == "Warn":
                options.warnings += [f'unknown field "{path}"' for path in dropped]
            if not target.type.custom and (wrong := schema.mistyped(obj)):
                # Whoever fills in defaults may trust the types, as code in Go may.
                raise _mistyped(target, wrong)
            schema.default(obj)
        obj["apiVersion"] = target.type.api_version(target.type.storage)
        obj["kind"] = target.type.kind

    def _validate(self, target: Target, obj: Obj, old: Obj | None = None) -> None:
        resource_type = target.type
        found = list(meta.findings(obj, resource_type))
        if target.version.schema is not None:
            found += target.version.schema.validate(obj)
        if not found or target.version.schema is None:
            found += resource_type.strategy.validate(obj)
        if old is not None and not found:
            found += meta.finalizer_findings(obj, old)
            found += resource_type.strategy.validate_update(obj, old)
        if not found:
            found += resource_type.strategy.allocate(self.store, obj, old)
        if found:
            name = obj["metadata"].get("name", "")
            raise invalid(resource_type.kind, resource_type.group, name, found)

    def _check_identity(self, target: Target, obj: Obj) -> None:
        """Check that body and URL speak of the same object."""
        resource_type = target.type
        api_version = obj.setdefault("apiVersion", target.api_version)
        kind = obj.setdefault("kind", resource_type.kind)
        if kind != resource_type.kind or api_version != target.api_version:
            raise bad_request(
                f"the API version in the data ({api_version}, Kind={kind}) does not match the expected API "
                f"version ({target.api_version}, Kind={resource_type.kind})"
            )
        metadata = meta.check_shape(obj)
        sent = metadata.get("namespace", "")
        if sent and sent != target.namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if target.name and metadata.setdefault("name", target.name) != target.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL "
                f"({target.name})"
            )

    def _admit(self, target: Target, name: str) -> None:
        """Refuse to create in a namespace that isn't there or is going away."""
        if not target.type.namespaced:
            return
        namespace = self.store.get("namespaces", "", target.namespace)
        if namespace is None:
            raise not_found("namespaces", "", target.namespace)
        if "deletionTimestamp" in namespace.view()["metadata"]:
            why = (
                f"unable to create new content in namespace {target.namespace} because it is being terminated"
            )
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {target.namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise forbidden(target.type.plural, target.type.group, name, why, [cause])

    def _held(self, target: Target, obj: Obj) -> bool:
        return bool(obj["metadata"].get("finalizers")) or target.type.strategy.held(obj)


def require_verb(resource_type: ResourceType, verb: str) -> None:
    """Raise the 405 if the resource has no such verb."""
    if verb not in resource_type.verbs:
        raise method_not_allowed()


def _restore(obj: Obj, old: Obj, name: str) -> None:
    if name in old:
        obj[name] = old[name]
    else:
        obj.pop(name, None)


def _drop_nulls(tree: Any) -> None:
    """Take out null fields: in built-in kinds they mean absent."""
    if isinstance(tree, list):
        for item in tree:
            _drop_nulls(item)
    elif isinstance(tree, dict):
        for name in [name for name, value in tree.items() if value is None]:
            del tree[name]
        for value in tree.values():
            _drop_nulls(value)


def _spec_differs(obj: Obj, old: Obj) -> bool:
    outside = ("metadata", "status", "apiVersion", "kind")
    return {k: v for k, v in obj.items() if k not in outside} != {
        k: v for k, v in old.items() if k not in outside
    }


def _mistyped(target: Target, wrong: str) -> StatusError:
    kind = target.type.kind
    return bad_request(
        f'{kind} in version "{target.version.name}" cannot be handled as a {kind}: json: {wrong}'
    )


def _strict(target: Target, dropped: list[str]) -> StatusError:
    unknown = ", ".join(f'unknown field "{path}"' for path in dropped)
    kind = target.type.kind
    return bad_request(
        f'{kind} in version "{target.version.name}" cannot be handled as a {kind}: '
        f"strict decoding error: {unknown}"
    )
