"""Makes a failing sequence short: fewer steps first, then simpler ones, as long as the same rule breaks.

hypothesis finds failures; its own shrinker works on the choices behind the steps and would run a whole
cluster some thousand times. Steps are values with a meaning, so they are cut directly; what makes no sense
any more (a pod deleted before it is made) is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

from conformance.fuzz import steps
from conformance.fuzz.engine import Engine
from conformance.fuzz.machine import Driver, RuleBrokenError
from conformance.fuzz.steps import Pick, Step

Sequence = tuple[Step, ...]


def replay(engine: Engine, sequence: Sequence, *, to_the_end: bool = True) -> RuleBrokenError | None:
    """Take the steps, and then (``to_the_end``) everything down; return what broke, or None.

    Steps that are not possible are left out, as nobody could take them.
    """
    driver = Driver(engine)
    try:
        for step in sequence:
            if engine.supports(type(step)) and driver.model.allows(step):
                driver.take(step)
        if to_the_end:
            driver.finish()
    except RuleBrokenError as error:
        return error
    return None


def shrink(
    engine: Engine,
    found: RuleBrokenError,
    *,
    budget_s: float = 30.0,
    stop: Callable[[], bool] = lambda: False,
) -> RuleBrokenError:
    """The shortest failure found that breaks a rule of the same, within ``budget_s`` or until ``stop``."""
    rules = {item.rule for item in found.violations}
    until = time.monotonic() + budget_s
    best = found

    def over() -> bool:
        return time.monotonic() >= until or stop()

    def fails(candidate: Sequence) -> bool:
        nonlocal best
        # Steps of taking down that a failure needs are among those taken.
        broken = replay(engine, candidate, to_the_end=False)
        if broken is None or not rules & {item.rule for item in broken.violations}:
            return False
        best = broken
        return True

    before: Sequence = ()
    while before != tuple(best.taken) and not over():
        before = tuple(best.taken)
        _cut(lambda: tuple(best.taken), fails, over)
        _merge(lambda: tuple(best.taken), fails, over)
        _simplify(lambda: tuple(best.taken), fails, over)
    for part in ("key", "node"):
        renamed = _renamed(tuple(best.taken), part)
        if renamed != tuple(best.taken) and not over():
            fails(renamed)
    return best


def _renamed(sequence: Sequence, part: str) -> Sequence:
    """The same with the first names of pods or nodes, so that one failure found twice looks the same.

    A pod keeps its namespace, on which its selection depends.
    """
    names: dict[str, str] = {}
    made: list[Step] = []
    for step in sequence:
        name = getattr(step, part, "")
        if not name or (part == "key" and isinstance(step, steps.ApplyNad | steps.DeleteNad)):
            made.append(step)
            continue
        if name not in names:
            space = name.rpartition("/")[0]
            used = sum(known.rpartition("/")[0] == space for known in names)
            first = f"{space}/p{used + 1}" if part == "key" else f"node{used + 1}"
            names[name] = first
        made.append(replace(step, **{part: names[name]}))
    return tuple(made)


def _cut(
    current: Callable[[], Sequence], fails: Callable[[Sequence], bool], over: Callable[[], bool]
) -> None:
    """Leave out halves, quarters ... single steps."""
    size = max(1, len(current()) // 2)
    while True:
        start = 0
        while start < len(current()) and not over():
            whole = current()
            if not fails(whole[:start] + whole[start + size :]):
                start += size
        if size == 1 or over():
            return
        size //= 2


def _merge(
    current: Callable[[], Sequence], fails: Callable[[Sequence], bool], over: Callable[[], bool]
) -> None:
    """Make a pod at once with the selection that it is given later."""
    for later in [step for step in current() if isinstance(step, steps.EditSelection)]:
        whole = current()
        if over() or later not in whole:
            return
        position = whole.index(later)
        made = [
            number
            for number, step in enumerate(whole[:position])
            if isinstance(step, steps.CreatePod) and step.key == later.key
        ]
        if made:
            merged = replace(cast(steps.CreatePod, whole[made[-1]]), picks=later.picks, text="")
            fails((*whole[: made[-1]], merged, *whole[made[-1] + 1 : position], *whole[position + 1 :]))


def _simplify(
    current: Callable[[], Sequence], fails: Callable[[Sequence], bool], over: Callable[[], bool]
) -> None:
    position = 0
    while position < len(current()):
        whole = current()
        for simpler in _simpler(whole[position]):
            if over():
                return
            if fails((*whole[:position], simpler, *whole[position + 1 :])):
                break
        else:
            position += 1


def _simpler(step: Step) -> Iterator[Step]:
    """Steps of the same kind that ask for less."""
    if isinstance(step, steps.CreatePod) and step.text:
        yield replace(step, text="")
    if isinstance(step, steps.CreatePod | steps.EditSelection):
        for number in range(len(step.picks)):
            yield replace(step, picks=step.picks[:number] + step.picks[number + 1 :])
        for number, pick in enumerate(step.picks):
            for simpler in _plainer(pick):
                yield replace(step, picks=(*step.picks[:number], simpler, *step.picks[number + 1 :]))
    if isinstance(step, steps.ApplyNad) and step.maps_to:
        yield replace(step, maps_to="", cidr="10.1.0.0/24")
    if isinstance(step, steps.DeletePod) and step.grace == 0:
        yield replace(step, grace=1)


def _plainer(pick: Pick) -> Iterator[Pick]:
    for name in ("interface", "ip", "mac"):
        if getattr(pick, name):
            yield replace(pick, **{name: ""})
