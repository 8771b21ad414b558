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
DAEMON = Path(os.environ.get("MULTUS_DAEMON", "/opt/multus/multus-daemon"))


def not_met(binary: Path, variable: str, tmp_path: Path) -> set[str]:
    """The rows that fail in a run of the delegating part, which must come to its end by itself."""
    if not os.access(binary, os.X_OK):
        pytest.skip(f"{binary} is not there: set {variable} to its path")
    report = tmp_path / "report.yaml"
    suite = [sys.executable, "-m", "pytest", "conformance/suite/delegating", "-q", "-n", "2"]
    argv = [sys.executable, "-m", "scenarios.isolated", *suite, "-p", "no:cacheprovider"]
    options = ["--target", f"multus:{binary}", "--report", str(report)]
    done = subprocess.run([*argv, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    assert "SUITE-ERROR" not in done.stdout
    assert "UNKNOWN conformance" not in done.stdout, done.stdout[-3000:]
    clauses = yaml.safe_load(report.read_text())["specClauses"]
    failed = [clause for clause in clauses if clause["verdict"] in FAILED]
    for clause in failed:
        proof = next(test for test in clause["tests"] if test["verdict"] in FAILED)
        assert all(proof.get(key) for key in ("input", "expected", "reason")), clause["id"]
        assert proof["logs"].get("stderr") or proof["logs"].get("daemon"), clause["id"]
    return {clause["id"] for clause in failed}


def table(heading: str) -> list[tuple[set[str], str]]:
    """The rows of each line below a heading, and what its second cell says."""
    section = FINDINGS.read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
    cells = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    return [(rows, line[2].strip()) for line in cells if (rows := set(re.findall(r"[A-Z]+-\S+", line[1])))]


@pytest.mark.timeout(1800)
def test_what_the_thin_plugin_does_not_meet_is_explained(tmp_path: Path) -> None:
    explained = table("Multus 4.3.0, the thin plugin")
    assert not_met(MULTUS, "MULTUS", tmp_path) == set().union(*(rows for rows, _ in explained))


@pytest.mark.timeout(1800)
def test_what_the_daemon_does_not_meet_is_explained(tmp_path: Path) -> None:
    explained = set().union(*(rows for rows, _ in table("Multus 4.3.0, the thin plugin")))
    for rows, met in table("Multus 4.3.0, the daemon"):
        explained = explained - rows if met == "yes" else explained | rows
    assert not_met(DAEMON, "MULTUS_DAEMON", tmp_path) == explained
