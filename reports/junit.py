"""`junit.xml`: for every CI. A test case per step, and one per row (source interface) of each matrix.

A case per cell would be a thousand passing lines; a row is the smallest thing whose name still tells what
broke, and its failure text lists the cells. Unknown is an *error*, since JUnit has no third verdict and it
must never look like a pass; what was not run is *skipped*.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from reports.model import Cell, RunReport, StepReport
from reports.verdicts import Verdict, combine

# XML 1.0 section 2.2: characters that may not appear at all, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """``text`` with each character that XML forbids spelled out, as in ``#x1B``."""
    return _ILLEGAL.sub(lambda match: f"#x{ord(match.group()):02X}", text)


def render(report: RunReport) -> bytes:
    """The file's content."""
    suite = TestSuite(clean(report.scenario or "scenario"))
    for name, value in _properties(report):
        suite.add_property(name, clean(value))
    for step in report.steps:
        suite.add_testcase(_step_case(report, step))
        for row, cells in _rows(step.cells):
            suite.add_testcase(_row_case(report, step, row, cells))
    step_failed = any(step.verdict is Verdict.FAIL for step in report.steps)
    if report.verdict in (Verdict.COULD_NOT_RUN, Verdict.INTERRUPTED) or (
        report.verdict is Verdict.FAIL and not step_failed
    ):
        suite.add_testcase(_run_case(report))
    xml = JUnitXml("multinet")
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    content: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return content + b"\n"


def _properties(report: RunReport) -> Iterable[tuple[str, str]]:
    yield "file", report.file
    yield "run", report.run
    yield "verdict", str(report.verdict)
    for key in sorted(report.environment):
        yield f"environment.{key}", str(report.environment[key])
    for capability in report.capabilities:
        yield f"capability.{capability.name}", "yes" if capability.available else "no"


def _case(report: RunReport, name: str, seconds: float) -> TestCase:
    return TestCase(clean(name), classname=clean(f"scenario.{report.scenario}"), time=seconds)


def _result(verdict: Verdict, message: str, text: str) -> list[FinalResult]:
    outcome: FinalResult
    if verdict is Verdict.FAIL:
        outcome = Failure(clean(message))
    elif verdict in (Verdict.UNKNOWN, Verdict.COULD_NOT_RUN, Verdict.INTERRUPTED):
        outcome = Error(clean(f"{verdict}: {message}"))
    elif verdict is Verdict.NOT_RUN:
        outcome = Skipped(clean(message))
    else:
        return []
    outcome.text = clean(text)
    return [outcome]


def _step_case(report: RunReport, step: StepReport) -> TestCase:
    case = _case(report, f"{step.index + 1:02d} {step.name}", step.seconds)
    text = "\n".join([f"{report.file}:{step.line}", step.reason, step.next_step, *step.facts]).strip()
    case.result = _result(step.verdict, step.reason, text)
    if step.evidence:
        case.system_out = clean("\n\n".join(f"== {item.title}\n{item.text}" for item in step.evidence))
    return case


def _rows(cells: Iterable[Cell]) -> list[tuple[str, list[Cell]]]:
    rows: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        rows[f"{cell.source}:{cell.source_interface}"].append(cell)
    return sorted(rows.items())


def _row_case(report: RunReport, step: StepReport, row: str, cells: list[Cell]) -> TestCase:
    case = _case(report, f"{step.index + 1:02d} {step.name} / from {row}", 0.0)
    counted = [cell.verdict for cell in cells if cell.verdict is not Verdict.NOT_APPLICABLE]
    verdict = combine(counted) if counted else Verdict.PASS
    wrong = [cell for cell in cells if cell.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
    lines = [
        f"to {cell.destination}:{cell.destination_interface} {cell.protocol}: expected {cell.expected}, "
        f"observed {cell.observed}. {cell.detail}".rstrip()
        for cell in wrong
    ]
    case.result = _result(verdict, f"{len(wrong)} of {len(cells)} cells not as expected", "\n".join(lines))
    return case


def _run_case(report: RunReport) -> TestCase:
    case = _case(report, "the run itself", report.seconds)
    lines = [
        ": ".join(part for part in (problem.where, problem.what, problem.why, problem.next_step) if part)
        for problem in report.problems
    ]
    case.result = _result(report.verdict, report.reason, "\n".join(lines))
    return case
