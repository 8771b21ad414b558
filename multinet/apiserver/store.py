"""The objects, in memory: one revision counter, bounded history, watchers.

**Ownership.** The truth about an object is its serialised bytes (:attr:`Entry.raw`), made once when it is
written; reads and watch events send those bytes as they are. Who wants to change an object takes
:meth:`Entry.copy`, a fresh tree. :meth:`Entry.view` is a tree parsed once per entry for the server's own
reading (selectors, table cells); nobody writes to it. So no caller ever holds a tree the store depends on.

**Concurrency.** Everything here is synchronous and runs on one event loop: a read-check-write between two
``await``s is atomic, and the order of revisions is the order of events for everybody.

Revisions are global across resources, as etcd's are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile
from operator import attrgetter

import orjson

from multinet.apiserver.errors import expired
from multinet.model.objects import Obj

HISTORY = 8192
WATCHER_LIMIT = 16384


class Entry:
    """One stored object at one revision. Immutable."""

    __slots__ = ("_view", "key", "name", "namespace", "raw", "resource", "revision", "uid")

    def __init__(self, resource: str, obj: Obj, revision: int) -> None:
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(revision)
        self.resource = resource
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        # Namespace ("" if cluster-scoped) and name.
        self.key = (self.namespace, self.name)
        self.uid: str = metadata.get("uid", "")
        self.revision = revision
        self.raw: bytes = orjson.dumps(obj)
        self._view: Obj | None = None

    def view(self) -> Obj:
        """Return a tree to read, shared by all readers: never write to it."""
        if self._view is None:
            self._view = orjson.loads(self.raw)
        return self._view

    def copy(self) -> Obj:
        """Return a tree of the caller's own."""
        tree: Obj = orjson.loads(self.raw)
        return tree


class Event:
    """One change: ``ADDED``, ``MODIFIED`` or ``DELETED``; ``previous`` is None for ``ADDED``.

    A ``DELETED`` event's entry is the last state with the revision of the deletion.
    """

    __slots__ = ("_lines", "entry", "previous", "revision", "type")

    def __init__(self, type_: str, entry: Entry, previous: Entry | None) -> None:
        self.type = type_
        self.entry = entry
        self.previous = previous
        self.revision = entry.revision
        self._lines: dict[str, bytes] = {}

    def line(self, type_: str) -> bytes:
        """Return the watch line for this event seen as ``type_``; made once for all watchers."""
        made = self._lines.get(type_)
        if made is None:
            made = watch_line(type_, self.entry.raw)
            self._lines[type_] = made
        return made


def watch_line(type_: str, raw: bytes) -> bytes:
    """Return one line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), raw)


Selects = Callable[[Entry], bool]


class Watcher:
    """One client's view of one resource: a queue of (type, event), filtered by namespace and selector.

    An object that starts to match is ``ADDED`` for this client, one that stops is ``DELETED``, as in
    Kubernetes. A client too slow for :data:`WATCHER_LIMIT` events is cut off; it resumes or relists.
    """

    def __init__(self, namespace: str, selects: Selects | None) -> None:
        self._namespace = namespace
        self._selects = selects
        self._queue: deque[tuple[str, Event]] = deque()
        # Of whoever waits. One does, and an asyncio.Event costs three times as much per event.
        self._waiting: asyncio.Future[None] | None = None
        self.closed = False

    def wants(self, entry: Entry) -> bool:
        """Tell whether this client sees the object."""
        if self._namespace and entry.namespace != self._namespace:
            return False
        return self._selects is None or self._selects(entry)

    def offer(self, event: Event) -> None:
        """Queue the event if it concerns this client."""
        seen_as = self._seen_as(event)
        if seen_as is None:
            return
        if len(self._queue) >= WATCHER_LIMIT:
            self.close()
            return
        self._queue.append((seen_as, event))
        if self._waiting is not None:
            self._wake()

    def close(self) -> None:
        """End the stream after what is queued."""
        self.closed = True
        self._wake()

    def take(self) -> list[tuple[str, Event]]:
        """Return and forget what is queued."""
        taken = list(self._queue)
        self._queue.clear()
        return taken

    async def wait(self) -> None:
        """Return when something is queued or the stream is closed; one may wait at a time."""
        if self._queue or self.closed:
            return
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _seen_as(self, event: Event) -> str | None:
        if self._namespace and event.entry.namespace != self._namespace:
            return None
        if self._selects is None:
            return event.type
        now = event.type != "DELETED" and self._selects(event.entry)
        before = event.previous is not None and self._selects(event.previous)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


class Collection:
    """All objects of one resource."""

    __slots__ = ("by_namespace", "floor", "history", "watchers")

    def __init__(self, floor: int) -> None:
        self.by_namespace: dict[str, dict[str, Entry]] = {}
        self.history: deque[Event] = deque()
        self.floor = floor
        self.watchers: set[Watcher] = set()

    def entries(self, namespace: str = "") -> Iterator[Entry]:
        """Yield the entries of one namespace, or all."""
        if namespace:
            yield from self.by_namespace.get(namespace, {}).values()
            return
        for bucket in self.by_namespace.values():
            yield from bucket.values()


class Store:
    """All collections. ``resource`` is ``plural.group``: ``pods``, ``leases.coordination.k8s.io``."""

    def __init__(self, history: int = HISTORY) -> None:
        self.revision = 1
        self._history = history
        self._collections: dict[str, Collection] = {}
        self._listeners: list[Callable[[Event], None]] = []

    def on_commit(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` after each change, in the same turn of the loop."""
        self._listeners.append(listener)

    def get(self, resource: str, namespace: str, name: str) -> Entry | None:
        """Return the entry, or None."""
        return self._collection(resource).by_namespace.get(namespace, {}).get(name)

    def entries(self, resource: str, namespace: str = "") -> list[Entry]:
        """Return the entries of a resource, sorted by namespace and name."""
        return sorted(self._collection(resource).entries(namespace), key=attrgetter("key"))

    def count(self, resource: str, namespace: str = "") -> int:
        """Return how many objects there are."""
        return sum(1 for _ in self._collection(resource).entries(namespace))

    def entries_at(self, resource: str, namespace: str, revision: int) -> list[Entry]:
        """Return the entries as they were at ``revision``, by undoing history. Raises 410 beyond it."""
        collection = self._collection(resource)
        if revision < collection.floor:
            raise too_old(revision, collection.floor)
        state = {entry.key: entry for entry in collection.entries(namespace)}
        for event in reversed(collection.history):
            if event.revision <= revision:
                break
            if namespace and event.entry.namespace != namespace:
                continue
            if event.previous is None:
                state.pop(event.entry.key, None)
            else:
                state[event.entry.key] = event.previous
        return [state[key] for key in sorted(state)]

    def create(self, resource: str, obj: Obj) -> Entry:
        """Store a new object; its name must be free."""
        entry = Entry(resource, obj, self.revision + 1)
        self._bucket(entry)[entry.name] = entry
        self._commit(Event("ADDED", entry, None))
        return entry

    def replace(self, current: Entry, obj: Obj) -> Entry:
        """Store a new state of ``current``."""
        entry = Entry(current.resource, obj, self.revision + 1)
        self._bucket(entry)[entry.name] = entry
        self._commit(Event("MODIFIED", entry, current))
        return entry

    def remove(self, current: Entry, last: Obj | None = None) -> Entry:
        """Remove the object; ``last`` is its final state if that differs from ``current``."""
        entry = Entry(current.resource, last or current.copy(), self.revision + 1)
        bucket = self._bucket(current)
        bucket.pop(current.name, None)
        if not bucket:
            self._collection(current.resource).by_namespace.pop(current.namespace, None)
        self._commit(Event("DELETED", entry, current))
        return entry

    def watch(self, resource: str, watcher: Watcher, since: int | None) -> None:
        """Attach ``watcher``, first handing it the events after ``since``.

        Raises 410 beyond the history, and for a revision of the future: it is of an earlier life of this
        server, so its holder must list again.
        """
        collection = self._collection(resource)
        if since is not None:
            if since < collection.floor or since > self.revision:
                raise too_old(since, collection.floor)
            missed = list(takewhile(lambda event: event.revision > since, reversed(collection.history)))
            for event in reversed(missed):
                watcher.offer(event)
        collection.watchers.add(watcher)

    def unwatch(self, resource: str, watcher: Watcher) -> None:
        """Detach ``watcher``."""
        self._collection(resource).watchers.discard(watcher)

    def close_watchers(self, resource: str | None = None) -> None:
        """End the streams of one resource (its CRD is gone), or all (the server stops)."""
        for name, collection in self._collections.items():
            if resource is None or name == resource:
                for watcher in tuple(collection.watchers):
                    watcher.close()

    def _collection(self, resource: str) -> Collection:
        collection = self._collections.get(resource)
        if collection is None:
            collection = self._collections[resource] = Collection(0)
        return collection

    def _bucket(self, entry: Entry) -> dict[str, Entry]:
        return self._collection(entry.resource).by_namespace.setdefault(entry.namespace, {})

    def _commit(self, event: Event) -> None:
        self.revision = event.revision
        collection = self._collection(event.entry.resource)
        collection.history.append(event)
        if len(collection.history) > self._history:
            collection.floor = collection.history.popleft().revision
        for watcher in tuple(collection.watchers):
            watcher.offer(event)
        for listener in self._listeners:
            listener(event)


def too_old(revision: int, floor: int) -> Exception:
    """Build the 410 of a revision that history no longer holds."""
    return expired(f"too old resource version: {revision} ({floor})")
