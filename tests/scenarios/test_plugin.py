"""The pytest plugin: collection, options, failure texts; each in a pytest of its own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports.events import Event
from reports.model import fold
from scenarios import launch, pytest_plugin
from scenarios.launch import Options, Outcome

pytest_plugins = ["pytester"]

# An inner pytest drops what it imports: what it finds imported costs it nothing.
importlib.import_module("scenarios.loader")

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


@pytest.fixture(autouse=True)
def only_ours(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other plugins would cost most of the time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = --strict-markers -p scenarios.pytest_plugin\n")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makefile(".yaml", walk=SCENARIO, other="kind: Pod\n")
    return pytester


def fake_launch(monkeypatch: pytest.MonkeyPatch, status: int, verdict: str) -> None:
    """Let the launcher give a prepared outcome instead of making a lab."""

    def outcome(file: Path, options: Options, *, shown: str | None = None) -> Outcome:
        steps = [{"name": "probe", "action": "matrix", "line": 7}]
        events = [
            Event(1, 1.0, "run-started", {"scenario": "example", "file": shown, "steps": steps}),
            Event(2, 2.0, "step-finished", {"index": 0, "verdict": verdict, "reason": "one cell"}),
            Event(3, 3.0, "run-finished", {"verdict": verdict, "reason": ""}),
        ]
        return Outcome(shown or "", status, fold(events), Path("runs/x"))

    monkeypatch.setattr(launch, "launch", outcome)


def test_only_scenarios_are_collected(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["walk.yaml::walk"])
    assert "other.yaml" not in result.stdout.str()


def test_the_lab_marker_deselects_them(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess("-m", "not lab", "-q")
    result.stdout.fnmatch_lines(["*1 deselected*"])


def test_a_failure_shows_the_line_and_the_report(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_launch(monkeypatch, 1, "fail")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["walk.yaml:7: fail: probe: one cell", "report: runs/x/report.html"], consecutive=True
    )
    assert "Traceback" not in result.stdout.str()


def test_unknown_is_a_failure(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_launch(monkeypatch, 10, "unknown")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["unknown is no pass; --allow-unknown lets it through"])


@pytest.mark.parametrize("how", ["option", "ini"])
def test_unknown_can_be_allowed(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    fake_launch(monkeypatch, 10, "unknown")
    argument = ["--allow-unknown"] if how == "option" else ["-o", "multinet_allow_unknown=true"]
    suite.runpytest_inprocess(*argument).assert_outcomes(passed=1)


def test_could_not_run_is_never_allowed(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_launch(monkeypatch, 3, "could not run")
    suite.runpytest_inprocess("--allow-unknown").assert_outcomes(failed=1)


def test_a_bad_file_fails_with_its_line(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", walk=SCENARIO.replace("matrix", "matrx"))
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["walk.yaml:8:7: unknown key 'matrx': *did you mean 'matrix'?)"])


def test_a_file_in_another_encoding_fails_with_its_line(pytester: pytest.Pytester) -> None:
    (pytester.path / "walk.yaml").write_bytes(SCENARIO.encode() + "# caf\u00e9\n".encode("latin-1"))
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["walk.yaml:9: this is not UTF-8 text: *(save it as UTF-8)"])


def test_a_file_that_cannot_be_read_fails_when_it_is_named(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest_plugin, "_unreadable", lambda path: path.name == "walk.yaml")
    (suite.path / "walk.yaml").write_bytes(b"\xff")
    suite.runpytest_inprocess().assert_outcomes()
    result = suite.runpytest_inprocess("walk.yaml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["walk.yaml:1: this is not UTF-8 text: *"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "walk.yaml: the file is empty*"),
        (SCENARIO.replace("Scenario", "Scenrio", 1), "*its kind is 'Scenrio'*"),
    ],
)
def test_one_that_is_nearly_a_scenario_fails_when_it_is_named(
    pytester: pytest.Pytester, content: str, message: str
) -> None:
    (pytester.path / "walk.yaml").write_text(content)
    pytester.runpytest_inprocess().assert_outcomes()
    result = pytester.runpytest_inprocess("walk.yaml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_a_fifo_is_not_waited_for(pytester: pytest.Pytester) -> None:
    os.mkfifo(pytester.path / "walk.yaml")
    assert not pytest_plugin.is_scenario(pytester.path / "walk.yaml")
    result = pytester.runpytest_inprocess("walk.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_options_are_in_one_group(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_inprocess("--help").stdout.str()
    group = text[text.index("multi-network scenarios:") :]
    for option in ("--multinet-runs-dir", "--multinet-nodes", "--multinet-dialect", "--allow-unknown"):
        assert option in group


@pytest.mark.programs
def test_importing_the_plugin_costs_nothing() -> None:
    code = (
        "import sys, scenarios.pytest_plugin as p; heavy = 'yaml pydantic aiohttp scapy mininet networkx'; "
        "print([name for name in heavy.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
