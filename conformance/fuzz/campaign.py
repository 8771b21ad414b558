"""A campaign: examples until the time, or their number, is used up; what was found, and what was covered.

hypothesis is asked for one batch of examples after the other, each with a seed of its own, so that a budget
in minutes can be kept and a failure found early does not end the search. With ``swarm`` each example takes a
random subset of the rules (swarm testing), so rare combinations come up.

The end, by Ctrl-C or the budget, comes between two steps, wherever in a batch that is: what was found by then
is kept, and cut short no further.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
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
    swarm: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """The shortest sequence found that breaks rules; ``evidence`` is what was seen after its last step."""

    seed: int
    rules: tuple[str, ...]
    evidence: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Outcome:
    """What came of a campaign. ``flaky``: failures that did not come again when the steps were repeated.

    ``spent`` has the seconds that each step of a kind took, judging included.
    """

    steps: int = 0
    examples: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    spent: defaultdict[str, array[float]] = field(default_factory=lambda: defaultdict(_seconds))
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    states: set[tuple[object, ...]] = field(default_factory=set)
    interrupted: bool = False

    def figures(self) -> dict[str, Any]:
        """The figures, as the last line of ``./lab fuzz -o json`` has them."""
        return {
            "steps": self.steps,
            "examples": self.examples,
            "seconds": round(self.seconds, 2),
            "steps_per_s": round(self.steps / self.seconds, 1) if self.seconds else 0.0,
            "failures": len(self.failures),
        }


def _seconds() -> array[float]:
    return array("f")


class _Over(BaseException):
    """The campaign ends here. No Exception: hypothesis would take that for a failure of the example."""


class _Counting(AttachmentMachine):
    """The machine with a campaign's books. The attributes are set on a subclass of it."""

    outcome: Outcome
    over: Callable[[], bool]

    def __init__(self) -> None:
        super().__init__()
        self.outcome.examples += 1
        self._before = "start"

    def taken(self, step: Step, seconds: float) -> None:
        """Enter a step into the books."""
        name = step.name
        self.outcome.steps += 1
        self.outcome.kinds[name] += 1
        self.outcome.spent[name].append(seconds)
        self.outcome.transitions[self._before, name] += 1
        self._before = name
        self.outcome.states.add(self.shape())
        if self.over():
            self.ended = True
            raise _Over


def run(
    engine: Engine,
    plan: Plan,
    tell: Callable[[Outcome], None] = lambda _outcome: None,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run a campaign. ``tell`` is called after each batch; once ``stop`` says so, it ends after a step."""
    outcome = Outcome()
    begun = time.monotonic()

    def over() -> bool:
        outcome.seconds = time.monotonic() - begun
        outcome.interrupted = outcome.interrupted or stop()
        return outcome.interrupted or (plan.budget_s is not None and outcome.seconds >= plan.budget_s)

    number, left = plan.seed, plan.examples
    body = {"engine": engine, "outcome": outcome, "over": staticmethod(over), "swarm": plan.swarm}
    machine = type("AttachmentMachine", (_Counting,), body)
    with _collecting_between_batches() as collect, contextlib.suppress(_Over):
        while not (
            over() or (plan.stop_at_first and outcome.failures) or (plan.budget_s is None and left <= 0)
        ):
            asked = _BATCH if plan.budget_s is not None else min(_BATCH, left)
            _batch(machine, plan, outcome, number, asked)
            number, left = number + 1, left - asked
            tell(outcome)
            collect()
    over()
    return outcome


@contextlib.contextmanager
def _collecting_between_batches() -> Iterator[Callable[[], object]]:
    """No garbage collection but when the value is called: a sixth of the time would go to it.

    What one batch leaves is little; what was there before is not looked at again, unless whoever is there
    has frozen it already, whose it is then.
    """
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    if not frozen:
        gc.collect()
        gc.freeze()
    gc.disable()
    try:
        yield gc.collect
    finally:
        if not frozen:
            gc.unfreeze()
        if was_on:
            gc.enable()


def _batch(machine: Any, plan: Plan, outcome: Outcome, number: int, examples: int) -> None:
    machine.broken, machine.number = None, number
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
        if broken is None and machine.over():
            # The end came within an example that hypothesis had begun like an earlier, longer one.
            return
        shown = [str(step) for step in broken.taken] if broken is not None else []
        what = " ".join(str(broken or error).split())
        outcome.flaky.append(f"seed {number}: {what}; steps: {'; '.join(shown)}")
        _log.warning("a failure did not come again: %s", outcome.flaky[-1])
        return
    if machine.broken is not None:
        shortest = shrink(machine.engine, machine.broken, budget_s=plan.shrink_s, stop=machine.over)
        found = _failure(number, shortest)
        if all(found.steps != other.steps for other in outcome.failures):
            outcome.failures.append(found)


def _failure(number: int, broken: RuleBrokenError) -> Failure:
    return Failure(
        number,
        tuple(dict.fromkeys(item.rule for item in broken.violations)),
        tuple(item.evidence for item in broken.violations),
        tuple(broken.taken),
    )
