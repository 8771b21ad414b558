"""Failures that are known: which row, why, where it is followed up, and until when that is an excuse.

::

    issues:
      - row: NPWG-4.2-c
        reason: equal networks share one entry
        link: https://example.org/issues/12
        expires: 2026-12-31

An entry whose date has passed, or whose row passes again, fails the run: the file must not outlive the facts.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conformance.verdicts import FAILED, Verdict
from multinet.errors import InputError

# What is tolerated without --strict is no more mended than what is not.
_STILL_THERE = frozenset({*FAILED, Verdict.FAIL_CLOSED, Verdict.AMBIGUOUS, Verdict.UNKNOWN})


class State(StrEnum):
    """Of an entry, at the end of a run."""

    OPEN = "open"
    EXPIRED = "expired"
    FIXED = "fixed"


class Issue(BaseModel):
    """One known failure; ``expires`` is the last day on which it is tolerated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    row: str
    reason: Annotated[str, Field(min_length=1)]
    link: Annotated[str, Field(pattern=r"^https?://")]
    expires: datetime.date

    def is_expired(self, today: datetime.date) -> bool:
        """Whether its last day has passed."""
        return self.expires < today

    def state(self, verdict: Verdict | None, today: datetime.date) -> State:
        """What has become of it; ``verdict`` is its row's in this run, None when it was not decided."""
        if self.is_expired(today):
            return State.EXPIRED
        if verdict is None or verdict in _STILL_THERE:
            return State.OPEN
        return State.FIXED


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    issues: tuple[Issue, ...]


def load(path: Path, rows: Iterable[str]) -> tuple[Issue, ...]:
    """The entries of a file; ``InputError`` for a bad one, or one about a row that the catalogue lacks."""
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).issues
    except OSError as error:
        raise InputError("can't read the known issues", where=str(path), why=str(error.strerror)) from error
    except yaml.YAMLError as error:
        raise InputError("not YAML", where=str(path), why=str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: {'.'.join(map(str, first['loc']))}"
        raise InputError(first["msg"], where=where, next_step="see conformance/known_issues.py") from error
    known = set(rows)
    for issue in found:
        if issue.row not in known:
            raise InputError(f"no requirement {issue.row!r} in the catalogue", where=str(path))
    return found


def states(
    issues: Iterable[Issue], verdicts: Mapping[str, Verdict], today: datetime.date
) -> tuple[tuple[Issue, State], ...]:
    """Each entry with its state at the end of a run."""
    return tuple((issue, issue.state(verdicts.get(issue.row), today)) for issue in issues)
