"""Faults of the reference implementation, each found in a lab of its own by the requirement it violates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conformance import clauses
from conformance.mutants.lab import FAULTS

# Not "lab": each run makes namespaces of its own, since one set of them takes one lab.
pytestmark = pytest.mark.programs
_LIMIT_S = 100.0


@pytest.fixture(scope="module")
def tests() -> dict[str, set[str]]:
    return clauses.collected()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_reference_is_found(name: str, tests: dict[str, set[str]], tmp_path: Path) -> None:
    row = FAULTS[name].row
    nodes = [f"{clauses.SUITE}/{test}" for test in sorted(tests[row]) if not test.startswith("delegating")]
    assert nodes, f"no test on a cluster decides {row}"
    report = tmp_path / "report.yaml"
    argv = [sys.executable, "-m", "pytest", *nodes, f"--target=conformance.mutants.lab:{name}", "-x", "-q"]
    argv += [f"--report={report}", "-p", "no:cacheprovider"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    assert report.exists(), done.stdout + done.stderr
    verdicts = {one["id"]: one["verdict"] for one in yaml.safe_load(report.read_text())["specClauses"]}
    assert verdicts[row] in ("fail", "unsafe"), f"{row} is {verdicts[row]}: {done.stdout[-2000:]}"
