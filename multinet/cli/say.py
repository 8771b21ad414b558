"""How the command speaks: one console, styles for verdicts, the last line with the exit status in words."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

from reports.verdicts import MEANING, Verdict

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.UNKNOWN: "yellow",
    Verdict.COULD_NOT_RUN: "bold yellow",
    Verdict.INTERRUPTED: "bold yellow",
    Verdict.NOT_RUN: "dim",
}


# Neither a failure (rich's and Typer's answer to a closed pipe is 1) nor a pass.
_UNHEARD = 3


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Whoever read us has gone, such as ``head``."""
        self.quiet = True
        say_no_more()
        raise SystemExit(_UNHEARD)


def console(*, stderr: bool = False) -> Console:
    """A console that neither interprets markup in messages nor breaks lines where nobody looks."""
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def verdict(value: Verdict) -> Text:
    """A verdict in its colour."""
    return Text(str(value), style=STYLES.get(value, ""))


def last_line(status: int) -> str:
    """``exit status 1: failed``."""
    return f"exit status {status}: {MEANING.get(status, 'unknown')}"


def as_json(value: Any) -> None:
    """Print one JSON document."""
    with standard_output() as out:
        out.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output for what is no console's; whoever read it may have gone."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        say_no_more()
        raise SystemExit(_UNHEARD) from None


def say_no_more() -> None:
    """Send the rest of standard output nowhere, or the interpreter tells at its end that it can't write."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
