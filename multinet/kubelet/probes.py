"""Probes of a container: their numbers, what a row of results means, and the tasks that ask.

Source: Kubernetes API "Probe". A startup probe that has not succeeded yet holds back the other two. Readiness
starts as "no", liveness as "yes"; the result changes with the row of equal answers that the thresholds ask
for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from multinet.errors import InputError
from multinet.kubelet import handlers
from multinet.kubelet.handlers import Outcome
from multinet.waits import pause

Kind = Literal["startup", "liveness", "readiness"]
KINDS: tuple[Kind, ...] = ("startup", "liveness", "readiness")


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container; times in seconds, ``grace_s`` None where the pod's holds."""

    kind: Kind
    handler: Mapping[str, Any]
    delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    failures: int = 3
    successes: int = 1
    grace_s: float | None = None


def probes_of(container: Mapping[str, Any]) -> tuple[Probe, ...]:
    """The container's probes; ``InputError`` names what can't be done of them."""
    return tuple(_read(container))


def _read(container: Mapping[str, Any]) -> Iterator[Probe]:
    for kind in KINDS:
        given = container.get(f"{kind}Probe")
        if not given:
            continue
        where = f"container {container.get('name')}, {kind}Probe"
        handlers.check(given, container, where)
        own_grace = given.get("terminationGracePeriodSeconds") is not None
        yield Probe(
            kind,
            given,
            delay_s=_number(given, "initialDelaySeconds", 0, 0, where),
            period_s=_number(given, "periodSeconds", 10, 1, where),
            timeout_s=_number(given, "timeoutSeconds", 1, 1, where),
            failures=_number(given, "failureThreshold", 3, 1, where),
            successes=_number(given, "successThreshold", 1, 1, where),
            grace_s=_number(given, "terminationGracePeriodSeconds", 0, 0, where) if own_grace else None,
        )


def _number(given: Mapping[str, Any], name: str, default: int, least: int, where: str) -> int:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{name} must be a number", where=where, why=repr(value))
    # A zero means the default in the API.
    return value if value >= least else default


class Tally:
    """A probe's ``result`` from its answers: it turns after a row of equal ones."""

    def __init__(self, probe: Probe, *, result: bool) -> None:
        self.result = result
        self._probe = probe
        self._row = 0
        self._last: bool | None = None

    def count(self, ok: bool) -> bool:
        """Take one answer; return whether a threshold is reached with it."""
        self._row = self._row + 1 if ok == self._last else 1
        self._last = ok
        if self._row < (self._probe.successes if ok else self._probe.failures):
            return False
        self.result = ok
        return True


@dataclass(frozen=True, slots=True)
class Reactions:
    """Who is told: of a failed answer, of the container's start-up, of its readiness, that it must die."""

    failed: Callable[[Probe, str], None]
    startup: Callable[[], None]
    readiness: Callable[[bool], None]
    kill: Callable[[Probe], None]


async def watch(
    probes: tuple[Probe, ...], ask: Callable[[Probe], Awaitable[Outcome]], reactions: Reactions
) -> None:
    """Ask until cancelled, or until the container must die."""
    by_kind = {probe.kind: probe for probe in probes}
    if (startup := by_kind.get("startup")) is not None and not await _start(startup, ask, reactions):
        return
    reactions.startup()
    async with asyncio.TaskGroup() as tasks:
        if (liveness := by_kind.get("liveness")) is not None:
            tasks.create_task(_live(liveness, ask, reactions), name="liveness probe")
        if (readiness := by_kind.get("readiness")) is not None:
            tasks.create_task(_be_ready(readiness, ask, reactions), name="readiness probe")


async def _start(probe: Probe, ask: Callable[[Probe], Awaitable[Outcome]], reactions: Reactions) -> bool:
    tally = Tally(probe, result=False)
    await pause("startup probe delay", probe.delay_s)
    while True:
        outcome = await _ask(probe, ask, reactions)
        if tally.count(outcome.ok):
            if not outcome.ok:
                reactions.kill(probe)
            return outcome.ok
        await pause("startup probe period", probe.period_s)


async def _live(probe: Probe, ask: Callable[[Probe], Awaitable[Outcome]], reactions: Reactions) -> None:
    tally = Tally(probe, result=True)
    await pause("liveness probe delay", probe.delay_s)
    while True:
        outcome = await _ask(probe, ask, reactions)
        if tally.count(outcome.ok) and not outcome.ok:
            reactions.kill(probe)
            return
        await pause("liveness probe period", probe.period_s)


async def _be_ready(probe: Probe, ask: Callable[[Probe], Awaitable[Outcome]], reactions: Reactions) -> None:
    tally = Tally(probe, result=False)
    await pause("readiness probe delay", probe.delay_s)
    while True:
        outcome = await _ask(probe, ask, reactions)
        if tally.count(outcome.ok):
            reactions.readiness(tally.result)
        await pause("readiness probe period", probe.period_s)


async def _ask(probe: Probe, ask: Callable[[Probe], Awaitable[Outcome]], reactions: Reactions) -> Outcome:
    outcome = await ask(probe)
    if not outcome.ok:
        reactions.failed(probe, outcome.text)
    return outcome
