"""`report.yaml`: the verdict in brief, for people and for tables of results.

Its shape follows Gateway API's ``ConformanceReport`` (capitalised statistics keys included), under a group
and kind of our own: what passed and failed, on what, with the digest of `report.json`. Cells are counted,
and only those that are not as expected are listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from reports.json_report import SCHEMA_VERSION
from reports.json_report import document as json_document
from reports.model import RunReport
from reports.verdicts import Verdict


def document(report: RunReport) -> dict[str, Any]:
    """The brief report as plain data."""
    return {
        "apiVersion": SCHEMA_VERSION,
        "kind": "RunSummary",
        "scenario": report.scenario,
        "file": report.file,
        "run": report.run,
        "seconds": report.seconds,
        "lab": dict(report.lab),
        "environment": dict(report.environment),
        "result": str(report.verdict),
        "exitStatus": report.exit_status,
        "steps": {
            "statistics": _counts(step.verdict for step in report.steps),
            "notPassed": [
                {"name": step.name, "line": step.line, "verdict": str(step.verdict), "reason": step.reason}
                for step in report.steps
                if step.verdict is not Verdict.PASS
            ],
        },
        "cells": {
            "statistics": _counts(cell.verdict for cell in report.cells),
            "notPassed": [
                f"{cell.source}:{cell.source_interface} -> {cell.destination}:{cell.destination_interface} "
                f"{cell.protocol}: expected {cell.expected}, observed {cell.observed}"
                for cell in report.cells
                if cell.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)
            ],
        },
        "unavailable": [capability.name for capability in report.capabilities if not capability.available],
        "digest": json_document(report)["digest"],
    }


def _counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    found = list(verdicts)
    return {
        "Passed": found.count(Verdict.PASS),
        "Failed": found.count(Verdict.FAIL),
        "Unknown": found.count(Verdict.UNKNOWN) + found.count(Verdict.COULD_NOT_RUN),
        "Skipped": found.count(Verdict.NOT_RUN) + found.count(Verdict.NOT_APPLICABLE),
    }


def render(report: RunReport) -> bytes:
    """The file's content; keys in the order above."""
    text = yaml.safe_dump(document(report), sort_keys=False, allow_unicode=True, width=110)
    return text.encode()
