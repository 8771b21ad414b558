"""``multinet fuzz`` and ``multinet replay``: campaigns of :mod:`conformance.fuzz`, and their finds again."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.text import Text

from conformance.fuzz import campaign, engines, exporting, replaying, report
from conformance.fuzz.campaign import Outcome, Plan
from conformance.fuzz.differential import Pair
from conformance.fuzz.replaying import State
from multinet.cli import say
from multinet.errors import InputError
from multinet.model import planted
from topology import isolation


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for, beside the campaign's plan; ``bugs`` are planted ones.

    ``against``: the other of two, where two are compared.
    """

    engine: str
    against: str
    folder: Path
    bugs: tuple[str, ...]
    output: str


class _Interrupt:
    """Ctrl-C is a wish: the step under way ends first. The second one is an order."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def fuzz(plan: Plan, wish: Wish) -> int:
    """Run a campaign and write its report; 1 with failures, 10 when some did not come again."""
    console = say.console(stderr=wish.output == "json")

    def tell(outcome: Outcome) -> None:
        told = outcome.figures()
        console.print(
            f"{told['steps']} steps, {told['examples']} examples, {told['seconds']:.0f} s, "
            f"{told['steps_per_s']:g} steps/s, {len(outcome.states)} states, {told['failures']} failures"
        )

    _settle_in(wish.engine)
    logs = wish.folder / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = str(error.strerror or error)
        raise InputError("no failures can be kept here", where=str(wish.folder), why=why) from error
    with _quiet(), _planted(wish.bugs), _interruptible() as interrupt:
        engine = engines.make(wish.engine, logs, against=wish.against)
        try:
            outcome = campaign.run(engine, plan, tell, stop=lambda: interrupt.asked)
        finally:
            engine.close()
    origin = exporting.Origin(wish.engine, wish.against, versions=report.versions(), bugs=wish.bugs)
    files = {
        number: exporting.write(wish.folder, failure, origin)
        for number, failure in enumerate(outcome.failures)
    }
    differential = engine.report() if isinstance(engine, Pair) else None
    value = report.tree(wish.engine, plan, outcome, files, differential)
    report.write(wish.folder, value)
    console.print(report.text(value).rstrip())
    console.print(f"report: {wish.folder / report.TEXT_FILE}")
    status = _status(outcome)
    if wish.output == "json":
        with say.standard_output() as out:
            out.write(json.dumps(outcome.figures()) + "\n")
    else:
        console.print(say.last_line(status))
    return status


_STYLES = {State.FIXED: "green", State.STILL_FAILS: "bold red", State.ERROR: "bold yellow"}


def replay(paths: list[Path], engine: str, bugs: tuple[str, ...], output: str) -> int:
    """Take what files have once more; 1 while one still fails, 3 when one could not be replayed."""
    chosen = replaying.files(paths)
    console = say.console(stderr=output == "json")
    if not chosen:
        console.print(f"nothing to replay: no failure in {', '.join(map(str, paths))}")
    else:
        _settle_in(engine)
    found = []
    with _quiet(), _planted(bugs), tempfile.TemporaryDirectory(prefix="multinet-replay-") as logs:
        for result in replaying.again(chosen, engine, Path(logs)):
            found.append(result)
            line = Text(str(result.state), style=_STYLES[result.state])
            line.append(f"  {result.file}" + (f": {result.why}" if result.why else ""))
            console.print(line)
    states = {result.state for result in found}
    status = 1 if State.STILL_FAILS in states else 3 if State.ERROR in states else 0
    if output == "json":
        files = [{"file": str(item.file), "state": str(item.state), "why": item.why} for item in found]
        say.as_json({"exit_status": status, "files": files})
    else:
        console.print(say.last_line(status))
    return status


def _settle_in(engine: str) -> None:
    """Go where the engine can work; a lab needs namespaces of its own."""
    if engines.needs_isolation(engine) and not isolation.inside():
        isolation.enter()


def _status(outcome: Outcome) -> int:
    if outcome.failures:
        return 1
    if outcome.interrupted:
        return 3
    return 10 if outcome.flaky else 0


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the roles log of refusals and lost connections is what was asked for, a thousand times.

    Errors are looked at (:mod:`conformance.fuzz.witness`) and not shown.
    """
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _planted(bugs: tuple[str, ...]) -> Iterator[None]:
    """Plant bugs here, and in the processes of labs started from here."""
    unknown = set(bugs) - set(planted.BUGS)
    if unknown:
        raise InputError(
            f"there is no planted bug {', '.join(sorted(unknown))}",
            next_step=f"name one of {', '.join(sorted(planted.BUGS))}",
        )
    with planted.plant(*bugs):
        before = os.environ.get(planted.VARIABLE)
        os.environ[planted.VARIABLE] = ",".join(bugs)
        try:
            yield
        finally:
            if before is None:
                del os.environ[planted.VARIABLE]
            else:
                os.environ[planted.VARIABLE] = before


@contextlib.contextmanager
def _interruptible() -> Iterator[_Interrupt]:
    interrupt = _Interrupt()
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
