"""The runner: carry out the steps of a scenario against a lab, and tell all of it as events.

One runner for the command and for pytest; neither knows anything that isn't in the events. A step's verdict:

=====================================================  =============
the action says so                                     its verdict
a wait reached its limit, the API refused              fail
the lab or this machine broke                          could not run
an earlier step that this one needs did not pass       not run
=====================================================  =============
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Mapping

from multinet.errors import EnvironmentLackError, LabError, MultinetError
from multinet.kube.errors import UnreachableError
from reports.verdicts import Verdict
from scenarios import evidence
from scenarios.actions import ACTIONS
from scenarios.context import Action, Context, Result
from scenarios.loader import LoadedStep
from scenarios.schema import CHANGING

_log = logging.getLogger(__name__)
_EVIDENCE_LIMIT = 3
_SETTLED = (Verdict.PASS, Verdict.UNKNOWN)


class Runner:
    """Runs the steps of ``context.scenario`` in order; :meth:`run` returns when all have a verdict."""

    def __init__(self, context: Context, actions: Mapping[str, Action] = ACTIONS) -> None:
        self._context = context
        self._actions = actions
        self._verdicts: dict[str, Verdict] = {}
        self._collected = 0
        self._undecided = ""

    async def run(self) -> None:
        """Every step; cancelling it gives the step under way the verdict "interrupted"."""
        for step in self._context.scenario.steps:
            blocker = self._blocker(step)
            if blocker is not None:
                self._finish(
                    step, Result(Verdict.NOT_RUN, f"it needs the step {blocker!r}, which did not pass")
                )
                continue
            self._context.emit(
                "step-started",
                {"index": step.index, "name": step.name, "action": step.action, "line": step.line},
            )
            begun = time.monotonic()
            try:
                result = await self._attempt(step)
            except asyncio.CancelledError:
                self._finish(step, Result(Verdict.INTERRUPTED, "interrupted"), time.monotonic() - begun)
                raise
            seconds = time.monotonic() - begun
            result = self._with_expectation(step, result)
            if result.verdict not in _SETTLED:
                await self._collect(step)
            self._finish(step, result, seconds)

    def _blocker(self, step: LoadedStep) -> str | None:
        """Name of the first step that this one needs and that did not pass."""
        needed = step.step.needs
        for earlier in self._context.scenario.steps[: step.index]:
            wanted = earlier.action in CHANGING if needed is None else earlier.name in needed
            if wanted and self._verdicts[earlier.name] not in _SETTLED:
                return earlier.name
        return None

    async def _attempt(self, step: LoadedStep) -> Result:
        try:
            return await self._actions[step.action](self._context, step)
        except (LabError, EnvironmentLackError, UnreachableError) as error:
            return _of_error(Verdict.COULD_NOT_RUN, error)
        except MultinetError as error:
            return _of_error(Verdict.FAIL, error)
        except Exception as error:
            # A fault of ours must not look like one of the implementation under test, nor end the run
            # before its evidence is collected.
            _log.exception("step %r broke", step.name)
            text = "".join(traceback.format_exception(error))
            self._context.tell("evidence", step, title="traceback of the harness", text=text)
            return Result(
                Verdict.COULD_NOT_RUN,
                f"the harness itself broke: {type(error).__name__}: {error}",
                "this is a bug in multinet; the report has the traceback",
            )

    def _with_expectation(self, step: LoadedStep, result: Result) -> Result:
        """Decide what a pod must have by the objects at its time: before the next step changes them.

        The step after which that can't be done any more has failed; later ones aren't blamed for it again.
        """
        try:
            self._context.expected_pods()
        except MultinetError as error:
            told, self._undecided = self._undecided, str(error)
            if result.verdict is Verdict.PASS and told != self._undecided:
                where = f"{self._context.scenario.file}:{step.line}"
                reason = ": ".join(part for part in (where, error.what, error.why) if part)
                return Result(Verdict.FAIL, reason, error.next_step, result.facts)
        return result

    async def _collect(self, step: LoadedStep) -> None:
        self._collected += 1
        if self._collected > _EVIDENCE_LIMIT:
            return
        try:
            await evidence.collect(self._context, step.index)
        except (MultinetError, OSError) as error:
            self._context.tell(
                "evidence", step, title="evidence that could not be collected", text=str(error)
            )

    def _finish(self, step: LoadedStep, result: Result, seconds: float = 0.0) -> None:
        self._verdicts[step.name] = result.verdict
        self._context.emit(
            "step-finished",
            {
                "index": step.index,
                "name": step.name,
                "verdict": str(result.verdict),
                "reason": result.reason,
                "next_step": result.next_step,
                "seconds": round(seconds, 4),
                "facts": list(result.facts),
            },
        )


def _of_error(verdict: Verdict, error: MultinetError) -> Result:
    reason = ": ".join(part for part in (error.where, error.what, error.why) if part)
    return Result(verdict, reason, error.next_step)
