"""What a resource is, as data: its names, versions, columns and the functions that make its kind special.

To add a kind: one :class:`ResourceType` in :mod:`multinet.apiserver.builtins`, with a :class:`Strategy` only
for what differs from "store what I was given".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from multinet.apiserver.errors import FieldError, qualified
from multinet.apiserver.names import dns_subdomain
from multinet.model.objects import Obj

if TYPE_CHECKING:
    from multinet.apiserver.operations import Options
    from multinet.apiserver.schema import Schema
    from multinet.apiserver.store import Store

OBJECT_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a server-side table; ``cell`` gets the object and the current time in seconds."""

    name: str
    cell: Callable[[Obj, float], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Merge:
    """How strategic-merge-patch treats a field: list merge key, primitive list, and what is below it."""

    key: str = ""
    primitive: bool = False
    retain_keys: bool = False
    fields: Mapping[str, Merge] = field(default_factory=dict)


PLAIN_MERGE = Merge(
    fields={"metadata": Merge(fields={"finalizers": Merge(primitive=True), "ownerReferences": Merge("uid")})}
)


def _keep(_obj: Obj) -> None:
    return None


def _keep_both(_obj: Obj, _old: Obj) -> None:
    return None


def _valid(_obj: Obj) -> Iterable[FieldError]:
    return ()


def _valid_change(_obj: Obj, _old: Obj) -> Iterable[FieldError]:
    return ()


def _nothing_to_give(_store: Store, _obj: Obj, _old: Obj | None) -> Iterable[FieldError]:
    return ()


def _free(_obj: Obj) -> bool:
    return False


def at_once(_obj: Obj, _asked: int | None) -> int:
    """No graceful deletion."""
    return 0


@dataclass(frozen=True, slots=True)
class Strategy:
    """The functions that make a kind special. ``prepare_*`` change the tree they are given in place.

    ``grace_seconds(obj, asked)`` returns for how long a deletion is left to somebody else to finish (0: at
    once). ``prepare_delete`` marks an object that stays for a while; ``held`` tells whether something beside
    ``metadata.finalizers`` keeps it. ``allocate(store, obj, old)`` gives a valid object, in place, what no
    other object may have, and yields what can't be given.
    """

    prepare_create: Callable[[Obj], None] = _keep
    prepare_update: Callable[[Obj, Obj], None] = _keep_both
    validate: Callable[[Obj], Iterable[FieldError]] = _valid
    validate_update: Callable[[Obj, Obj], Iterable[FieldError]] = _valid_change
    name_errors: Callable[[str], str] = dns_subdomain
    grace_seconds: Callable[[Obj, int | None], int] = at_once
    prepare_delete: Callable[[Obj], None] = _keep
    held: Callable[[Obj], bool] = _free
    allocate: Callable[[Store, Obj, Obj | None], Iterable[FieldError]] = _nothing_to_give


@dataclass(frozen=True, slots=True)
class Version:
    """One served version. ``schema`` is None for kinds whose structure isn't checked."""

    name: str
    columns: tuple[Column, ...] = ()
    schema: Schema | None = None


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One resource. ``versions[0]`` is preferred; ``storage`` names the version objects are kept in.

    ``answer`` set: objects are never stored, a create is a question and this is its answer.
    """

    group: str
    plural: str
    kind: str
    namespaced: bool
    versions: tuple[Version, ...]
    storage: str = "v1"
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    field_labels: tuple[str, ...] = ()
    field_defaults: Mapping[str, str] = field(default_factory=dict)
    strategy: Strategy = Strategy()
    merge: Merge = PLAIN_MERGE
    generation: bool = False
    custom: bool = False
    answer: Callable[[Obj, Options], None] | None = None
    key: str = field(init=False)
    """``plural.group``: the name under which objects are stored and errors speak of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", qualified(self.plural, self.group))

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs of the resource itself."""
        return ("create",) if self.answer else OBJECT_VERBS

    def version(self, name: str) -> Version | None:
        """Return the served version of that name."""
        return next((version for version in self.versions if version.name == name), None)

    def api_version(self, version: str) -> str:
        """Return ``v1`` or ``group/v1``."""
        return f"{self.group}/{version}" if self.group else version


class Types:
    """The resource types served now; custom ones come and go."""

    def __init__(self, builtins: Iterable[ResourceType]) -> None:
        self._types: dict[tuple[str, str], ResourceType] = {}
        # By group and kind; made of the others when it is asked for.
        self._kinds: dict[tuple[str, str], ResourceType] = {}
        self.changes = 0
        for resource_type in builtins:
            self.add(resource_type)

    def add(self, resource_type: ResourceType) -> None:
        """Serve the type (again, if it changed)."""
        self._types[(resource_type.group, resource_type.plural)] = resource_type
        self._kinds.clear()
        self.changes += 1

    def discard(self, group: str, plural: str) -> None:
        """Stop serving the type."""
        self._types.pop((group, plural), None)
        self._kinds.clear()
        self.changes += 1

    def find(self, group: str, plural: str) -> ResourceType | None:
        """Return the type, or None."""
        return self._types.get((group, plural))

    def of_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """Return the type of an ``apiVersion`` and ``kind``; any version of the group will do."""
        if not self._kinds:
            for found in self._types.values():
                self._kinds.setdefault((found.group, found.kind), found)
        return self._kinds.get((api_version.rpartition("/")[0], kind))

    def all(self) -> list[ResourceType]:
        """Return all types, core first, then by group and name."""
        return sorted(self._types.values(), key=lambda t: (t.group, t.plural))

    def groups(self) -> dict[str, list[ResourceType]]:
        """Return the types by group."""
        found: dict[str, list[ResourceType]] = {}
        for resource_type in self.all():
            found.setdefault(resource_type.group, []).append(resource_type)
        return found
