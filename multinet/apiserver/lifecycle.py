"""What the cluster does by itself: empties namespaces, collects garbage, serves and retires CRDs.

Everything starts from a committed change and runs in a later turn of the loop (``call_soon``), never inside
the request that caused it. Nothing polls: what is still pending is looked at again when something of it is
removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from multinet.apiserver.crd_types import CLEANUP_FINALIZER, resource_type_of
from multinet.apiserver.operations import Deletion, Operations, Target
from multinet.apiserver.resources import ResourceType
from multinet.apiserver.store import Entry, Event
from multinet.model.objects import Obj

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
NAMESPACES = "namespaces"
FOREGROUND = "foregroundDeletion"
_FOREGROUND_BYTES = FOREGROUND.encode()
# ``kubectl delete -f`` deletes a namespace first and then, one by one, what the same file has in it: those
# must still be there. Kubernetes' own namespace controller waits 5 s for a similar reason.
NAMESPACE_GRACE_S = 0.2


class Lifecycle:
    """Listens to the store and acts through the operations."""

    def __init__(self, operations: Operations, on_namespace: Callable[[str], None]) -> None:
        self._operations = operations
        self._store = operations.store
        self._types = operations.types
        self._on_namespace = on_namespace
        self._live: dict[str, Entry] = {}
        self._dependents: dict[str, set[str]] = {}
        self._sweeping: set[str] = set()
        self._store.on_commit(self._committed)

    def orphan(self, uid: str) -> None:
        """Take the owner reference to ``uid`` off its dependents (propagationPolicy Orphan)."""
        for entry in self._dependent_entries(uid):
            obj = entry.copy()
            references = [r for r in obj["metadata"].get("ownerReferences", ()) if r.get("uid") != uid]
            if references:
                obj["metadata"]["ownerReferences"] = references
            else:
                obj["metadata"].pop("ownerReferences", None)
            self._store.replace(entry, obj)

    def hold_for_dependents(self, entry: Entry) -> None:
        """Keep the object, once deleted, until its dependents are gone (propagationPolicy Foreground)."""
        finalizers = entry.view()["metadata"].get("finalizers") or []
        if self._dependent_entries(entry.uid) and FOREGROUND not in finalizers:
            obj = entry.copy()
            obj["metadata"]["finalizers"] = [*finalizers, FOREGROUND]
            self._store.replace(entry, obj)

    def _committed(self, event: Event) -> None:
        entry = event.entry
        self._track(event)
        if entry.resource == CRDS:
            self._crd_changed(event)
        elif entry.resource == NAMESPACES:
            self._namespace_changed(event)
        if _foreground(entry) and event.type != "DELETED":
            self._soon(f"foreground/{entry.uid}", lambda: self._delete_dependents(entry.uid))
        if event.type == "DELETED":
            for owner in _owners(entry):
                if _foreground(self._live.get(owner)):
                    self._soon(f"foreground/{owner}", partial(self._delete_dependents, owner))
            if entry.namespace and self._terminating(NAMESPACES, entry.namespace):
                self._soon(f"{NAMESPACES}/{entry.namespace}", lambda: self._empty_namespace(entry.namespace))
            if self._terminating(CRDS, entry.resource):
                self._soon(f"{CRDS}/{entry.resource}", lambda: self._empty_crd(entry.resource))

    def _track(self, event: Event) -> None:
        entry = event.entry
        before = _owners(event.previous)
        after = () if event.type == "DELETED" else _owners(entry)
        for uid in set(before) - set(after):
            self._dependents.get(uid, set()).discard(entry.uid)
        for uid in after:
            self._dependents.setdefault(uid, set()).add(entry.uid)
        if event.type == "DELETED":
            self._live.pop(entry.uid, None)
            if self._dependents.get(entry.uid):
                self._soon(f"gc/{entry.uid}", lambda: self._collect(entry.uid))
            else:
                self._dependents.pop(entry.uid, None)
            return
        self._live[entry.uid] = entry
        if after and set(after) != set(before) and not any(uid in self._live for uid in after):
            owner = next(iter(after))
            self._soon(f"gc/{owner}", lambda: self._collect(owner))

    def _collect(self, owner: str) -> None:
        """Delete the dependents of ``owner`` that have no owner left."""
        for entry in self._dependent_entries(owner):
            if not any(uid in self._live for uid in _owners(entry)):
                self._delete(entry, Deletion(uid=entry.uid))
        if owner not in self._live and not self._dependents.get(owner):
            self._dependents.pop(owner, None)

    def _delete_dependents(self, owner: str) -> None:
        """Delete what depends on an object with the finalizer; when nothing blocks, let the object go."""
        held = self._live.get(owner)
        if held is None or not _foreground(held):
            return
        blocking = False
        for entry in self._dependent_entries(owner):
            blocking = blocking or _blocks(entry, owner)
            if not _deleting(entry):
                self.hold_for_dependents(entry)
                self._delete(self._live[entry.uid], Deletion(uid=entry.uid))
        if blocking and any(_blocks(entry, owner) for entry in self._dependent_entries(owner)):
            return
        held = self._live[owner]
        obj = held.copy()
        obj["metadata"]["finalizers"] = [f for f in obj["metadata"]["finalizers"] if f != FOREGROUND]
        self._finish(held, obj, held=bool(obj["metadata"].get("deletionGracePeriodSeconds")))

    def _dependent_entries(self, uid: str) -> list[Entry]:
        return [self._live[d] for d in sorted(self._dependents.get(uid, ())) if d in self._live]

    def _namespace_changed(self, event: Event) -> None:
        name = event.entry.name
        if event.type == "ADDED":
            self._on_namespace(name)
        elif event.type == "MODIFIED" and _deleting(event.entry) and not _deleting(event.previous):
            self._soon(f"{NAMESPACES}/{name}", lambda: self._empty_namespace(name), NAMESPACE_GRACE_S)

    def _empty_namespace(self, name: str) -> None:
        left = False
        for resource_type in self._types.all():
            if not resource_type.namespaced:
                continue
            for entry in self._store.entries(resource_type.key, name):
                if not _deleting(entry):
                    self._delete(entry, Deletion())
            left = left or self._store.count(resource_type.key, name) > 0
        namespace = self._store.get(NAMESPACES, "", name)
        if left or namespace is None or not _deleting(namespace):
            return
        obj = namespace.copy()
        obj["spec"]["finalizers"] = [f for f in obj["spec"].get("finalizers", ()) if f != "kubernetes"]
        self._finish(namespace, obj, held=bool(obj["spec"]["finalizers"]))

    def _crd_changed(self, event: Event) -> None:
        view = event.entry.view()
        spec = view["spec"]
        if event.type == "DELETED":
            self._types.discard(spec["group"], spec["names"]["plural"])
            self._store.close_watchers(event.entry.name)
            return
        if _deleting(event.entry):
            self._soon(f"{CRDS}/{event.entry.name}", lambda: self._empty_crd(event.entry.name))
            return
        if event.previous is None or event.previous.view()["spec"] != spec:
            self._types.add(resource_type_of(event.entry.copy()))

    def _empty_crd(self, name: str) -> None:
        crd = self._store.get(CRDS, "", name)
        if crd is None or not _deleting(crd):
            return
        for entry in self._store.entries(name):
            if not _deleting(entry):
                self._delete(entry, Deletion())
        if self._store.count(name):
            return
        obj = crd.copy()
        kept = [f for f in obj["metadata"].get("finalizers", ()) if f != CLEANUP_FINALIZER]
        obj["metadata"]["finalizers"] = kept
        self._finish(crd, obj, held=bool(kept))

    def _finish(self, entry: Entry, obj: Obj, *, held: bool) -> None:
        """Store the last state but one, or remove the object if nothing else holds it."""
        if held or obj["metadata"].get("finalizers"):
            if obj != entry.view():
                self._store.replace(entry, obj)
        else:
            self._store.remove(entry, obj)

    def _delete(self, entry: Entry, deletion: Deletion) -> None:
        resource_type = self._type_of(entry)
        if resource_type is None or self._store.get(entry.resource, entry.namespace, entry.name) is None:
            return
        target = Target(resource_type, resource_type.versions[0], entry.namespace, entry.name)
        self._operations.delete(target, deletion)

    def _type_of(self, entry: Entry) -> ResourceType | None:
        plural, _, group = entry.resource.partition(".")
        return self._types.find(group, plural)

    def _terminating(self, resource: str, name: str) -> bool:
        entry = self._store.get(resource, "", name)
        return _deleting(entry)

    def _soon(self, key: str, action: Callable[[], None], after_s: float = 0.0) -> None:
        """Run ``action`` in a later turn of the loop; once, however often it is asked for before then."""
        if key in self._sweeping:
            return
        self._sweeping.add(key)

        def run() -> None:
            self._sweeping.discard(key)
            action()

        asyncio.get_running_loop().call_later(after_s, run)


def _owners(entry: Entry | None) -> Iterable[str]:
    if entry is None or b'"ownerReferences"' not in entry.raw:
        return ()
    references = entry.view()["metadata"].get("ownerReferences") or ()
    return tuple(reference.get("uid", "") for reference in references)


def _blocks(entry: Entry, owner: str) -> bool:
    references = entry.view()["metadata"].get("ownerReferences") or ()
    return any(item.get("uid") == owner and item.get("blockOwnerDeletion") for item in references)


def _foreground(entry: Entry | None) -> bool:
    """Whether the object is being deleted and waits for its dependents."""
    if entry is None or _FOREGROUND_BYTES not in entry.raw or not _deleting(entry):
        return False
    return FOREGROUND in (entry.view()["metadata"].get("finalizers") or ())


def _deleting(entry: Entry | None) -> bool:
    return (
        entry is not None
        and b'"deletionTimestamp"' in entry.raw
        and "deletionTimestamp" in entry.view()["metadata"]
    )
