"""Verbs that read and write files only: validate, report, manifests."""

from __future__ import annotations

from pathlib import Path

from multinet.cli import say
from multinet.errors import InputError


def validate(files: list[Path], output: str) -> int:
    """Check scenario files; 2 when one of them can't be used."""
    from scenarios.errors import InvalidScenarioError
    from scenarios.loader import load

    console = say.console()
    result = []
    for file in files:
        findings: tuple[InputError, ...] = ()
        try:
            scenario = load(file)
            if output == "text":
                console.print(f"{file}: {scenario.name}, {len(scenario.steps)} steps: good")
        except InvalidScenarioError as error:
            findings = error.findings
            if output == "text":
                console.print("\n".join(str(finding) for finding in findings))
        parts = ("what", "where", "why", "next_step")
        errors = [{part: getattr(finding, part) for part in parts} for finding in findings]
        result.append({"file": str(file), "errors": errors})
    status = 2 if any(item["errors"] for item in result) else 0
    if output == "json":
        say.as_json({"exit_status": status, "files": result})
    else:
        console.print(say.last_line(status))
    return status


def report(run_dir: Path) -> int:
    """Derive the reports of a run again; its exit status is the run's."""
    from reports.store import EVENTS_FILE
    from reports.writers import WRITERS, derive

    try:
        value = derive(run_dir)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"there is no {EVENTS_FILE} in it", where=str(run_dir), next_step="name a directory below runs/"
        ) from error
    except OSError as error:
        why = str(error.strerror or error)
        raise InputError("the reports can't be written", where=str(run_dir), why=why) from error
    console = say.console()
    line = say.verdict(value.verdict)
    line.append(f": {value.scenario}: wrote {', '.join(WRITERS)} in {run_dir}")
    console.print(line)
    console.print(say.last_line(value.exit_status))
    return value.exit_status


def manifests(file: Path) -> int:
    """Print every object the scenario applies, as one stream of YAML documents."""
    import yaml

    from scenarios.loader import load

    scenario = load(file)
    objects = [manifest.body for step in scenario.steps for manifest in step.manifests]
    with say.standard_output() as out:
        out.write(f"# The objects of scenario {scenario.name}, in the order of its steps.\n")
        yaml.safe_dump_all(objects, out, sort_keys=False, explicit_start=True, allow_unicode=True, width=110)
    return 0
