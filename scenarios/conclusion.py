"""The last event of a run: what its steps and its parts add up to, as the reports say it.

Design note: reports fold the log, so they need no verdict in its last event; but who reads only that event
(a script, another tool) must not learn less. So it is folded here too, by the same function, before it is
written.
"""

from __future__ import annotations

from pathlib import Path

from reports.events import Data, Event, read
from reports.model import RunReport, fold
from reports.verdicts import Verdict

_BLAMED = (Verdict.FAIL, Verdict.COULD_NOT_RUN, Verdict.UNKNOWN)


def conclude(log: Path, verdict: Verdict, reason: str) -> Data:
    """Data of ``run-finished``; ``verdict`` and ``reason`` are of the run as such, without its steps."""
    events = read(log)
    last = Event(len(events) + 1, 0.0, "run-finished", {"verdict": str(verdict), "reason": reason})
    report = fold([*events, last])
    return {"verdict": str(report.verdict), "reason": report.reason or _of_steps(report)}


def _of_steps(report: RunReport) -> str:
    """Which steps made the verdict, when the run as such has nothing to say."""
    blamed = [step.name for step in report.steps if step.verdict is report.verdict]
    if report.verdict not in _BLAMED or not blamed:
        return ""
    words = {Verdict.FAIL: "failed", Verdict.COULD_NOT_RUN: "could not run"}.get(
        report.verdict, "could not observe what it had to"
    )
    more = f", and {len(blamed) - 1} more" if len(blamed) > 1 else ""
    return f"the step {blamed[0]!r} {words}{more}"
