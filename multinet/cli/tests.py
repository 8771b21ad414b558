"""``multinet test``: lint, unit tests, lab tests in throw-away namespaces, and browser tests."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from multinet.cli import say
from multinet.errors import InputError
from reports.verdicts import Verdict, combine_statuses

ROOT = Path(__file__).resolve().parents[2]
# pytest's own exit statuses (pytest reference, "Exit codes") in the words of ours.
_FROM_PYTEST = {0: 0, 1: 1, 2: 3, 3: 3, 4: 2, 5: 3}
# Neither pytest's nor a linter's: the program could not be started at all.
_NOT_RUN = 127
# A lab test is many processes itself.
_LAB_WORKERS = 2
# What is left runs in this process, needs no privilege and is done in seconds.
_UNIT = "not lab and not browser and not programs"
# A worker that has nothing left takes some of another's, so that all end at once.
_SPREAD = ("-n", "auto", "--dist", "worksteal")
# Properties are there with a few examples each; here with all of them (docs/decisions/0033).
_PROGRAMS = ("-m", "programs or hypothesis", "--hypothesis-profile=thorough")


@dataclass(frozen=True, slots=True)
class Part:
    """One command of the tests; ``from_pytest``: its status is pytest's; ``needs``: a program it drives."""

    name: str
    argv: tuple[str, ...]
    from_pytest: bool = True
    needs: str = ""


def parts(only: str | None, extra: list[str]) -> list[Part]:
    """What is run, in order."""
    beside = Path(sys.executable).parent
    pytest = (sys.executable, "-m", "pytest")
    every = {
        "lint": [
            Part("ruff check", (str(beside / "ruff"), "check", "."), False),
            Part("ruff format", (str(beside / "ruff"), "format", "--check", "."), False),
            Part("mypy", (str(beside / "mypy"),), False),
            Part("layers", (str(beside / "lint-imports"),), False),
        ],
        "unit": [Part("unit tests", (*pytest, *_SPREAD, "-m", _UNIT, *extra))],
        "programs": [Part("tests with other programs", (*pytest, *_SPREAD, *_PROGRAMS, *extra))],
        "lab": [Part("lab tests", (*_isolated(pytest, extra), "-m", "lab", *extra))],
        "browser": [Part("browser tests", (*pytest, "-m", "browser", *extra), needs="chromedriver")],
    }
    return [part for name, found in every.items() if only in (None, name) for part in found]


def _isolated(pytest: tuple[str, ...], extra: list[str]) -> tuple[str, ...]:
    """Pytest in throw-away namespaces; all of the tests on several cores: each worker has its own."""
    alone = (sys.executable, "-m", "scenarios.isolated")
    workers = min(os.cpu_count() or 1, _LAB_WORKERS)
    if extra or workers < 2:
        return (*alone, *pytest)
    python = shlex.join((*alone, sys.executable))
    return (*pytest, "-d", "--tx", f"{workers}*popen//python={python}", "--dist", "loadfile")


def run(only: str | None, extra: list[str]) -> int:
    """Run the parts, all of them whatever fails, and sum up."""
    if not (ROOT / "pyproject.toml").exists():
        raise InputError("the tests are not here", why="this is an installed copy", next_step="use a clone")
    console = say.console()
    results = []
    for part in parts(only, extra):
        console.print(f"== {part.name}", style="bold")
        begun = time.monotonic()
        status = _status(part, _call(part))
        results.append((part, status, time.monotonic() - begun))
    console.print("== summary", style="bold")
    for part, status, seconds in results:
        verdict = {0: Verdict.PASS, 1: Verdict.FAIL}.get(status, Verdict.COULD_NOT_RUN)
        line = say.verdict(verdict)
        line.append(f"  {part.name}  {seconds:.1f} s")
        console.print(line)
    status = combine_statuses(status for _, status, _ in results)
    console.print(say.last_line(status))
    return status


def _call(part: Part) -> int:
    if part.needs and shutil.which(part.needs) is None:
        sys.stderr.write(
            f"{part.name} could not run: {part.needs} is not here; "
            "apt-get install --no-install-recommends chromium chromium-driver\n"
        )
        return _NOT_RUN
    from topology import foreground

    sys.stdout.flush()
    try:
        return foreground.run(part.argv, cwd=ROOT, then_ours=True)
    except FileNotFoundError:
        sys.stderr.write(f"{part.argv[0]} is not installed; ./lab sets it up\n")
        return _NOT_RUN


def _status(part: Part, status: int) -> int:
    if status == _NOT_RUN:
        return 3
    if part.from_pytest:
        return _FROM_PYTEST.get(status, 3)
    return 1 if status else 0
