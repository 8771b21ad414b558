"""The long run: the corpus, then every subject in turn with new input until the time is used up.

hypothesis shrinks what it finds; a failure is the smallest input that shows it, in the form of a corpus file.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky

from conformance.fuzz.parsers import corpus
from conformance.fuzz.parsers.registry import SUBJECTS
from conformance.fuzz.parsers.subject import NotTotalError, Subject, feed

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """The smallest input found that a subject failed on, and how."""

    subject: str
    given: Any
    why: str

    def kept(self) -> str:
        """As a corpus file has it."""
        return json.dumps({"given": self.given, "why": self.why[:300]})


@dataclass(slots=True)
class Outcome:
    """What came of a run; ``became`` counts what inputs became by subject."""

    examples: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    became: Counter[tuple[str, str]] = field(default_factory=Counter)
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The figures, as the last line of a front end's JSON output. An example is a step of its own."""
        return {
            "steps": self.examples,
            "examples": self.examples,
            "seconds": round(self.seconds, 2),
            "steps_per_s": round(self.examples / self.seconds, 1) if self.seconds else 0.0,
            "failures": len(self.failures),
            "flaky": len(self.flaky),
        }


def run(
    budget_s: float,
    seed_number: int = 0,
    *,
    only: Sequence[str] = (),
    tell: Callable[[Outcome], None] = lambda _outcome: None,
) -> Outcome:
    """Fuzz for ``budget_s`` seconds; ``only`` names subjects. Ctrl-C ends it after the input under way.

    A subject that failed is left out from then on: the same failure would be found again and again.
    """
    outcome, begun = Outcome(), time.monotonic()
    chosen = [subject for subject in SUBJECTS.values() if not only or subject.name in only]
    with contextlib.suppress(KeyboardInterrupt):
        _corpus(chosen, outcome)
        number, failed = seed_number, {failure.subject for failure in outcome.failures}
        while time.monotonic() - begun < budget_s and len(failed) < len(chosen):
            for subject in chosen:
                if subject.name not in failed and time.monotonic() - begun < budget_s:
                    _batch(subject, number, outcome)
                    failed = {failure.subject for failure in outcome.failures}
            number += 1
            outcome.seconds = time.monotonic() - begun
            tell(outcome)
        outcome.seconds = time.monotonic() - begun
        return outcome
    outcome.interrupted, outcome.seconds = True, time.monotonic() - begun
    return outcome


def _corpus(chosen: Sequence[Subject], outcome: Outcome) -> None:
    known = {subject.name: subject for subject in chosen}
    for kept in corpus.read():
        if kept.subject in known:
            _try(known[kept.subject], kept.given, outcome)


def _try(subject: Subject, value: Any, outcome: Outcome) -> None:
    outcome.examples += 1
    try:
        outcome.became[subject.name, feed(subject, value)] += 1
    except NotTotalError as error:
        outcome.failures.append(Failure(subject.name, value, str(error)))


def _batch(subject: Subject, number: int, outcome: Outcome) -> None:
    smallest: list[Failure] = []

    @seed(number)
    @settings(
        max_examples=_BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(subject.inputs)
    def examine(value: Any) -> None:
        outcome.examples += 1
        try:
            outcome.became[subject.name, feed(subject, value)] += 1
        except NotTotalError as error:
            smallest[:] = [Failure(subject.name, value, str(error))]
            raise

    try:
        examine()
    except NotTotalError:
        outcome.failures += smallest
    except Flaky as error:
        outcome.flaky.append(f"{subject.name}, seed {number}: {error}: {[each.given for each in smallest]}")
