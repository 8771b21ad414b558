"""Every clause has a test or a reason, and the page of them is what they are now."""

from __future__ import annotations

import pytest

from conformance import clauses
from conformance.catalogue import load

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def tests() -> dict[str, set[str]]:
    return clauses.collected()


def test_every_clause_has_a_test_or_a_reason(tests: dict[str, set[str]]) -> None:
    missing = [row.id for row in clauses.undecided(load(), tests)]
    assert not missing, f"neither a test nor a reason: {', '.join(missing)}"


def test_no_clause_that_can_not_be_tested_has_a_test(tests: dict[str, set[str]]) -> None:
    both = [row.id for row in load() if row.untestable and row.id in tests]
    assert not both, f"these say why no test decides them, and have one: {', '.join(both)}"


def test_there_are_as_many_tests_as_promised(tests: dict[str, set[str]]) -> None:
    assert len({name for names in tests.values() for name in names}) >= 200


def test_the_page_is_up_to_date(tests: dict[str, set[str]]) -> None:
    page = clauses.render(load(), tests, clauses.columns())
    assert clauses.PAGE.read_text(encoding="utf-8") == page, "write it again: python -m conformance.clauses"


def test_a_page_has_verdicts_reasons_and_what_is_missing() -> None:
    rows = load()
    column = clauses.Column("somebody", {"NPWG-4.2-a": "fail-closed", "NPWG-4.1-a": "not-applicable"})
    page = clauses.render(rows, {"NPWG-4.2-a": {"test_4_selection.py::test_twice"}}, [column])
    lines = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert lines["NPWG-4.2-a"].endswith("| `4_selection: twice` | fail-closed |")
    assert lines["NPWG-4.1-a"].endswith("| **none yet** |  |")
    assert rows["NPWG-1.1.1-a"].untestable in lines["NPWG-1.1.1-a"]
