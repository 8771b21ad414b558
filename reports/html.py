"""`report.html`: one self-contained file for people. No network, no script needed for its content.

The captures are in the page as far as they fit (see :mod:`reports.captures`).
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import jinja2

from reports import captures
from reports.drawing import Picture, layout
from reports.json_report import document
from reports.matrix import Grid, arrange
from reports.model import RunReport, statistics
from reports.verdicts import MEANING, Verdict

DENSE_FROM = 20
"""Interfaces from which on the matrix is set in small cells."""

_QUIET = (Verdict.PASS, Verdict.NOT_RUN)
_MARK = {
    "pass": "✓",
    "fail": "✗",
    "unknown": "?",
    "could not run": "!",
    "interrupted": "!",
    "not run": "-",
    "not applicable": "·",
}


@functools.cache
def _environment() -> jinja2.Environment:
    """One for the process: it keeps the templates that it has compiled."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["mark"] = lambda verdict: _MARK.get(str(verdict), "?")
    environment.filters["slug"] = lambda verdict: str(verdict).replace(" ", "-")
    environment.filters["seconds"] = lambda value: f"{value:.3f} s" if value < 1 else f"{value:.2f} s"
    environment.filters["size"] = _size
    environment.filters["utc"] = lambda value: time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
    return environment


def _size(value: int) -> str:
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if value >= step:
            return f"{value / step:.1f} {unit}"
    return f"{value} B"


def render(report: RunReport, run_dir: Path | None = None) -> bytes:
    """The page as bytes; ``run_dir`` is where the captures lie, None to link to them without looking."""
    grids: dict[int, Grid] = {
        step.index: arrange(step.cells, f"s{step.index + 1}") for step in report.steps if step.cells
    }
    pictures: dict[int, Picture] = {
        step.index: layout(step.drawing) for step in report.steps if step.drawing is not None
    }
    text = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            grids=grids,
            capture_groups=captures.group(report, run_dir),
            embed_total=captures.EMBED_TOTAL_BYTES,
            embed_file=captures.EMBED_FILE_BYTES,
            dense_from=DENSE_FROM,
            first_picture=next((pictures[index] for index in sorted(pictures)), None),
            step_counts=statistics(step.verdict for step in report.steps),
            cell_counts=statistics(cell.verdict for cell in report.cells),
            troubled=[step for step in report.steps if step.verdict not in _QUIET],
            meaning=MEANING.get(report.exit_status, ""),
            digest=document(report)["digest"],
        )
    )
    return text.encode()
