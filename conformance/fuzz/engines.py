"""The engines by name."""

from __future__ import annotations

from pathlib import Path

from conformance.fuzz.engine import Engine
from multinet.errors import InputError

NAMES = ("model", "lab")


def needs_isolation(name: str) -> bool:
    """Whether the engine has to be made after :func:`topology.isolation.enter`."""
    return name == "lab"


def make(name: str, folder: Path | None = None, *, dialect: str = "default") -> Engine:
    """An engine; ``folder`` (the lab needs one) is where its logs go. ``InputError`` names the choices."""
    if name == "model":
        from conformance.fuzz.simulated import SimulatedEngine
        from multinet.model.dialect import DIALECTS

        return SimulatedEngine(DIALECTS[dialect])
    if name == "lab":
        if folder is None:
            raise InputError("the lab engine needs a folder for its logs")
        from conformance.fuzz.labengine import LabEngine

        return LabEngine(folder, dialect)
    raise InputError(f"no engine {name!r}", next_step=f"choose {' or '.join(NAMES)}")
