"""Derive every report of a run from its event log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from reports import html, json_report, junit, yaml_report
from reports.events import read
from reports.model import RunReport, fold
from reports.store import EVENTS_FILE, write_atomic

# File name in the run directory -> what renders it. One module per format.
WRITERS: dict[str, Callable[[RunReport], bytes]] = {
    "report.html": html.render,
    "report.json": json_report.render,
    "report.yaml": yaml_report.render,
    "junit.xml": junit.render,
}


def derive(run_dir: Path) -> RunReport:
    """Read ``run_dir/events.jsonl``, write all reports beside it, return the run's value.

    The page takes in the captures which lie beside the log. Deriving again gives the same bytes.
    ``FileNotFoundError`` when there is no log.
    """
    report = fold(read(run_dir / EVENTS_FILE))
    writers: dict[str, Callable[[RunReport], bytes]] = {
        **WRITERS,
        "report.html": partial(html.render, run_dir=run_dir),
    }
    for name, render in writers.items():
        write_atomic(run_dir / name, render(report))
    return report
