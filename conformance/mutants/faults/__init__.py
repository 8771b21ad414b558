"""Faults of the delegating plugin, each a method replaced, with the requirement that it violates.

A fault must be found by the tests of that requirement, whatever else finds it: ``tests/conformance`` runs
each one, and ``--target meta:NAME`` shows what a report of it looks like.
"""

from __future__ import annotations

from conformance.mutants.faults import configuration, keys, operations, selection, status
from conformance.mutants.faults.table import FAULTS, Fault
from conformance.mutants.meta import Meta, main
from multinet.errors import InputError

__all__ = ["FAULTS", "Fault", "configuration", "find", "keys", "operations", "run", "selection", "status"]


def find(name: str) -> Fault:
    """A fault by name; ``InputError`` names all there are."""
    try:
        return FAULTS[name]
    except KeyError:
        raise InputError(f"no fault {name!r}", next_step=f"known: {', '.join(FAULTS)}") from None


def run(name: str) -> int:
    """The executable: the plugin with this fault, or without any for an empty name."""
    return main(find(name).kind if name else Meta)
