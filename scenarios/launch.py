"""The front side of a run: start the worker, pass its events on, write the reports whatever became of it.

The worker runs in a session of its own, so a terminal's Ctrl-C comes here first: once is passed on (the
worker ends the step under way, takes the lab down and says "interrupted"), twice kills. The worker's death
takes its namespaces with it; when this process dies, the kernel kills the worker.

Reports are made from ``events.jsonl`` alone. If the worker died without a last event, that is added here.
From the moment a run has a directory until its reports are in it, a request to end raises nothing here:
however many come, the run ends with its reports.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from multinet.errors import EnvironmentLackError, InputError, MultinetError
from reports import store
from reports.events import SCHEMA, Event, EventLog, read
from reports.verdicts import MEANING, Verdict

if TYPE_CHECKING:
    from reports.model import RunReport
    from scenarios.loader import Scenario
    from topology.capabilities import Capability

OnEvent = Callable[[Event], None]
_CHUNK = 1 << 16
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORKER_LOG = "logs/worker.log"


def _ignore(_event: Event) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``report_path`` is the HTML report; without a run (usage errors) both are None."""

    file: str
    exit_status: int
    report: RunReport | None = None
    run_dir: Path | None = None
    problems: tuple[MultinetError, ...] = ()

    @property
    def report_path(self) -> Path | None:
        """The page for people."""
        return self.run_dir / "report.html" if self.run_dir is not None else None


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: where runs are kept, and what replaces the file's own lab."""

    runs_dir: Path = Path("runs")
    nodes: int | None = None
    dialect: str | None = None
    on_event: OnEvent = _ignore


def launch(file: Path, options: Options, *, shown: str | None = None) -> Outcome:
    """Run one scenario file in a lab of its own; never raises for what the file or the lab does wrong."""
    capabilities = _Probe()
    from scenarios import loader
    from scenarios.errors import InvalidScenarioError

    name = shown or str(file)
    try:
        scenario = loader.load(file, shown=name, nodes=options.nodes, dialect=options.dialect)
    except InvalidScenarioError as error:
        return Outcome(name, 2, problems=error.findings)
    with _Requests() as requests:
        try:
            run_dir = _make_run_dir(options.runs_dir)
        except InputError as error:
            return Outcome(name, 2, problems=(error,))
        except EnvironmentLackError as error:
            return Outcome(name, 3, problems=(error,))
        try:
            written = _begin(scenario, run_dir, options, capabilities.result())
            argv = _command(file, name, run_dir, options, written)
            return _recorded(name, argv, run_dir, options, requests)
        except OSError as error:
            return Outcome(name, 3, problems=(_unwritable(run_dir, error),))


def _recorded(name: str, argv: list[str], run_dir: Path, options: Options, requests: _Requests) -> Outcome:
    """Run the worker and write the reports; ``OSError`` when there is no room for them."""
    relay = _Relay(run_dir, options.on_event, requests)
    status = 0 if requests.made else relay.run(argv)
    _complete(run_dir, status, relay)
    from reports.writers import derive

    report = derive(run_dir)
    return Outcome(name, report.exit_status, report, run_dir)


def _unwritable(run_dir: Path, error: OSError) -> EnvironmentLackError:
    return EnvironmentLackError(
        "what happens in the run can't be written",
        where=str(error.filename or run_dir),
        why=str(error.strerror or error),
        next_step="make room there, or name another directory with --runs-dir",
    )


class _Requests:
    """Requests to end (SIGINT, SIGTERM, SIGHUP), noted instead of raised while this context lasts.

    They go to the worker while there is one: the first as SIGINT, later ones as SIGKILL.
    """

    def __init__(self) -> None:
        self.made = False
        self.worker: subprocess.Popen[bytes] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; in another, whoever has the main thread decides.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: object) -> None:
        if self.worker is not None:
            self.worker.send_signal(signal.SIGKILL if self.made else signal.SIGINT)
        self.made = True


class _Probe:
    """Finds out what the machine can do beside the imports and the reading of the scenario."""

    def __init__(self) -> None:
        self._found: tuple[Capability, ...] = ()
        self._thread = threading.Thread(target=self._run, name="capabilities")
        self._thread.start()

    def _run(self) -> None:
        from topology.isolation import probe

        # A machine that can't even be probed is told by the lab's own start, with the remedy.
        with contextlib.suppress(MultinetError, OSError):
            self._found = probe()

    def result(self) -> tuple[Capability, ...]:
        """The capabilities, after at most the probe's own limit."""
        self._thread.join()
        return self._found


def _make_run_dir(base: Path) -> Path:
    try:
        run_dir = store.create(base.resolve())
        (run_dir / "logs").mkdir()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritable(base, error) from error
        why = str(error.strerror or error)
        next_step = "name another directory with --runs-dir"
        raise InputError("no run can be kept here", where=str(base), why=why, next_step=next_step) from error
    return run_dir


def _begin(scenario: Scenario, run_dir: Path, options: Options, capabilities: tuple[Capability, ...]) -> int:
    """Write the first events; return how many."""
    lab = scenario.content.spec.lab
    with EventLog(run_dir / store.EVENTS_FILE) as log:
        first = log.append(
            "run-started",
            {
                "schema": SCHEMA,
                "run": run_dir.name,
                "scenario": scenario.name,
                "file": scenario.file,
                "description": scenario.content.spec.description,
                "lab": {"nodes": list(scenario.node_names), "dialect": lab.dialect},
                "steps": [{"name": s.name, "action": s.action, "line": s.line} for s in scenario.steps],
                "environment": _environment(),
            },
        )
        options.on_event(first)
        for capability in capabilities:
            data = {name: getattr(capability, name) for name in ("name", "available", "detail", "remedy")}
            log.append("capability", data)
    return 1 + len(capabilities)


def _environment() -> dict[str, str]:
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "multinet": metadata.version("multinet"),
        "user": "root" if os.geteuid() == 0 else "ordinary user",
    }


def _command(file: Path, shown: str, run_dir: Path, options: Options, written: int) -> list[str]:
    argv = [sys.executable, "-m", "scenarios.worker"]
    argv += ["--scenario", str(file.resolve()), "--shown", shown, "--run-dir", str(run_dir)]
    argv += ["--parent", str(os.getpid()), "--written", str(written)]
    if options.nodes is not None:
        argv += ["--nodes", str(options.nodes)]
    if options.dialect is not None:
        argv += ["--dialect", options.dialect]
    return argv


class _Relay:
    """Runs the worker and hands on what it says, until it is gone."""

    def __init__(self, run_dir: Path, on_event: OnEvent, requests: _Requests) -> None:
        self.requests = requests
        self._run_dir = run_dir
        self.on_event = on_event
        self._buffer = b""

    def run(self, argv: list[str]) -> int:
        """Status of the worker; minus the signal's number when it was killed."""
        from topology.capabilities import environment

        reader, writer = os.pipe()
        with (self._run_dir / WORKER_LOG).open("wb") as log:
            worker = subprocess.Popen(
                [*argv, "--events-fd", str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
                env=environment(),
            )
        os.close(writer)
        self._attach(worker)
        try:
            self._relay_until_gone(worker, reader)
        finally:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            self.requests.worker = None
            os.close(reader)
        return worker.returncode

    def _attach(self, worker: subprocess.Popen[bytes]) -> None:
        """From here on requests to end go to the worker; one that came while it was started goes now."""
        self.requests.worker = worker
        if self.requests.made:
            worker.send_signal(signal.SIGINT)

    def _relay_until_gone(self, worker: subprocess.Popen[bytes], reader: int) -> None:
        gone = os.pidfd_open(worker.pid)
        os.set_blocking(reader, False)
        try:
            while True:
                ready, _, _ = select.select([reader, gone], [], [])
                # What is in the pipe comes before the news that its writer is gone.
                open_still = self._drain(reader)
                if gone in ready:
                    return
                if not open_still:
                    worker.wait()
                    return
        finally:
            os.close(gone)

    def _drain(self, reader: int) -> bool:
        """Hand on all complete lines; False at the end of the pipe."""
        while True:
            try:
                chunk = os.read(reader, _CHUNK)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            *lines, self._buffer = (self._buffer + chunk).split(b"\n")
            for line in lines:
                self.on_event(Event.from_line(line.decode()))


def _complete(run_dir: Path, status: int, relay: _Relay) -> None:
    """Give a log that stops in the middle its last event."""
    path = run_dir / store.EVENTS_FILE
    events = read(path)
    if events and events[-1].kind == "run-finished":
        return
    _cut_torn_line(path, events)
    with EventLog(path, written=len(events)) as log:
        for event in _last_words(run_dir, status, relay.requests.made, log):
            relay.on_event(event)


def _last_words(run_dir: Path, status: int, asked: bool, log: EventLog) -> Iterator[Event]:
    from scenarios.conclusion import conclude

    path = run_dir / store.EVENTS_FILE
    if asked:
        yield log.append("run-finished", conclude(path, Verdict.INTERRUPTED, "interrupted"))
        return
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    if status > 128:
        with contextlib.suppress(ValueError):
            how = f"was killed by {signal.Signals(status - 128).name}"
    reason = f"the run's process {how} before the run was over"
    # Without room on the disk there may be no log at all.
    worker_log = run_dir / WORKER_LOG
    said = worker_log.read_text(errors="replace").strip().splitlines() if worker_log.exists() else []
    why = said[-1] if said else ""
    next_step = f"{WORKER_LOG} in the run's directory has what it said" if said else ""
    data = {"what": reason, "where": "", "why": why, "next_step": next_step}
    yield log.append("error", data)
    yield log.append("run-finished", conclude(path, Verdict.COULD_NOT_RUN, reason))


def _cut_torn_line(path: Path, events: list[Event]) -> None:
    """Leave only the whole events, so that what is appended starts on a line of its own."""
    store.write_atomic(path, "".join(event.to_line() for event in events).encode())


def as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome for programs."""
    report = outcome.report
    return {
        "file": outcome.file,
        "exit_status": outcome.exit_status,
        "verdict": str(report.verdict) if report is not None else MEANING[outcome.exit_status],
        "reason": report.reason if report is not None else "",
        "run_dir": str(outcome.run_dir) if outcome.run_dir is not None else None,
        "errors": [
            {part: getattr(problem, part) for part in ("what", "where", "why", "next_step")}
            for problem in outcome.problems
        ],
        "steps": [
            {"name": step.name, "verdict": str(step.verdict), "reason": step.reason, "line": step.line}
            for step in (report.steps if report is not None else ())
        ],
    }
