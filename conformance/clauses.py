"""The page of all clauses: each with its tests, its verdict per target, or the reason why no test decides it.

``python -m conformance.clauses`` writes ``docs/conformance-catalogue.md`` again; a test holds it against the
catalogue, the suite and the reports in ``conformance/reports``. Tests are found by collecting the suite as
pytest does, before anything is left out for a target.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
import yaml

from conformance.catalogue import Catalogue, Row, load, sort_key
from conformance.verdicts import Verdict

SUITE = Path(__file__).with_name("suite")
REPORTS = Path(__file__).with_name("reports")
PAGE = Path(__file__).parents[1] / "docs" / "conformance-catalogue.md"
# Any target will do to collect: nothing is started, and nothing is left out yet.
_TARGET = "meta"
_BAR = "\\|"

_HEAD = """# The requirement catalogue

Made by `python -m conformance.clauses`; do not edit. Every clause of `conformance/catalogue/` with the tests
that decide it and, for each target with a report in `conformance/reports/`, its verdict. What was read, and
what had to be corrected: [catalogue-review.md](catalogue-review.md).
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One report: a target's name and the verdicts by clause."""

    name: str
    verdicts: Mapping[str, str]


class _Collected:
    """A pytest plugin that notes which tests name which rows, before any is left out."""

    def __init__(self) -> None:
        self.tests: dict[str, set[str]] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note rows and functions; parameters are one test."""
        name = item.nodeid.partition("[")[0].rpartition("suite/")[2]
        for marker in item.iter_markers("requirement"):
            for row in marker.args:
                self.tests.setdefault(row, set()).add(name)


def collected(suite: Path = SUITE) -> dict[str, set[str]]:
    """``module::function`` of the tests that name each row; ``RuntimeError`` if pytest can't collect them."""
    found = _Collected()
    quiet = ["-qq", "-p", "no:cacheprovider"]
    # Nothing is run, so it does not matter that asserts of modules in use are not rewritten.
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    argv = [str(suite), "--collect-only", "--target", _TARGET, *quiet]
    with contextlib.redirect_stdout(io.StringIO()):
        status = pytest.main(argv, plugins=[found])
    if status != pytest.ExitCode.OK:
        raise RuntimeError(f"the suite can't be collected: pytest ends with {status}")
    return found.tests


def columns(folder: Path = REPORTS) -> list[Column]:
    """The reports of a folder, by name."""
    found = []
    for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() else ():
        report = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(report, dict) and report.get("kind") == "ConformanceReport":
            clauses = report.get("specClauses") or ()
            verdicts = {one["id"]: one["verdict"] for one in clauses}
            found.append(Column(path.stem.removesuffix("-report"), verdicts))
    return found


def undecided(rows: Iterable[Row], tests: Mapping[str, object]) -> list[Row]:
    """Rows that have neither a test nor a reason."""
    return [row for row in rows if row.id not in tests and row.untestable is None]


def render(catalogue: Catalogue, tests: Mapping[str, set[str]], reports: Iterable[Column]) -> str:
    """The page."""
    shown = list(reports)
    rows = sorted(catalogue, key=lambda row: (catalogue.document_of(row).id, sort_key(row.id)))
    parts = [_HEAD, *_summary(rows, tests)]
    for document, part in groupby(rows, key=catalogue.document_of):
        parts += [
            "",
            f"## {document.title}",
            "",
            f"Versions {', '.join(document.versions)}; {document.source}",
        ]
        for section, own in groupby(part, key=_heading):
            parts += ["", f"### {section}", "", *_table(list(own), tests, shown)]
    return "\n".join(parts) + "\n"


def _heading(row: Row) -> str:
    kind, section = row.id.split("-")[:2]
    return f"{kind} {section.partition('.')[0]}"


def _summary(rows: list[Row], tests: Mapping[str, set[str]]) -> Iterator[str]:
    decided = [row for row in rows if row.id in tests]
    reasons = [row for row in rows if row.id not in tests and row.untestable]
    functions = {test for row in rows for test in tests.get(row.id, ())}
    missing = undecided(rows, tests)
    yield (
        f"{len(rows)} clauses: {len(decided)} decided by {len(functions)} tests (each with its parameters), "
        f"{len(reasons)} that no test can decide, with the reason"
        + (f", {len(missing)} without either: {', '.join(row.id for row in missing)}" if missing else "")
        + "."
    )


def _table(rows: list[Row], tests: Mapping[str, set[str]], reports: list[Column]) -> Iterator[str]:
    heads = ["clause", "level", "since", "statement", "tests, or why none", *(one.name for one in reports)]
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        since = f"{row.since} to {row.until}" if row.until else row.since
        level = f"{row.level} (implied)" if row.implied else str(row.level)
        own = sorted(tests.get(row.id, ()))
        why = "<br>".join(f"`{_short(test)}`" for test in own) or row.untestable or "**none yet**"
        verdicts = [one.verdicts.get(row.id, "") for one in reports]
        cells = [row.id, level, since, row.statement, why, *map(_verdict, verdicts)]
        yield f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


def _short(test: str) -> str:
    path, _, function = test.partition("::")
    return f"{path.removesuffix('.py').replace('test_', '')}: {function.removeprefix('test_')}"


def _verdict(text: str) -> str:
    return "" if text == Verdict.NOT_APPLICABLE else text


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(load(), collected(), columns()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
