"""How verdicts combine, and what they mean as an exit status."""

import pytest

from conformance.verdicts import WORST_FIRST, Verdict, combine, exit_status


def test_every_verdict_has_its_place():
    assert sorted(WORST_FIRST) == sorted(Verdict)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ("", "unknown"),
        ("pass not-applicable", "pass"),
        ("pass ambiguous", "ambiguous"),
        ("fail-closed pass unknown", "unknown"),
        ("fail unknown pass", "fail"),
        ("unsafe fail", "unsafe"),
    ],
)
def test_the_worst_counts(verdicts, expected):
    assert combine(map(Verdict, verdicts.split())) == expected


@pytest.mark.parametrize(
    ("verdicts", "status", "strict"),
    [
        ("pass unsupported-ok ambiguous documented-limitation not-applicable", 0, 0),
        ("pass fail-closed", 0, 1),
        ("pass unsafe unknown", 1, 1),
        ("pass unknown", 10, 10),
        ("not-applicable", 3, 3),
        ("", 3, 3),
    ],
)
def test_exit_statuses(verdicts, status, strict):
    found = list(map(Verdict, verdicts.split()))
    assert (exit_status(found), exit_status(found, strict=True)) == (status, strict)
