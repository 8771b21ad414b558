"""The front: whatever becomes of the worker, there is a report and an honest exit status."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from reports.events import Event, EventLog, read
from reports.verdicts import Verdict
from scenarios import launch
from scenarios.launch import Options, Outcome
from topology import isolation

TEXT = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata:
  name: example
spec:
  steps:
    - name: probe
      matrix: {}
    - name: end
      leftovers: {}
"""
# A worker of the test: writes what it is told to the log and the pipe, then does `then`.
WORKER = """\
import os, signal, sys, threading
from pathlib import Path
from reports.events import EventLog
log = EventLog(Path(sys.argv[1]) / "events.jsonl", mirror=int(sys.argv[sys.argv.index("--events-fd") + 1]),
               written={written})
def ended(number, frame):
    log.append("run-finished", {{"verdict": "interrupted", "reason": "interrupted"}})
    os._exit(0)
signal.signal(signal.SIGINT, ended)
log.append("step-started", {{"index": 0, "name": "probe"}})
{then}
"""


@pytest.fixture(autouse=True)
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "probe", tuple)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT)
    return path


def launch_with(
    monkeypatch: pytest.MonkeyPatch, scenario: Path, then: str, on_event: launch.OnEvent = launch._ignore
) -> Outcome:
    def command(file: Path, shown: str, run_dir: Path, options: Options, written: int) -> list[str]:
        return [sys.executable, "-c", WORKER.format(then=then, written=written), str(run_dir)]

    monkeypatch.setattr(launch, "_command", command)
    return launch.launch(scenario, Options(runs_dir=scenario.parent / "runs", on_event=on_event))


FINISH = """\
log.append("step-finished", {"index": 0, "verdict": "pass"})
log.append("step-finished", {"index": 1, "verdict": "pass"})
log.append("run-finished", {"verdict": "pass", "reason": ""})
"""


def test_a_run_that_passes(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    seen: list[Event] = []
    outcome = launch_with(monkeypatch, scenario, FINISH, seen.append)
    assert outcome.exit_status == 0
    assert outcome.run_dir is not None
    names = {path.name for path in outcome.run_dir.iterdir()}
    assert {"events.jsonl", "report.html", "report.json", "report.yaml", "junit.xml"} <= names
    assert [event.kind for event in seen] == [
        "run-started",
        "step-started",
        "step-finished",
        "step-finished",
        "run-finished",
    ]


def test_a_killed_worker_has_a_report(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    outcome = launch_with(monkeypatch, scenario, "os.kill(os.getpid(), signal.SIGKILL)")
    assert outcome.exit_status == 3
    assert outcome.report is not None
    assert outcome.report.verdict is Verdict.COULD_NOT_RUN
    assert outcome.report.reason == "the run's process was killed by SIGKILL before the run was over"
    assert [step.verdict for step in outcome.report.steps] == ["not run", "not run"]
    assert outcome.report_path is not None
    assert outcome.report_path.exists()


def test_a_torn_line_does_not_spoil_the_log(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    then = 'log._file.write(\'{"seq": 99, "ti\'); log._file.flush(); os.kill(os.getpid(), signal.SIGKILL)'
    outcome = launch_with(monkeypatch, scenario, then)
    assert outcome.run_dir is not None
    events = read(outcome.run_dir / "events.jsonl")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].kind == "run-finished"


def test_a_crashed_worker_is_told_by_its_last_words(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    outcome = launch_with(monkeypatch, scenario, "raise SystemExit('no more memory')")
    assert outcome.report is not None
    (problem,) = outcome.report.problems
    assert problem.what == "the run's process ended with status 1 before the run was over"
    assert problem.why == "no more memory"


def test_an_interrupt_is_passed_on_once(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "step-started":
            os.kill(os.getpid(), signal.SIGINT)

    outcome = launch_with(monkeypatch, scenario, "threading.Event().wait()", interrupt)
    assert outcome.exit_status == 3
    assert outcome.report is not None
    assert outcome.report.verdict is Verdict.INTERRUPTED


def test_a_second_interrupt_kills(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "step-started":
            timers = [threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)) for delay in (0.05, 0.4)]
            for timer in timers:
                timer.start()

    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nthreading.Event().wait()"
    outcome = launch_with(monkeypatch, scenario, deaf, interrupt)
    assert outcome.report is not None
    assert outcome.report.verdict is Verdict.INTERRUPTED


def test_a_bad_file_is_wrong_use_and_makes_no_run(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT.replace("matrix", "matrx"))
    outcome = launch.launch(path, Options(runs_dir=tmp_path / "runs"))
    assert outcome.exit_status == 2
    assert "did you mean 'matrix'?" in str(outcome.problems[0])
    assert not (tmp_path / "runs").exists()
    assert json.dumps(launch.as_json(outcome))


def test_a_runs_directory_that_cannot_be_made_is_wrong_use(scenario: Path) -> None:
    outcome = launch.launch(scenario, Options(runs_dir=scenario / "runs"))
    assert outcome.exit_status == 2
    assert "no run can be kept here" in str(outcome.problems[0])


def test_the_log_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as log:
        log.append("run-started", {})
    launch._cut_torn_line(tmp_path / "events.jsonl", read(tmp_path / "events.jsonl"))
    assert len(read(tmp_path / "events.jsonl")) == 1
