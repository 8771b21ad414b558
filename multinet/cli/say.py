"""How the command speaks: one console, styles for verdicts, the last line with the exit status in words."""

from __future__ import annotations

import json
from typing import Any

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


def console(*, stderr: bool = False) -> Console:
    """A console that neither interprets markup in messages nor breaks lines where nobody looks."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def verdict(value: Verdict) -> Text:
    """A verdict in its colour."""
    return Text(str(value), style=STYLES.get(value, ""))


def last_line(status: int) -> str:
    """``exit status 1: failed``."""
    return f"exit status {status}: {MEANING.get(status, 'unknown')}"


def as_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))
