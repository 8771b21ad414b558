"""`report.json`: the whole run for programs, with a schema version and a digest.

The digest is the SHA-256 of the canonical JSON of the same document without its time fields, so two runs
that saw the same have the same digest, whenever and however fast they ran.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from reports.model import RunReport, as_plain, statistics

SCHEMA_VERSION = "report.multinet.opencontrail.org/v1alpha1"

# What differs between two runs that saw the same thing: times, names of the run, what was collected as text.
TIME_FIELDS = frozenset(
    {"started", "seconds", "lab_ready_s", "run", "waits", "evidence", "facts", "environment"}
)


def document(report: RunReport) -> dict[str, Any]:
    """The report as plain data, digest included."""
    body: dict[str, Any] = as_plain(report)
    body["apiVersion"] = SCHEMA_VERSION
    body["kind"] = "RunReport"
    body["statistics"] = {
        "steps": statistics(step.verdict for step in report.steps),
        "cells": statistics(cell.verdict for cell in report.cells),
    }
    body["digest"] = digest(body)
    return body


def digest(body: dict[str, Any]) -> str:
    """``sha256:<hex>`` of the document without its time fields."""
    canonical = json.dumps(_timeless(body), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in TIME_FIELDS}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


def render(report: RunReport) -> bytes:
    """The file's content: sorted keys, two blanks of indent, a final newline."""
    return (json.dumps(document(report), sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
