"""What is said about one requirement, how several become one, and what that means as an exit status.

=====================  ====================================================================================
verdict                meaning
=====================  ====================================================================================
pass                   the requirement is met
fail                   it is not
fail-closed            refused where the text says "invalid and ignored": nothing is left behind, and no pod
                       runs with other networks than it asked for; tolerated unless ``--strict``
unsafe                 accepted with a partial or different set of attachments; always a failure
ambiguous              the text can be read in two ways, or asks for nothing; what was seen is recorded
documented-limitation  not met, and the target's documentation says so
unsupported-ok         a feature the target does not claim, refused as the text demands
not-applicable         the target, profile or version does not have this requirement
unknown                it could not be observed
=====================  ====================================================================================

Design note: only what was observed can be a pass. ``unknown`` and "nothing was tested" never are, and
``ambiguous`` never turns a run red, since the suite accuses nobody on a doubtful reading. Nor does a row of
the level ``robustness``, which stands in no text: its failure is told as ambiguous, unless ``--strict``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict of one test on one requirement, or of a requirement, a profile, a run."""

    PASS = "pass"
    FAIL = "fail"
    FAIL_CLOSED = "fail-closed"
    UNSAFE = "unsafe"
    AMBIGUOUS = "ambiguous"
    DOCUMENTED_LIMITATION = "documented-limitation"
    UNSUPPORTED_OK = "unsupported-ok"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"


WORST_FIRST = (
    Verdict.UNSAFE,
    Verdict.FAIL,
    Verdict.UNKNOWN,
    Verdict.FAIL_CLOSED,
    Verdict.DOCUMENTED_LIMITATION,
    Verdict.AMBIGUOUS,
    Verdict.UNSUPPORTED_OK,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
)
"""The order in which one verdict hides another; ``not-applicable`` only stands alone."""

PASSED = frozenset({Verdict.PASS, Verdict.UNSUPPORTED_OK, Verdict.AMBIGUOUS})
"""Counted as passed in a profile's statistics; ``fail-closed`` joins them where it is tolerated."""

FAILED = frozenset({Verdict.FAIL, Verdict.UNSAFE})


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of several; ``unknown`` of none, since nothing was seen."""
    found = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in found), Verdict.UNKNOWN)


def is_failure(verdict: Verdict, *, strict: bool = False) -> bool:
    """Whether it turns a run red; ``strict`` adds ``fail-closed``."""
    return verdict in FAILED or (strict and verdict is Verdict.FAIL_CLOSED)


def exit_status(verdicts: Iterable[Verdict], *, strict: bool = False) -> int:
    """The README's statuses: 1 for a failure, 3 when nothing was decided, 10 when something is unknown."""
    found = [verdict for verdict in verdicts if verdict is not Verdict.NOT_APPLICABLE]
    if any(is_failure(verdict, strict=strict) for verdict in found):
        return 1
    if not found:
        return 3
    return 10 if Verdict.UNKNOWN in found else 0
