"""Config objects in the form all requests work with, and the catalog in which they are found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from multinet.configapi.kinds import ref_field
from multinet.model.objects import Obj

FqName = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to another config object; ``attr`` belongs to the link (IPAM subnets)."""

    kind: str
    uuid: str
    to: FqName
    attr: Obj | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One config object.

    ``source`` is the Kubernetes object behind it (None for one that is implied). ``fixed`` says in words why
    it can't be changed or deleted here (a pod's, a node's); empty where it can. ``created`` and
    ``modified`` are RFC 3339 times, empty where unknown. ``relaxed``: UUIDs that may go although this refers.
    """

    kind: str
    uuid: str
    fq_name: FqName
    parent_kind: str = ""
    parent_uuid: str = ""
    properties: Obj = field(default_factory=dict)
    refs: tuple[Ref, ...] = ()
    source: Obj | None = None
    fixed: str = ""
    created: str = ""
    relaxed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``virtual-network default-domain:k8s-default:blue``, for messages."""
        return f"{self.kind} {':'.join(self.fq_name)}"

    def refs_of(self, kind: str) -> tuple[Ref, ...]:
        """The references to one kind."""
        return tuple(ref for ref in self.refs if ref.kind == kind)

    def ref_fields(self) -> dict[str, list[Ref]]:
        """References by field name."""
        fields: dict[str, list[Ref]] = {}
        for ref in self.refs:
            fields.setdefault(ref_field(ref.kind), []).append(ref)
        return fields


class Catalog:
    """All config objects as of one moment, by UUID, by name, by kind, with who refers to whom."""

    def __init__(self) -> None:
        self._by_uuid: dict[str, Entry] = {}
        self._by_name: dict[tuple[str, FqName], Entry] = {}
        self._by_kind: dict[str, list[Entry]] = {}
        self._referrers: dict[str, list[tuple[Entry, Ref]]] = {}
        self._children: dict[str, list[Entry]] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in entries; of two with one UUID or one name the first counts for look-ups."""
        for entry in entries:
            if entry.uuid in self._by_uuid:
                continue
            self._by_uuid[entry.uuid] = entry
            self._by_name.setdefault((entry.kind, entry.fq_name), entry)
            self._by_kind.setdefault(entry.kind, []).append(entry)
            if entry.parent_uuid:
                self._children.setdefault(entry.parent_uuid, []).append(entry)
            for ref in entry.refs:
                self._referrers.setdefault(ref.uuid, []).append((entry, ref))

    def all(self) -> Iterable[Entry]:
        """All entries, in the order in which they were taken in."""
        return self._by_uuid.values()

    def get(self, uuid: str) -> Entry | None:
        """The entry with that UUID."""
        return self._by_uuid.get(uuid)

    def named(self, kind: str, fq_name: FqName) -> Entry | None:
        """The entry of that kind and fq name."""
        return self._by_name.get((kind, fq_name))

    def of_kind(self, kind: str) -> list[Entry]:
        """All entries of a kind, in a stable order."""
        return self._by_kind.get(kind, [])

    def referrers(self, uuid: str) -> list[tuple[Entry, Ref]]:
        """Who refers to an entry, each with its reference."""
        return self._referrers.get(uuid, [])

    def children(self, uuid: str) -> list[Entry]:
        """The entries whose parent it is."""
        return self._children.get(uuid, [])
