"""Faults of the delegating plugin, each a method replaced, with the requirement that it violates.

A fault must be found by the tests of that requirement, whatever else finds it: ``tests/conformance`` runs
each one, and ``--target meta:NAME`` shows what a report of it looks like.
"""

from __future__ import annotations

from conformance.mutants.extended import Extended
from conformance.mutants.faults import configuration, extensions, keys, operations, selection, status
from conformance.mutants.faults.table import FAULTS, Fault
from conformance.mutants.meta import Meta, main
from multinet.errors import InputError

__all__ = [
    "FAULTS",
    "Fault",
    "configuration",
    "extensions",
    "find",
    "keys",
    "kind_of",
    "operations",
    "run",
    "selection",
    "status",
]
_WHOLE: dict[str, type[Meta]] = {"": Meta, "extended": Extended}


def find(name: str) -> Fault:
    """A fault by name; ``InputError`` names all there are."""
    try:
        return FAULTS[name]
    except KeyError:
        raise InputError(f"no fault {name!r}", next_step=f"known: {', '.join(FAULTS)}") from None


def kind_of(name: str) -> type[Meta]:
    """The plugin with this fault; without any for an empty name, and for ``extended``."""
    return _WHOLE[name] if name in _WHOLE else find(name).kind


def run(name: str) -> int:
    """The executable of :func:`kind_of`."""
    return main(kind_of(name))
