"""The pytest plugin: collection, options, failure texts; each in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SCENARIO = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata:
  name: example
spec:
  steps:
    - name: probe
      matrix: {}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makefile(".yaml", walk=SCENARIO, other="kind: Pod\n")
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    return pytester


def fake_launch(status: int, verdict: str) -> str:
    """A conftest in whose runs the launcher gives a prepared outcome."""
    return f"""
import pytest
from pathlib import Path
from reports.events import Event
from reports.model import fold
from scenarios import launch

def outcome(file, options, *, shown=None):
    steps = [{{"name": "probe", "action": "matrix", "line": 7}}]
    events = [
        Event(1, 1.0, "run-started", {{"scenario": "example", "file": shown, "steps": steps}}),
        Event(2, 2.0, "step-finished", {{"index": 0, "verdict": "{verdict}", "reason": "one cell"}}),
        Event(3, 3.0, "run-finished", {{"verdict": "{verdict}", "reason": ""}}),
    ]
    return launch.Outcome(shown, {status}, fold(events), Path("runs/x"))

@pytest.fixture(autouse=True)
def _nothing():
    pass

launch.launch = outcome
"""


def test_only_scenarios_are_collected(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["walk.yaml::walk"])
    assert "other.yaml" not in result.stdout.str()


def test_the_lab_marker_deselects_them(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("-m", "not lab", "-q")
    result.stdout.fnmatch_lines(["*1 deselected*"])


def test_a_failure_shows_the_line_and_the_report(suite: pytest.Pytester) -> None:
    suite.makeconftest(fake_launch(1, "fail"))
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["walk.yaml:7: fail: probe: one cell", "report: runs/x/report.html"], consecutive=True
    )
    assert "Traceback" not in result.stdout.str()


def test_unknown_is_a_failure(suite: pytest.Pytester) -> None:
    suite.makeconftest(fake_launch(10, "unknown"))
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["unknown is no pass; --allow-unknown lets it through"])


@pytest.mark.parametrize("how", ["option", "ini"])
def test_unknown_can_be_allowed(suite: pytest.Pytester, how: str) -> None:
    suite.makeconftest(fake_launch(10, "unknown"))
    argument = ["--allow-unknown"] if how == "option" else ["-o", "multinet_allow_unknown=true"]
    suite.runpytest_subprocess(*argument).assert_outcomes(passed=1)


def test_could_not_run_is_never_allowed(suite: pytest.Pytester) -> None:
    suite.makeconftest(fake_launch(3, "could not run"))
    suite.runpytest_subprocess("--allow-unknown").assert_outcomes(failed=1)


def test_a_bad_file_fails_with_its_line(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", walk=SCENARIO.replace("matrix", "matrx"))
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["walk.yaml:8:7: unknown key 'matrx': *did you mean 'matrix'?)"])


def test_the_options_are_in_one_group(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_subprocess("--help").stdout.str()
    group = text[text.index("multi-network scenarios:") :]
    for option in ("--multinet-runs-dir", "--multinet-nodes", "--multinet-dialect", "--allow-unknown"):
        assert option in group


def test_importing_the_plugin_costs_nothing() -> None:
    code = (
        "import sys, scenarios.pytest_plugin as p; heavy = 'yaml pydantic aiohttp scapy mininet networkx'; "
        "print([name for name in heavy.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
