"""The interface matrix: what was expected beside what was observed, one cell per pair and protocol.

Expectations are plain data, ``{(source, source interface, destination, destination interface, protocol):
bool}``, so whoever computes them needs nothing of this package. A pair with expectation but without
observation is unknown, never passed over; an observed pair nobody has an expectation for is not applicable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from traffic import frames
from traffic.observation import Key, Observation

Verdict = Literal["pass", "fail", "unknown", "not-applicable"]
Expectation = Mapping[Key, bool]

# A positive expectation is refuted by these: such an interface can't carry the traffic it should.
_BROKEN = ("interface-missing", "interface-down", "no-address")


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One cell. ``expected`` is None without expectation; ``outcome`` is empty without observation."""

    source: str
    source_interface: str
    destination: str
    destination_interface: str
    protocol: str
    expected: bool | None
    outcome: str
    verdict: Verdict
    text: str
    seen_at: tuple[str, ...] = ()
    control: str = ""
    attempts: int = 0

    @property
    def key(self) -> Key:
        """The key of this cell in an expectation mapping."""
        return (
            self.source,
            self.source_interface,
            self.destination,
            self.destination_interface,
            self.protocol,
        )


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells, sorted; ``rows`` and ``columns`` are ``ns/pod/interface`` of sources, destinations."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    protocols: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many cells have each verdict."""
        counted = Counter(cell.verdict for cell in self.cells)
        verdicts: tuple[Verdict, ...] = ("pass", "fail", "unknown", "not-applicable")
        return {verdict: counted[verdict] for verdict in verdicts}

    @property
    def verdict(self) -> Verdict:
        """``fail`` before ``unknown`` before ``pass``; ``not-applicable`` when there is nothing to judge."""
        counts = self.counts
        order: tuple[Verdict, ...] = ("fail", "unknown", "pass")
        return next((verdict for verdict in order if counts[verdict]), "not-applicable")

    def cell(self, key: Key) -> Cell | None:
        """The cell of a pair and protocol, or None."""
        return next((cell for cell in self.cells if cell.key == key), None)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with rows, columns, protocols, counts, verdict and cells."""
        return {
            "rows": list(self.rows),
            "columns": list(self.columns),
            "protocols": list(self.protocols),
            "counts": dict(self.counts),
            "verdict": self.verdict,
            "cells": [{**asdict(cell), "seen_at": list(cell.seen_at)} for cell in self.cells],
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell whose outcome or verdict differs between two matrices; None where it is missing."""

    key: Key
    before: Cell | None
    after: Cell | None


def build(observations: Iterable[Observation], expectation: Expectation) -> Matrix:
    """Lay observations beside expectations; of several observations with one key the last counts."""
    seen = {observation.key: observation for observation in observations}
    cells = tuple(sorted(_cell(key, seen.get(key), expectation) for key in {*seen, *expectation}))
    protocols = {cell.protocol for cell in cells}
    known = [one for one in (*frames.PROTOCOLS, *frames.PROTOCOLS6) if one in protocols]
    return Matrix(
        rows=tuple(sorted({f"{cell.source}/{cell.source_interface}" for cell in cells})),
        columns=tuple(sorted({f"{cell.destination}/{cell.destination_interface}" for cell in cells})),
        protocols=(*known, *sorted(protocols - set(known))),
        cells=cells,
    )


def judge(observation: Observation, expectation: Expectation) -> tuple[Verdict, str]:
    """The verdict on one observation, and why in one sentence.

    A probe that was not to reach its destination but was accepted by another interface (a pod answers for
    all its addresses on each of its interfaces) passes if the source may reach that interface: nothing went
    where it must not.
    """
    expected = expectation.get(observation.key)
    outcome, detail = observation.outcome, observation.detail
    if expected is None:
        return "not-applicable", f"no expectation; observed: {outcome} ({detail})"
    if expected:
        if outcome == "reached":
            return "pass", f"reached as expected: {detail}"
        broken = outcome == "unknown" and observation.reason in _BROKEN
        if outcome == "unknown" and not broken:
            return "unknown", detail
        return "fail", f"should be reached: {detail}"
    if outcome == "not-reached":
        return "pass", f"not reached, as expected: {detail} (control: {observation.controlled_by})"
    if outcome == "unknown":
        # Seen arriving, though nothing is known of the answer: enough to refute isolation.
        leaked = bool(observation.seen_at)
        return ("fail", f"must not arrive: {detail}") if leaked else ("unknown", detail)
    if outcome == "wrong-path" and _all_allowed(observation, expectation):
        return "pass", f"not reached, as expected: {detail}, which this source may reach"
    return "fail", f"must not be reached: {detail}"


def compare(before: Matrix, after: Matrix) -> tuple[Difference, ...]:
    """The cells whose outcome or verdict changed, appeared or went, sorted."""
    old = {cell.key: cell for cell in before.cells}
    new = {cell.key: cell for cell in after.cells}
    found = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if was is None or now is None or (was.outcome, was.verdict) != (now.outcome, now.verdict):
            found.append(Difference(key, was, now))
    return tuple(found)


def _cell(key: Key, observation: Observation | None, expectation: Expectation) -> Cell:
    expected = expectation.get(key)
    if observation is None:
        return Cell(*key, expected=expected, outcome="", verdict="unknown", text="no observation")
    verdict, text = judge(observation, expectation)
    return Cell(
        *key,
        expected=expected,
        outcome=observation.outcome,
        verdict=verdict,
        text=text,
        seen_at=observation.seen_at,
        control=observation.controlled_by,
        attempts=observation.attempts,
    )


def _all_allowed(observation: Observation, expectation: Expectation) -> bool:
    """Whether every place that accepted the probe is one its source may reach by this protocol."""
    if not observation.seen_at:
        return False
    for place in observation.seen_at:
        name, _, interface = place.rpartition("/")
        key = (observation.source, observation.source_interface, name, interface, observation.protocol)
        if not expectation.get(key, False):
            return False
    return True
