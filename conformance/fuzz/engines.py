"""The engines by name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

from conformance import target
from conformance.fuzz.differential import Pair
from conformance.fuzz.engine import Engine
from conformance.target import ClusterTarget
from multinet.errors import InputError
from multinet.model.dialect import DIALECTS

NAMES = ("model", "lab", "target:NAME[:ARGUMENT]")
_TARGET = "target:"


def needs_isolation(name: str) -> bool:
    """Whether the engine has to be made after :func:`topology.isolation.enter`."""
    return name == "lab" or (name.startswith(_TARGET) and _target(name).isolated)


def make(name: str, folder: Path | None = None, *, dialect: str = "default", against: str = "") -> Engine:
    """An engine; ``folder`` (the lab needs one) is where its logs go. ``InputError`` names the choices.

    ``against`` makes it one side of two: the other is the same engine in the dialect of that name, or a
    target.
    """
    if against:
        return _pair(name, folder, dialect, against)
    if name == "model":
        from conformance.fuzz.simulated import SimulatedEngine

        return SimulatedEngine(DIALECTS[dialect])
    if name == "lab":
        if folder is None:
            raise InputError("the lab engine needs a folder for its logs")
        from conformance.fuzz.labengine import LabEngine

        return LabEngine(folder, dialect)
    if name.startswith(_TARGET):
        if folder is None:
            raise InputError("a target needs a folder for its files")
        from conformance.fuzz.targetengine import TargetEngine

        # What a target leaves in its folder is of one start.
        return TargetEngine(_target(name), Path(tempfile.mkdtemp(prefix="target-", dir=folder)))
    raise InputError(f"no engine {name!r}", next_step=f"choose {' or '.join(NAMES)}")


def _target(name: str) -> ClusterTarget:
    found = target.make(name.removeprefix(_TARGET))
    # Not isinstance: that would ask for what is known only when the target has been started.
    if not hasattr(found, "nad"):
        hint = "choose a cluster, such as target:reference (docs/targets.md)"
        raise InputError(f"{name} has no Kubernetes API to take steps on", next_step=hint)
    return cast(ClusterTarget, found)


def _pair(name: str, folder: Path | None, dialect: str, against: str) -> Pair:
    if against.startswith(_TARGET):
        from conformance.fuzz.abroad import Abroad

        if name == "model" or folder is None:
            why = "a world in virtual time and one in real time do not wait for each other"
            raise InputError("a target is held against a lab", why=why, next_step="--engine lab")
        _target(against)
        # First the other: it starts in a process that must not inherit a lab.
        other = Abroad(against, folder)
        return Pair(make(name, folder, dialect=dialect), other)
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
