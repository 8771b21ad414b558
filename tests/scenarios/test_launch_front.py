"""The front: whatever becomes of the worker, there is a report and an honest exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from reports import store, writers
from reports.events import Event, EventLog, read
from reports.model import fold
from reports.verdicts import Verdict
from scenarios import launch
from scenarios.conclusion import conclude
from scenarios.launch import Options, Outcome
from topology import isolation

pytestmark = pytest.mark.programs
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


def last_event(outcome: Outcome) -> Event:
    assert outcome.run_dir is not None
    return read(outcome.run_dir / "events.jsonl")[-1]


@pytest.mark.parametrize("when", ["run-started", "after the worker"])
def test_interrupts_outside_of_the_worker_leave_reports(
    monkeypatch: pytest.MonkeyPatch, scenario: Path, when: str
) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == when:
            for _ in range(5):
                os.kill(os.getpid(), signal.SIGINT)

    if when == "run-started":
        outcome = launch_with(monkeypatch, scenario, FINISH, interrupt)
        assert outcome.exit_status == 3
        assert last_event(outcome).data == {"verdict": "interrupted", "reason": "interrupted"}
    else:
        complete = launch._complete

        def interrupted(run_dir: Path, status: int, relay: launch._Relay) -> None:
            interrupt(Event(0, 0.0, when, {}))
            complete(run_dir, status, relay)

        monkeypatch.setattr(launch, "_complete", interrupted)
        outcome = launch_with(monkeypatch, scenario, FINISH)
        assert outcome.exit_status == 0
    assert outcome.report_path is not None
    assert outcome.report_path.exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_burst_of_interrupts_leaves_reports(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "step-started":
            for _ in range(20):
                os.kill(os.getpid(), signal.SIGINT)

    outcome = launch_with(monkeypatch, scenario, "threading.Event().wait()", interrupt)
    assert outcome.report is not None
    assert outcome.report.verdict is Verdict.INTERRUPTED
    assert outcome.report_path is not None
    assert outcome.report_path.exists()


def test_a_full_disk_is_one_error_and_status_3(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(writers, "write_atomic", full)
    outcome = launch_with(monkeypatch, scenario, FINISH)
    assert outcome.exit_status == 3
    (problem,) = outcome.problems
    assert str(problem).endswith(
        "what happens in the run can't be written: No space left on device "
        "(make room there, or name another directory with --runs-dir)"
    )
    assert launch.as_json(outcome)["verdict"] == "could not run"


def test_a_disk_that_is_full_before_the_run(monkeypatch: pytest.MonkeyPatch, scenario: Path) -> None:
    def full(base: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(base))

    monkeypatch.setattr(store, "create", full)
    assert launch_with(monkeypatch, scenario, FINISH).exit_status == 3


def test_the_last_event_has_the_verdict_of_the_reports(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("run-started", {"steps": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})
        for index, verdict in enumerate(("pass", "fail", "fail")):
            log.append("step-finished", {"index": index, "verdict": verdict})
        told = conclude(path, Verdict.PASS, "")
        log.append("run-finished", told)
    assert told == {"verdict": "fail", "reason": "the step 'b' failed, and 1 more"}
    assert fold(read(path)).verdict is Verdict.FAIL


def test_a_role_that_died_is_in_the_last_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("run-started", {"steps": [{"name": "a"}]})
        log.append("role-exited", {"role": "vrouter", "node": "node1", "status": 1, "expected": False})
        log.append("step-finished", {"index": 0, "verdict": "pass"})
    told = conclude(path, Verdict.PASS, "")
    assert told["verdict"] == "fail"
    assert told["reason"] == "node1: vrouter ended without being asked to, with status 1"
    assert conclude(path, Verdict.INTERRUPTED, "interrupted")["verdict"] == "interrupted"
