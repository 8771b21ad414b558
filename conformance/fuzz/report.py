"""What a campaign leaves behind: figures, coverage and failures, as JSON and as text for people.

Coverage is of three kinds: which kinds of step were taken, which followed which, and in which states the
model was, counted by how much there is of what. Beside it is where the time went: what a kind of step takes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from conformance.fuzz import steps
from conformance.fuzz.campaign import Failure, Outcome, Plan
from conformance.fuzz.machine import SHAPE

JSON_FILE, TEXT_FILE = "report.json", "report.txt"
_KINDS = tuple(steps.BY_NAME)


def versions() -> dict[str, str]:
    """What a failure may depend on beside its steps."""
    return {
        "multinet": metadata.version("multinet"),
        "hypothesis": metadata.version("hypothesis"),
        "python": platform.python_version(),
    }


def tree(
    engine: str,
    plan: Plan,
    outcome: Outcome,
    files: Mapping[int, Path],
    differential: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole report; ``files`` has the exported file of a failure by its number.

    ``differential``: what a :class:`~conformance.fuzz.differential.Pair` found explained.
    """
    return {
        "engine": engine,
        "seed": plan.seed,
        "steps_per_example": plan.steps,
        "budget_s": plan.budget_s,
        "swarm": plan.swarm,
        "versions": versions(),
        "interrupted": outcome.interrupted,
        "figures": outcome.figures(),
        "coverage": _coverage(outcome),
        "spent": {
            name: {"median_s": round(median(spent), 6), "total_s": round(sum(spent), 3)}
            for name, spent in sorted(outcome.spent.items())
        },
        "differential": dict(differential) if differential is not None else None,
        "failures": [_failure(failure, files.get(number)) for number, failure in enumerate(outcome.failures)],
        "flaky": outcome.flaky,
    }


def write(folder: Path, value: Mapping[str, Any]) -> None:
    """Write both files; what was there of an earlier campaign is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    (folder / TEXT_FILE).write_text(text(value), encoding="utf-8")


def text(value: Mapping[str, Any]) -> str:
    """The report for people."""
    figures, coverage = value["figures"], value["coverage"]
    lines = [
        f"{figures['steps']} steps in {figures['examples']} examples, {figures['seconds']:g} s, "
        f"{figures['steps_per_s']:g} steps/s; engine {value['engine']}, seed {value['seed']}"
        + (", interrupted" if value["interrupted"] else ""),
        "kinds of step:",
        *(
            f"  {count:>8}  {name}{_spent(value['spent'].get(name))}"
            for name, count in sorted(coverage["kinds"].items(), key=_most_first)
        ),
        f"transitions: {len(coverage['transitions'])} of {coverage['possible_transitions']} pairs of kinds",
        f"model states: {len(coverage['states'])}",
    ]
    missed = [name for name, count in coverage["kinds"].items() if not count]
    lines += [f"never taken: {', '.join(missed)}"] if missed else []
    lines += _differential(value["differential"])
    for failure in value["failures"]:
        lines.append(f"FAILURE {', '.join(failure['rules'])} (seed {failure['seed']})")
        lines += [f"  {told}" for told in failure["told"]]
        lines += [f"  evidence: {found}" for found in failure["evidence"]]
        lines += [f"  file: {failure['file']}"] if failure["file"] else []
    lines += [f"FLAKY {told}" for told in value["flaky"]]
    lines.append(f"{figures['failures']} failures, {len(value['flaky'])} flaky")
    return "\n".join(lines) + "\n"


def _differential(value: Mapping[str, Any] | None) -> list[str]:
    """What was explained, with the shortest example of each."""
    if value is None:
        return []
    lines = [f"differences from {value['against']} that are explained:"]
    for why, found in value["explained"].items():
        example = found["example"]
        lines.append(f"  {found['count']:>8}  {why}")
        lines.append(f"            such as {example['difference']}")
        lines += [f"              {step}" for step in example["told"]]
    return lines


def _spent(spent: Mapping[str, float] | None) -> str:
    if not spent:
        return ""
    return f", {1000 * spent['median_s']:.3g} ms each (median), {spent['total_s']:.3g} s in all"


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _coverage(outcome: Outcome) -> dict[str, Any]:
    transitions = sorted(outcome.transitions.items())
    return {
        "kinds": {name: outcome.kinds[name] for name in _KINDS},
        "transitions": {f"{before} > {after}": count for (before, after), count in transitions},
        "possible_transitions": len(_KINDS) * (len(_KINDS) + 1),
        "state_parts": list(SHAPE),
        "states": sorted(outcome.states, key=repr),
    }


def _failure(failure: Failure, file: Path | None) -> dict[str, Any]:
    return {
        "seed": failure.seed,
        "rules": list(failure.rules),
        "evidence": list(failure.evidence),
        "steps": [steps.to_data(step) for step in failure.steps],
        "told": [str(step) for step in failure.steps],
        "file": str(file) if file is not None else "",
    }
