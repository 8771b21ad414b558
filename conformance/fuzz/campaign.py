"""A campaign: examples until the time, or their number, is used up; what was found, and what was covered.

hypothesis is asked for one batch of examples after the other, each with a seed of its own, so that a budget
in minutes can be kept and a failure found early does not end the search. Each example takes a random subset
of the rules (hypothesis' own swarm testing), so rare combinations come up.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from conformance.fuzz.engine import Engine
from conformance.fuzz.machine import AttachmentMachine, RuleBrokenError
from conformance.fuzz.shrink import shrink
from conformance.fuzz.steps import Step

_BATCH = 25
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: ``examples`` of at most ``steps`` steps, or as many as ``budget_s`` seconds allow.

    ``stop_at_first`` ends at the first failure; ``database`` is where examples that failed are kept, to be
    tried again first by whoever comes next.
    """

    seed: int = 0
    examples: int = 200
    steps: int = 30
    budget_s: float | None = None
    stop_at_first: bool = False
    shrink_s: float = 30.0
    database: Path | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The shortest sequence found that breaks rules; ``evidence`` is what was seen after its last step."""

    seed: int
    rules: tuple[str, ...]
    evidence: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Outcome:
    """What came of a campaign. ``flaky``: failures that did not come again when the steps were repeated."""

    steps: int = 0
    examples: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    states: set[tuple[object, ...]] = field(default_factory=set)
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The figures, as the last line of ``./lab fuzz -o json`` has them."""
        return {
            "steps": self.steps,
            "examples": self.examples,
            "seconds": round(self.seconds, 2),
            "steps_per_s": round(self.steps / self.seconds, 1) if self.seconds else 0.0,
            "failures": len(self.failures),
            "flaky": len(self.flaky),
            "states": len(self.states),
            "transitions": len(self.transitions),
        }


class _Counting(AttachmentMachine):
    """The machine with a campaign's books. ``outcome`` and ``engine`` are set on a subclass of it."""

    outcome: Outcome

    def __init__(self) -> None:
        super().__init__()
        self.outcome.examples += 1
        self._before = "start"

    def taken(self, step: Step) -> None:
        """Enter a step into the books."""
        self.outcome.steps += 1
        self.outcome.kinds[step.name] += 1
        self.outcome.transitions[self._before, step.name] += 1
        self._before = step.name
        self.outcome.states.add(self.shape())


def run(engine: Engine, plan: Plan, tell: Callable[[Outcome], None] = lambda _outcome: None) -> Outcome:
    """Run a campaign; ``tell`` is called after each batch. Ctrl-C ends it after the step under way."""
    outcome = Outcome()
    begun = time.monotonic()
    machine = type("AttachmentMachine", (_Counting,), {"engine": engine, "outcome": outcome})
    number, left = plan.seed, plan.examples
    try:
        while not _is_over(plan, outcome, left, begun):
            asked = _BATCH if plan.budget_s is not None else min(_BATCH, left)
            _batch(machine, plan, outcome, number, asked)
            number, left = number + 1, left - asked
            outcome.seconds = time.monotonic() - begun
            tell(outcome)
    except KeyboardInterrupt:
        outcome.interrupted = True
    outcome.seconds = time.monotonic() - begun
    return outcome


def _is_over(plan: Plan, outcome: Outcome, left: int, begun: float) -> bool:
    if plan.stop_at_first and outcome.failures:
        return True
    if plan.budget_s is not None:
        return time.monotonic() - begun >= plan.budget_s
    return left <= 0


def _batch(machine: Any, plan: Plan, outcome: Outcome, number: int, examples: int) -> None:
    machine.broken = None
    chosen = settings(
        max_examples=examples,
        stateful_step_count=plan.steps,
        deadline=None,
        phases=[Phase.reuse, Phase.generate],
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        database=DirectoryBasedExampleDatabase(plan.database) if plan.database else None,
    )
    seed(number)(machine)
    try:
        with contextlib.suppress(RuleBrokenError):
            run_state_machine_as_test(machine, settings=chosen)
    except Flaky as error:
        broken = machine.broken
        shown = [str(step) for step in broken.taken] if broken is not None else []
        outcome.flaky.append(f"seed {number}: {error}; steps: {'; '.join(shown)}")
        _log.warning("a failure did not come again: %s", outcome.flaky[-1])
        return
    if machine.broken is not None:
        shortest = shrink(machine.engine, machine.broken, budget_s=plan.shrink_s)
        outcome.failures.append(_failure(number, shortest))


def _failure(number: int, broken: RuleBrokenError) -> Failure:
    return Failure(
        number,
        tuple(dict.fromkeys(item.rule for item in broken.violations)),
        tuple(item.evidence for item in broken.violations),
        tuple(broken.taken),
    )
