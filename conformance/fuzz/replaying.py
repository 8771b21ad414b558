"""Takes the sequences of files once more, on either engine, and says what has become of each failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from conformance.fuzz import engines, exporting, report, steps
from conformance.fuzz.engine import Engine
from conformance.fuzz.shrink import replay
from multinet.errors import InputError, MultinetError


class State(StrEnum):
    """What has become of a failure."""

    FIXED = "FIXED"
    STILL_FAILS = "STILL FAILS"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Result:
    """One file: ``why`` is the evidence, or the error."""

    file: Path
    state: State
    why: str = ""


def files(paths: Sequence[Path]) -> list[Path]:
    """The files of these paths, of a directory those it has; none of a campaign's that found nothing.

    ``InputError`` for a path that is not there, and for any other directory without a file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError("there is no such file or directory", where=str(path))
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not inside and not (path / report.JSON_FILE).is_file():
            raise InputError("there is no scenario file in it", where=str(path))
        found += inside
    return found


def again(paths: Sequence[Path], engine: str, folder: Path | None = None) -> Iterator[Result]:
    """Replay each file; an engine is kept from one file to the next of the same kind.

    ``folder`` is for the logs of an engine that has some.
    """
    current: Engine | None = None
    kind = ("", "")
    try:
        for path in paths:
            try:
                plan = exporting.read(path)
                if current is None or (plan.dialect, plan.against) != kind:
                    if current is not None:
                        current.close()
                    kind = (plan.dialect, plan.against)
                    current = engines.make(engine, folder, dialect=plan.dialect, against=plan.against)
                yield once(path, current, plan)
            except MultinetError as error:
                yield Result(path, State.ERROR, str(error))
    finally:
        if current is not None:
            current.close()


def once(path: Path, engine: Engine, plan: exporting.Plan | None = None) -> Result:
    """Replay a file on an engine of its dialect; ``InputError`` when it can't. ``plan``: what it says."""
    plan = plan or exporting.read(path)
    lacking = dict.fromkeys(step.name for step in plan.sequence if not engine.supports(type(step)))
    if lacking:
        raise InputError(
            f"this engine has no {', '.join(lacking)}", where=str(path), next_step="replay it on engine model"
        )
    # What the last step made happen may have waited for something before it happened.
    broken = replay(engine, (*plan.sequence, steps.Elapse()))
    if broken is None:
        return Result(path, State.FIXED)
    # Any rule counts: that another one breaks now is no mending.
    why = "; ".join(f"{item.rule}: {item.evidence}" for item in broken.violations)
    return Result(path, State.STILL_FAILS, why)
