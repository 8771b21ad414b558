"""The command ``multinet``: its verbs and options. What they do is in the modules beside this one.

Design note: everything but typer is imported inside the verb that needs it, so ``--help`` and completion
answer at once. Exit statuses are those of `README.md`, and the last line says the status in words.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="multinet",
    help="Replay multi-network scenarios in a lab of namespaces, and say in evidence what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Output(StrEnum):
    """What is printed."""

    TEXT = "text"
    JSON = "json"


class DialectName(StrEnum):
    """Which behaviour the implementation shows where documents and the standard differ."""

    DEFAULT = "default"
    CONTRAIL_CLASSIC = "contrail-classic"


class Part(StrEnum):
    """A part of the tests."""

    LINT = "lint"
    UNIT = "unit"
    PROGRAMS = "programs"
    LAB = "lab"
    BROWSER = "browser"


Scenarios = Annotated[list[Path], typer.Argument(metavar="SCENARIO...", help="Scenario files.")]
Nodes = Annotated[
    int | None, typer.Option(min=1, max=32, help="Number of nodes, instead of what the file says.")
]
DialectOption = Annotated[DialectName | None, typer.Option(help="Instead of what the file says.")]
Format = Annotated[Output, typer.Option("-o", "--output", help="What is printed.")]
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.")]
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def run(
    scenarios: Scenarios,
    nodes: Nodes = None,
    dialect: DialectOption = None,
    keep_going: Annotated[bool, typer.Option(help="Go on with the next file after a failure.")] = False,
    output: Format = Output.TEXT,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Replay scenarios, each in a lab of its own, and write their reports."""
    from multinet.cli import runs

    chosen = dialect.value if dialect is not None else None
    status = runs.run(
        scenarios, runs_dir=runs_dir, nodes=nodes, dialect=chosen, keep_going=keep_going, output=output.value
    )
    raise typer.Exit(status)


@app.command()
def validate(scenarios: Scenarios, output: Format = Output.TEXT) -> None:
    """Check scenario files without running them."""
    from multinet.cli import files

    raise typer.Exit(files.validate(scenarios, output.value))


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(metavar="RUNDIR", help="Such as runs/latest.")]) -> None:
    """Write the reports of a run again from its events."""
    from multinet.cli import files

    raise typer.Exit(files.report(run_dir))


@app.command()
def manifests(scenario: Annotated[Path, typer.Argument(metavar="SCENARIO")]) -> None:
    """Print the scenario's Kubernetes objects, for `kubectl apply -f -`."""
    from multinet.cli import files

    raise typer.Exit(files.manifests(scenario))


@app.command()
def doctor(output: Format = Output.TEXT) -> None:
    """Show what this machine can do, and the remedy for what it can't."""
    from multinet.cli import machine

    raise typer.Exit(machine.doctor(output.value))


@app.command(context_settings=_PASS_ON)
def shell(
    context: typer.Context,
    nodes: Annotated[int, typer.Option(min=1, max=32, help="Number of nodes.")] = 2,
    dialect: Annotated[
        DialectName, typer.Option(help="Behaviour of the implementation.")
    ] = DialectName.DEFAULT,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Start a lab and a shell in it, or the command after `--`; kubectl is set up."""
    from multinet.cli import machine

    status = machine.shell(context.args, nodes=nodes, dialect=dialect.value, runs_dir=runs_dir)
    raise typer.Exit(status)


@app.command("conformance", context_settings=_PASS_ON)
def check_conformance(
    context: typer.Context,
    target: Annotated[str, typer.Option(metavar="NAME[:ARGUMENT]", help="Whom to test: docs/targets.md.")],
    profile: Annotated[list[str] | None, typer.Option(help="A profile, again for more.")] = None,
    spec_version: Annotated[str | None, typer.Option(help="Version of the standard: 1.0 to 1.3.")] = None,
    strict: Annotated[bool, typer.Option(help="A refusal where the text says ignored is a failure.")] = False,
    report_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="ConformanceReport; page, badge beside."),
    ] = None,
    known_issues: Annotated[Path | None, typer.Option(help="Failures that are known.")] = None,
) -> None:
    """Test an implementation against the multi-network standard; other arguments go to pytest."""
    from multinet.cli import conformance

    status = conformance.run(
        target,
        profiles=profile or [],
        spec_version=spec_version,
        strict=strict,
        report=report_file,
        known_issues=known_issues,
        extra=context.args,
    )
    raise typer.Exit(status)


EngineOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="model (virtual time), lab, target:NAME[:ARGUMENT], or fuzz: parsers."),
]
Bugs = Annotated[
    list[str] | None, typer.Option("--bug", metavar="NAME", help="Have a planted bug, again for more.")
]


def _some_time(minutes: float | None) -> float | None:
    """Without any time nothing would be examined, and nothing found."""
    if minutes is not None and minutes <= 0:
        raise typer.BadParameter(f"{minutes:g} is no time: give it more than 0 minutes")
    return minutes


@app.command()
def fuzz(
    engine: EngineOption = "model",
    against: Annotated[
        str, typer.Option(metavar="NAME", help="Do the same there: contrail-classic, target:NAME[:ARGUMENT].")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Where the choice of steps begins.")] = 0,
    examples: Annotated[int, typer.Option(min=1, help="How many sequences, without a budget.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Length of a sequence at most.")] = 30,
    budget: Annotated[
        float | None,
        typer.Option(callback=_some_time, metavar="MIN", help="Go on for so many minutes instead."),
    ] = None,
    swarm: Annotated[bool, typer.Option(help="Let each sequence do with some of the rules.")] = True,
    output: Format = Output.TEXT,
    database: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Examples that failed; several may share it.")
    ] = None,
    export: Annotated[Path, typer.Option(metavar="DIR", help="For failures and the report.")] = Path(
        "runs/fuzz"
    ),
    bug: Bugs = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A reader for engine parsers, again for more.")
    ] = None,
) -> None:
    """Do random things to networks and pods, and hold what follows against the documented rules."""
    from conformance.fuzz.campaign import Plan
    from multinet.cli import fuzzing

    budget_s = None if budget is None else budget * 60
    if engine == "parsers":
        from multinet.cli import parsing

        raise typer.Exit(
            parsing.fuzz(60.0 if budget_s is None else budget_s, seed, only or (), export, output.value)
        )
    plan = Plan(seed, examples, steps, budget_s=budget_s, database=database, swarm=swarm)
    wish = fuzzing.Wish(engine, against, export, tuple(bug or ()), output.value)
    raise typer.Exit(fuzzing.fuzz(plan, wish))


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(metavar="DIR_OR_FILE...", help="What `fuzz` exported.")],
    engine: EngineOption = "model",
    output: Format = Output.TEXT,
    bug: Bugs = None,
) -> None:
    """Say of each file that the fuzzer wrote: FIXED, STILL FAILS or ERROR."""
    from multinet.cli import fuzzing

    raise typer.Exit(fuzzing.replay(files, engine, tuple(bug or ()), output.value))


@app.command("test", context_settings=_PASS_ON)
def run_tests(
    context: typer.Context,
    only: Annotated[Part | None, typer.Option(help="One part instead of all.")] = None,
) -> None:
    """Run lint, unit tests and lab tests; other arguments go to pytest."""
    from multinet.cli import tests

    raise typer.Exit(tests.run(only.value if only is not None else None, context.args))
