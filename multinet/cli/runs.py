"""``multinet run``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from multinet.cli import say
from multinet.cli.progress import Progress
from reports.verdicts import Verdict, combine_statuses
from scenarios.launch import Options, Outcome, as_json, launch


def run(
    files: list[Path],
    *,
    runs_dir: Path,
    nodes: int | None,
    dialect: str | None,
    keep_going: bool,
    output: str,
) -> int:
    """Run each file in turn; return the exit status of all together."""
    # With JSON on standard output the progress goes where it can't get into it.
    console = say.console(stderr=output == "json")
    outcomes: list[Outcome] = []
    for position, file in enumerate(files):
        with Progress(console) as progress:
            options = Options(runs_dir=runs_dir, nodes=nodes, dialect=dialect, on_event=progress)
            outcome = launch(file, options)
        outcomes.append(outcome)
        for problem in outcome.problems:
            console.print(f"{problem}", style="red")
        if outcome.report is not None:
            _end(console, outcome)
        interrupted = outcome.report is not None and outcome.report.verdict is Verdict.INTERRUPTED
        rest = len(files) - position - 1
        if rest and (interrupted or (outcome.exit_status != 0 and not keep_going)):
            hint = "" if interrupted else "; --keep-going runs them all the same"
            console.print(f"{rest} more not run{hint}")
            break
    status = combine_statuses(outcome.exit_status for outcome in outcomes)
    if output == "json":
        say.as_json({"exit_status": status, "runs": [as_json(outcome) for outcome in outcomes]})
    else:
        console.print(say.last_line(status))
    return status


def _end(console: Console, outcome: Outcome) -> None:
    report = outcome.report
    assert report is not None
    line = say.verdict(report.verdict)
    line.append(
        f": {report.scenario} in {report.seconds:.2f} s" + (f": {report.reason}" if report.reason else "")
    )
    console.print(line)
    console.print(f"report: {shown(outcome.report_path)}")


def shown(path: Path | None) -> str:
    """A path as short as it can be from here."""
    if path is None:
        return ""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
