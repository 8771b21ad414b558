"""Faults of the reference implementation; ``--target conformance.mutants.lab:NAME`` is it with one of them.

A fault replaces one function of the rules, or one decision of the dialect, in the process that owns the lab
before it forks anything; so controller and node agents have it, and the product knows nothing of it.
``python -m conformance.mutants.lab --fault NAME`` is that process.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from conformance import labhost
from conformance.targets.reference import ReferenceTarget
from multinet.errors import InputError
from multinet.model import dialect, selection, status
from multinet.model.selected import NetworkSelection


@dataclass(frozen=True, slots=True)
class Fault:
    """``apply`` puts it in place; ``row`` is what it violates."""

    row: str
    apply: Callable[[], None]


def _decision(**changes: Any) -> Callable[[], None]:
    def apply() -> None:
        dialect.DIALECTS["default"] = dataclasses.replace(dialect.DEFAULT, **changes)

    return apply


def _without(**changes: Any) -> Callable[[], None]:
    """A key of the selection is read as if it were not there."""

    def apply() -> None:
        whole = selection.parse

        def parse(*args: Any, **more: Any) -> tuple[NetworkSelection, ...]:
            return tuple(dataclasses.replace(one, **changes) for one in whole(*args, **more))

        selection.parse = parse

    return apply


def _entries(
    change: Callable[[list[status.NetworkStatus]], Iterable[status.NetworkStatus]],
) -> Callable[[], None]:
    def apply() -> None:
        whole = status.encode
        status.encode = lambda entries: whole(change(list(entries)))

    return apply


FAULTS = {
    "skips-missing-networks": Fault("NPWG-7.2-a", _decision(skip_unknown_networks=True)),
    "first-character-decides": Fault("NPWG-4.1.2-b", _decision(grammar="first-character")),
    "ignores-ips": Fault("NPWG-4.1.2.1.3-a", _without(ips=())),
    "ignores-mac": Fault("NPWG-4.1.2.1.4-a", _without(mac="")),
    "ignores-interface": Fault("NPWG-4.1.2.1.5-a", _without(interface="")),
    "ignores-default-route": Fault("NPWG-4.1.2.1.9-a", _without(default_route=None)),
    "collapses-status": Fault(
        "NPWG-4.2-c", _entries(lambda entries: {one.name: one for one in entries}.values())
    ),
    "no-default-entry": Fault(
        "NPWG-5.2-a", _entries(lambda entries: [one for one in entries if not one.default])
    ),
}


def find(name: str) -> Fault:
    """A fault by name; ``InputError`` names all there are."""
    try:
        return FAULTS[name]
    except KeyError:
        raise InputError(f"no fault {name!r}", next_step=f"known: {', '.join(FAULTS)}") from None


def make(argument: str) -> ReferenceTarget:
    """The reference with a fault."""
    find(argument)
    target = ReferenceTarget("default")
    target.own_lab("conformance.mutants.lab", "--fault", argument)
    return target


def main(argv: list[str]) -> int:
    """Put the fault in place, then be the lab's owner."""
    find(argv[1]).apply()
    return labhost.main(argv[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
