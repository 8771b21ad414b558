"""The engines by name."""

from __future__ import annotations

from pathlib import Path

from conformance.fuzz.differential import Pair
from conformance.fuzz.engine import Engine
from multinet.errors import InputError
from multinet.model.dialect import DIALECTS

NAMES = ("model", "lab")


def needs_isolation(name: str) -> bool:
    """Whether the engine has to be made after :func:`topology.isolation.enter`."""
    return name == "lab"


def make(name: str, folder: Path | None = None, *, dialect: str = "default", against: str = "") -> Engine:
    """An engine; ``folder`` (the lab needs one) is where its logs go. ``InputError`` names the choices.

    ``against`` makes it one side of two: the other is the same engine in the dialect of that name.
    """
    if against:
        return _pair(name, dialect, against)
    if name == "model":
        from conformance.fuzz.simulated import SimulatedEngine

        return SimulatedEngine(DIALECTS[dialect])
    if name == "lab":
        if folder is None:
            raise InputError("the lab engine needs a folder for its logs")
        from conformance.fuzz.labengine import LabEngine

        return LabEngine(folder, dialect)
    raise InputError(f"no engine {name!r}", next_step=f"choose {' or '.join(NAMES)}")


def _pair(name: str, dialect: str, against: str) -> Pair:
    if against not in DIALECTS or against == dialect:
        others = " or ".join(known for known in DIALECTS if known != dialect)
        raise InputError(f"nothing to hold the dialect {dialect} against: {against!r}", next_step=others)
    if name != "model":
        raise InputError(
            f"two dialects are held against each other by the engine model, not {name}",
            why="decisions are tried one by one, each in a world of its own",
            next_step="--engine model",
        )
    from conformance.fuzz.dialects import OtherDialect
    from conformance.fuzz.simulated import SimulatedEngine

    left = DIALECTS[dialect]
    return Pair(SimulatedEngine(left), OtherDialect(SimulatedEngine, left, DIALECTS[against]))
