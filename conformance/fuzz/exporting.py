"""Writes a failure as a scenario file: what the fuzzer did, in steps that ``multinet run`` replays in a lab.

After each step come the checks that show the rules: who must be attached to what and who must not
(:mod:`conformance.fuzz.forecast`), that what ran has not changed, that nothing is left. The fuzzer's own
steps are in the file too (``spec.fuzz``), for ``multinet replay``; where a scenario has no step for one of
them, the file says that it is for replays only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conformance.fuzz import steps
from conformance.fuzz.campaign import Failure
from conformance.fuzz.judge import RULES
from conformance.fuzz.plotting import UNSEEN, Plot
from conformance.fuzz.steps import Step
from multinet.errors import InputError
from multinet.model.dialect import DEFAULT
from scenarios import loader
from scenarios.schema import API_VERSION, KIND

_WIDTH = 108
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """Where failures were found. ``bugs``: those that were planted; ``against``: the other of two."""

    engine: str
    against: str = ""
    dialect: str = DEFAULT.name
    versions: dict[str, str] = field(default_factory=dict)
    bugs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file says about the fuzzer's part."""

    sequence: tuple[Step, ...]
    rules: tuple[str, ...]
    dialect: str
    against: str = ""


def name_of(failure: Failure) -> str:
    """A name that the same failure always gets: the rule, and a digest of the steps."""
    told = json.dumps([steps.to_data(step) for step in failure.steps], sort_keys=True)
    return f"{failure.rules[0]}-{hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}"


def write(folder: Path, failure: Failure, origin: Origin) -> Path:
    """Write a failure into a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name_of(failure)}.yaml"
    path.write_text(text(failure, origin), encoding="utf-8")
    return path


def text(failure: Failure, origin: Origin) -> str:
    """The file."""
    plot = Plot(failure.steps, failure.rules)
    rules = ", ".join(failure.rules)
    fuzz: dict[str, Any] = {"seed": failure.seed, "rules": list(failure.rules), "versions": origin.versions}
    if origin.against:
        fuzz["against"] = origin.against
    fuzz["sequence"] = [steps.to_data(step) for step in failure.steps]
    if plot.left_out:
        fuzz["leftOut"] = list(plot.left_out)
    description = f"The fuzzer found that these steps break {rules}; they must not."
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name_of(failure)},
        "spec": {
            "description": description,
            "lab": {"nodes": len(steps.NODES), "dialect": origin.dialect},
            "steps": plot.steps,
            "fuzz": fuzz,
        },
    }
    return _header(failure, origin, plot.left_out) + yaml.dump(
        body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH
    )


def read(path: Path) -> Plan:
    """The fuzzer's part of a file; ``InputError`` when it has none, or none that can be read."""
    content = loader.read(path)
    fuzz = content.spec.fuzz
    if fuzz is None:
        raise InputError(
            "the scenario has no spec.fuzz, so there is nothing to replay",
            where=str(path),
            next_step="multinet run replays any scenario",
        )
    try:
        sequence = tuple(steps.from_data(data) for data in fuzz.sequence)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "spec.fuzz.sequence has a step that can't be read",
            where=str(path),
            why=f"{type(error).__name__}: {error}",
            next_step=f"kinds of step are {', '.join(steps.BY_NAME)}",
        ) from error
    return Plan(sequence, tuple(fuzz.rules), content.spec.lab.dialect, fuzz.against)


def _header(failure: Failure, origin: Origin, left_out: Sequence[str]) -> str:
    bugs = f", with the planted bugs {', '.join(origin.bugs)}" if origin.bugs else ""
    versions = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    engine = f"{origin.engine} against {origin.against}" if origin.against else origin.engine
    lines = [
        f"Found by `multinet fuzz` with seed {failure.seed} on engine {engine}{bugs}.",
        f"Versions: {versions or 'not recorded'}",
        "Verdict: fail",
        *(f"Rule {rule}: {RULES[rule]}" for rule in failure.rules),
        *(f"Evidence: {' '.join(found.split())}" for found in failure.evidence),
        "Steps:",
        *(f"  {number}. {step}" for number, step in enumerate(failure.steps, start=1)),
    ]
    unseen = [rule for rule in failure.rules if rule in UNSEEN]
    if left_out:
        lines.append(f"For `multinet replay` only: a scenario has no step for {', '.join(left_out)}.")
    elif unseen:
        lines.append(f"`multinet replay` shows it; a scenario has no check for {', '.join(unseen)}.")
    else:
        lines.append("`multinet run` replays it in a lab; `multinet replay` with the fuzzer's judge.")
    return "".join(f"# {line}\n" for line in lines)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable, and nothing is an alias of anything."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _text)
