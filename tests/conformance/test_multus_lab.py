"""The delegating profile on Multus, where there is one: what it does not meet is what the findings say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conformance.verdicts import FAILED

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "conformance" / "findings.md"
MULTUS = Path(os.environ.get("MULTUS", "/opt/cni/bin/multus"))


@pytest.mark.timeout(900)
def test_what_multus_does_not_meet_is_explained(tmp_path: Path) -> None:
    if not os.access(MULTUS, os.X_OK):
        pytest.skip(f"{MULTUS} is not there: set MULTUS to the executable of the thin plugin")
    report = tmp_path / "report.yaml"
    suite = [sys.executable, "-m", "pytest", "conformance/suite/delegating", "-q", "-n", "2"]
    argv = [sys.executable, "-m", "scenarios.isolated", *suite, "-p", "no:cacheprovider"]
    options = ["--target", f"multus:{MULTUS}", "--report", str(report)]
    done = subprocess.run([*argv, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    clauses = yaml.safe_load(report.read_text())["specClauses"]
    assert "SUITE-ERROR" not in done.stdout
    failed = {clause["id"] for clause in clauses if clause["verdict"] in FAILED}
    section = FINDINGS.read_text().partition("## Multus")[2]
    table = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    assert failed == {row for cell in table for row in re.findall(r"[A-Z]+-\S+", cell)}
