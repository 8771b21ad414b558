"""``multinet fuzz --engine parsers``: every reader of what others wrote, fed with broken input."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.fuzz import report
from conformance.fuzz.parsers import SUBJECTS, Outcome, run
from multinet.cli import say
from multinet.errors import InputError


def fuzz(budget_s: float, seed: int, only: Sequence[str], folder: Path, output: str) -> int:
    """Feed all subjects, or ``only`` those, and write a report; 1 for anything found, 3 when interrupted."""
    unknown = sorted(set(only) - set(SUBJECTS))
    if unknown:
        hint = f"choose from {', '.join(sorted(SUBJECTS))}"
        raise InputError(f"no reader is called {', '.join(unknown)}", next_step=hint)
    console = say.console(stderr=output == "json")

    def tell(outcome: Outcome) -> None:
        told = _figures(outcome)
        console.print(f"{told['examples']} inputs, {told['seconds']:.0f} s, {told['failures']} failures")

    # The servers log each refusal; what counts is in the outcome.
    logging.disable(logging.CRITICAL)
    try:
        outcome = run(budget_s, seed, only=only, tell=tell)
    finally:
        logging.disable(logging.NOTSET)
    text = _text(outcome)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / report.JSON_FILE).write_text(json.dumps(_tree(outcome, seed), indent=2) + "\n")
        (folder / report.TEXT_FILE).write_text(text)
    except OSError as error:
        why = str(error.strerror or error)
        raise InputError("no report can be kept here", where=str(folder), why=why) from error
    console.print(text.rstrip())
    console.print(f"report: {folder / report.TEXT_FILE}")
    status = 1 if outcome.failures or outcome.flaky else 3 if outcome.interrupted else 0
    if output == "json":
        print(json.dumps(_figures(outcome)))
    else:
        console.print(say.last_line(status))
    return status


def _figures(outcome: Outcome) -> dict[str, Any]:
    """The figures that every engine prints; an input is an example of one step."""
    told = outcome.to_dict()
    del told["flaky"]
    return told


def _tree(outcome: Outcome, seed: int) -> dict[str, Any]:
    became: dict[str, dict[str, int]] = {}
    for (subject, word), count in sorted(outcome.became.items()):
        became.setdefault(subject, {})[word] = count
    return {
        "engine": "parsers",
        "seed": seed,
        "versions": report.versions(),
        "interrupted": outcome.interrupted,
        "figures": _figures(outcome),
        "coverage": {"subjects": became},
        "failures": [
            {"subject": one.subject, "given": one.given, "why": one.why} for one in outcome.failures
        ],
        "flaky": outcome.flaky,
    }


def _text(outcome: Outcome) -> str:
    """What inputs became, by subject; each failure with the line that keeps it in the corpus."""
    lines = [f"{count:>8}  {subject}: {word}" for (subject, word), count in sorted(outcome.became.items())]
    for failure in outcome.failures:
        lines.append(f"FAILURE {failure.why}")
        lines.append(f"  conformance/fuzz/corpus/{failure.subject}.json: {failure.kept()}")
    lines += [f"FLAKY {told}" for told in outcome.flaky]
    lines.append(f"{len(outcome.failures)} failures, {len(outcome.flaky)} flaky")
    return "\n".join(lines) + "\n"
