"""Verdicts, how several become one, and what each means as an exit status.

Design note: "could not run" and "unknown" are verdicts of their own and never count as a pass; that a
missing tool turns red tests green is the oldest complaint about suites like this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What is said about a cell, a step or a run; the text is what reports show."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    COULD_NOT_RUN = "could not run"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not run"
    NOT_APPLICABLE = "not applicable"


EXIT_STATUS = {
    Verdict.PASS: 0,
    Verdict.FAIL: 1,
    Verdict.COULD_NOT_RUN: 3,
    Verdict.INTERRUPTED: 3,
    Verdict.UNKNOWN: 10,
}

MEANING = {
    0: "passed",
    1: "failed",
    2: "wrong use",
    3: "could not run",
    10: "no failure, but something could not be observed",
}


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict of several: fail, else could not run, else unknown, else pass; nothing at all is no pass.

    A step that was not run because of another doesn't add to the verdict: the other one does.
    """
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.COULD_NOT_RUN, Verdict.UNKNOWN, Verdict.PASS):
        if verdict in found:
            return verdict
    return Verdict.UNKNOWN


def exit_status(verdict: Verdict, *, failed: bool = False) -> int:
    """Exit status of a run; one that was interrupted after a failure has still failed."""
    if failed:
        return 1
    return EXIT_STATUS.get(verdict, 3)


def combine_statuses(statuses: Iterable[int]) -> int:
    """One exit status of several runs, in the order of :func:`combine`; 2 (wrong use) before all."""
    found = set(statuses)
    return next((status for status in (2, 1, 3, 10, 0) if status in found), 3)
