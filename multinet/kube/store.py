"""The informer's store: the objects of one collection by key, with indexes, and nothing that waits.

Objects are stored as they were decoded and handed out without a copy: **they are read-only for everyone**.
Whoever wants to change one copies it first. A copy per event and reader would cost more than all the
rest of the client together.

Index upkeep costs per event as much as that object has index values, however large the store is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from multinet.model.objects import Obj, key_of

IndexFunction = Callable[[Obj], Iterable[str]]


class Change(NamedTuple):
    """One change of the store: ``old`` is ``None`` for a new object, ``new`` for one that vanished."""

    key: str
    old: Obj | None
    new: Obj | None


@dataclass(slots=True)
class _Index:
    function: IndexFunction
    entries: dict[str, dict[str, Obj]] = field(default_factory=dict)
    # Kept so that an object's old values need not be computed again.
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def put(self, key: str, obj: Obj) -> None:
        values = tuple(self.function(obj))
        known = self.values.get(key, ())
        if known and known != values:
            self.drop(key)
        for value in values:
            self.entries.setdefault(value, {})[key] = obj
        if values:
            self.values[key] = values

    def drop(self, key: str) -> None:
        for value in self.values.pop(key, ()):
            keys = self.entries.get(value)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self.entries[value]


class Store(Mapping[str, Obj]):
    """Objects by key (``ns/name`` or ``name``); read-only from outside, changed by events."""

    def __init__(self) -> None:
        self._objects: dict[str, Obj] = {}
        self._indexes: dict[str, _Index] = {}

    def __getitem__(self, key: str) -> Obj:
        return self._objects[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index all objects, present and future, by the strings that ``function`` returns for each."""
        index = _Index(function)
        for key, obj in self._objects.items():
            index.put(key, obj)
        self._indexes[name] = index

    def by_index(self, name: str, value: str) -> list[Obj]:
        """The objects with that index value; raises ``KeyError`` for an index nobody added."""
        return list(self._indexes[name].entries.get(value, {}).values())

    def replace(self, items: Iterable[Obj]) -> list[Change]:
        """Take over a list, which is the truth as of now; returns what that changed, vanished ones first."""
        listed = {key_of(item): item for item in items}
        changes = [
            Change(key, self._remove(key), None) for key in [k for k in self._objects if k not in listed]
        ]
        for key, new in listed.items():
            old = self._objects.get(key)
            if old is not None and _uid(old) == _uid(new) and _version(old) == _version(new):
                continue
            changes.extend(self._put(key, new))
        return changes

    def apply(self, kind: str, obj: Obj) -> list[Change]:
        """Take one watch event (ADDED, MODIFIED or DELETED); duplicates and stale ones change nothing."""
        key = key_of(obj)
        old = self._objects.get(key)
        if kind == "DELETED":
            # Another uid, or an older version: the news is about an incarnation that is already gone.
            if old is None or _uid(old) != _uid(obj) or _older(obj, old):
                return []
            # Not the event's object, though that is newer: callbacks that count rely on each ``old``
            # being the ``new`` of the change before.
            return [Change(key, self._remove(key), None)]
        if old is not None and _version(obj) == _version(old) and _uid(obj) == _uid(old):
            return []
        if old is not None and _older(obj, old):
            return []
        return self._put(key, obj)

    def _put(self, key: str, new: Obj) -> list[Change]:
        old = self._objects.get(key)
        self._objects[key] = new
        for index in self._indexes.values():
            index.put(key, new)
        if old is not None and _uid(old) != _uid(new):
            return [Change(key, old, None), Change(key, None, new)]
        return [Change(key, old, new)]

    def _remove(self, key: str) -> Obj:
        for index in self._indexes.values():
            index.drop(key)
        return self._objects.pop(key)


def _uid(obj: Obj) -> object:
    return obj["metadata"].get("uid")


def _version(obj: Obj) -> object:
    return obj["metadata"].get("resourceVersion")


def _older(a: Obj, b: Obj) -> bool:
    """Whether ``a`` is surely older: versions compare as whole numbers (KEP-5504), or not at all."""
    left, right = _version(a), _version(b)
    if isinstance(left, str) and isinstance(right, str) and left.isdigit() and right.isdigit():
        return int(left) < int(right)
    return False
