"""The isolated process of a run: ``python -m scenarios.worker``, started by :mod:`scenarios.launch`.

It goes into namespaces of its own before it does anything else, so this module imports almost nothing at
its top. What happens is told in ``events.jsonl`` and, line by line, down the pipe to the front. SIGINT and
SIGTERM end the step under way; the lab is taken down and the last event says "interrupted".
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from multinet.errors import MultinetError
from reports.events import EventLog
from reports.store import EVENTS_FILE
from reports.verdicts import Verdict
from topology import isolation

if TYPE_CHECKING:
    from scenarios.loader import Scenario
    from topology.backend import Backend, Lab


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupted(BaseException):
    """A signal asked for the end while no event loop was running."""


def main(argv: list[str]) -> int:
    """Run one scenario; 0 when the run has a last event, whatever its verdict."""
    options = _options(argv)
    run_dir: Path = options.run_dir
    try:
        isolation.enter(parent_pid=options.parent)
    except MultinetError as error:
        with _log(options) as log:
            _tell_error(log, error)
            _finish(log, run_dir, Verdict.COULD_NOT_RUN, _brief(error))
        return 3
    os.set_inheritable(options.events_fd, False)
    with _log(options) as log:
        verdict, reason = _guarded(options, run_dir, log)
        # Requests to end have had their effect; the last word must not be cut short by one more.
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        _finish(log, run_dir, verdict, reason)
    return 0


def _finish(log: EventLog, run_dir: Path, verdict: Verdict, reason: str) -> None:
    from scenarios.conclusion import conclude

    log.append("run-finished", conclude(run_dir / EVENTS_FILE, verdict, reason))


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scenarios.worker")
    parser.add_argument("--scenario", required=True, type=Path)
    parser.add_argument("--shown", required=True)
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--events-fd", required=True, type=int)
    parser.add_argument("--parent", required=True, type=int)
    parser.add_argument("--written", required=True, type=int)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--dialect")
    return parser.parse_args(argv)


def _log(options: argparse.Namespace) -> EventLog:
    # The front wrote the first events (run-started), so that a run which never came here has a name.
    return EventLog(options.run_dir / EVENTS_FILE, mirror=options.events_fd, written=options.written)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Interrupted


def _guarded(options: argparse.Namespace, run_dir: Path, log: EventLog) -> tuple[Verdict, str]:
    """The run, with every way it can end turned into a verdict and a reason."""
    for number in _ENDING:
        signal.signal(number, _interrupt)
    try:
        return _run(options, run_dir, log)
    except _Interrupted:
        return Verdict.INTERRUPTED, "interrupted while the lab was starting or stopping"
    except MultinetError as error:
        _tell_error(log, error)
        return Verdict.COULD_NOT_RUN, _brief(error)
    except Exception as error:
        import traceback

        traceback.print_exc()
        what = f"the harness itself broke: {type(error).__name__}: {error}"
        next_step = "this is a bug in multinet; logs/worker.log in the run's directory has the traceback"
        log.append("error", {"what": what, "where": "", "why": "", "next_step": next_step})
        return Verdict.COULD_NOT_RUN, what


def _run(options: argparse.Namespace, run_dir: Path, log: EventLog) -> tuple[Verdict, str]:
    from topology.mininet_backend import MininetBackend

    backend = MininetBackend()
    backend.prepare(run_dir)
    # Beside the zygote's own imports: the scenario is read again here, in the place where it is used.
    from scenarios import loader
    from topology.backend import LabSpec

    scenario = loader.load(
        options.scenario, shown=options.shown, nodes=options.nodes, dialect=options.dialect
    )
    dialect = scenario.content.spec.lab.dialect
    spec = LabSpec(
        scenario.node_names,
        run_dir,
        dialect,
        hosts=scenario.host_names,
        pod_network=scenario.pod_network,
        wires=scenario.wires,
        ipv6=scenario.content.spec.lab.ipv6,
    )
    return run_in_lab(backend, spec, scenario, run_dir, log)


def run_in_lab(
    backend: Backend, spec: Any, scenario: Scenario, run_dir: Path, log: EventLog
) -> tuple[Verdict, str]:
    """Start a lab, run the steps, stop the lab; the verdict is of the run as such, not of its steps."""
    from scenarios import session

    def on_event(kind: str, data: dict[str, Any]) -> None:
        log.append(kind, data)

    lab: Lab = backend.start(spec, on_event)
    try:
        interrupted = session.run(lab, scenario, run_dir, on_event)
    finally:
        # A second request to end must not leave the lab half stopped; the front kills where it has to.
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        lab.stop()
    if interrupted:
        return Verdict.INTERRUPTED, "interrupted"
    return Verdict.PASS, ""


def _brief(error: MultinetError) -> str:
    """What happened in one line; the error's own event has the rest."""
    return f"{error.where}: {error.what}" if error.where else error.what


def _tell_error(log: EventLog, error: MultinetError) -> None:
    notes = "\n".join(getattr(error, "__notes__", ()))
    why = f"{error.why}\n{notes}" if notes else error.why
    data = {"what": error.what, "where": error.where, "why": why, "next_step": error.next_step}
    log.append("error", data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
