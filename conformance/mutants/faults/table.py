"""The table of faults; the modules beside it fill it when they are imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.mutants.meta import Meta
from multinet.model.objects import Obj


@dataclass(frozen=True, slots=True)
class Fault:
    """``kind`` is the plugin with the fault in it, its docstring what is wrong, ``row`` what it violates."""

    name: str
    row: str
    kind: type[Meta]


FAULTS: dict[str, Fault] = {}


def fault(row: str) -> Callable[[type[Meta]], type[Meta]]:
    """Add a faulty plugin to the table; its name is the class's in lower case, with hyphens."""

    def add(kind: type[Meta]) -> type[Meta]:
        name = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
        FAULTS[name[1:]] = Fault(name[1:], row, kind)
        return kind

    return add


def without(found: Obj, key: str) -> Obj:
    """A map without one key."""
    return {name: value for name, value in found.items() if name != key}
