"""A run as one value, folded from its events: what every writer shows.

Design note: :func:`fold` is pure and total. A log that stops in the middle (the worker was killed) folds
to a report all the same: the step that was under way and those after it are "not run", and the verdict is
"interrupted" or "could not run". Rows are sorted here, once, so no writer depends on the order in which
probes happened to come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from reports.events import Data, Event
from reports.verdicts import Verdict, combine, exit_status


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One probe: from one interface to one interface by one protocol; expected beside observed."""

    source: str
    source_interface: str
    destination: str
    destination_interface: str
    protocol: str
    expected: str
    observed: str
    verdict: Verdict
    detail: str = ""
    seen_at: tuple[str, ...] = ()
    replied: bool = False
    control: bool = False
    crosses: str = ""


@dataclass(frozen=True, slots=True, order=True)
class AttachmentRow:
    """One field of one interface: what it must be, what the annotation says, what the kernel has."""

    pod: str
    interface: str
    field: str
    expected: str
    annotation: str
    kernel: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A text collected before teardown: a description, a log tail, a dump."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Capability:
    """Something this machine can or can't do."""

    name: str
    available: bool
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Capture:
    """A pcap beside the report; ``path`` is relative to the run directory, ``step`` counts from 0."""

    path: str
    pod: str
    interface: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """A named wait and how long it took."""

    name: str
    seconds: float
    limit: float


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of the run itself: what, where, why, next step."""

    what: str
    where: str
    why: str
    next_step: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of the scenario with everything that was seen in it."""

    index: int
    name: str
    action: str
    line: int
    verdict: Verdict
    reason: str = ""
    next_step: str = ""
    started: float = 0.0
    seconds: float = 0.0
    facts: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    attachments: tuple[AttachmentRow, ...] = ()
    waits: tuple[Wait, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    drawing: Data | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run. Times are seconds: ``started`` since the epoch, the others durations."""

    run: str
    scenario: str
    file: str
    description: str
    lab: Data
    environment: Data
    started: float
    seconds: float
    lab_ready_s: float
    verdict: Verdict
    reason: str
    exit_status: int
    steps: tuple[StepReport, ...]
    capabilities: tuple[Capability, ...]
    captures: tuple[Capture, ...]
    problems: tuple[Problem, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells of all matrices, step by step."""
        return tuple(cell for step in self.steps for cell in step.cells)


@dataclass(slots=True)
class _Step:
    """A step while its events are read."""

    report: StepReport
    running: bool = False
    cells: list[Cell] = field(default_factory=list)
    attachments: list[AttachmentRow] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)

    def frozen(self) -> StepReport:
        return replace(
            self.report,
            cells=tuple(sorted(self.cells)),
            attachments=tuple(sorted(self.attachments)),
            waits=tuple(self.waits),
            evidence=tuple(self.evidence),
        )


def _text(data: Data, key: str) -> str:
    value = data.get(key)
    return "" if value is None else str(value)


def _verdict(data: Data, default: Verdict = Verdict.UNKNOWN) -> Verdict:
    try:
        return Verdict(data.get("verdict", default))
    except ValueError:
        return Verdict.UNKNOWN


def _cell(data: Data) -> Cell:
    return Cell(
        source=_text(data, "source"),
        source_interface=_text(data, "source_interface"),
        destination=_text(data, "destination"),
        destination_interface=_text(data, "destination_interface"),
        protocol=_text(data, "protocol"),
        expected=_text(data, "expected"),
        observed=_text(data, "outcome"),
        verdict=_verdict(data),
        detail=_text(data, "detail"),
        seen_at=tuple(sorted(str(place) for place in data.get("seen_at") or ())),
        replied=bool(data.get("replied")),
        control=bool(data.get("control")),
        crosses=_text(data, "crosses"),
    )


def _attachment(data: Data) -> AttachmentRow:
    return AttachmentRow(
        pod=_text(data, "pod"),
        interface=_text(data, "interface"),
        field=_text(data, "field"),
        expected=_text(data, "expected"),
        annotation=_text(data, "annotation"),
        kernel=_text(data, "kernel"),
        verdict=_verdict(data),
        detail=_text(data, "detail"),
    )


def _capture(data: Data) -> Capture:
    step = data.get("step")
    number = step if isinstance(step, int) else None
    return Capture(_text(data, "path"), _text(data, "pod"), _text(data, "interface"), number)


class _Fold:
    """State of one reading of the log; :meth:`result` makes the value."""

    def __init__(self) -> None:
        self.start: Data = {}
        self.finish: Data | None = None
        self.first = 0.0
        self.last = 0.0
        self.lab_ready_s = 0.0
        self.steps: dict[int, _Step] = {}
        self.capabilities: list[Capability] = []
        self.captures: list[Capture] = []
        self.problems: list[Problem] = []
        self.deaths: list[str] = []

    def add(self, event: Event) -> None:
        self.first = self.first or event.time
        self.last = event.time
        data = event.data
        match event.kind:
            case "run-started":
                self._run_started(data)
            case "run-finished":
                self.finish = data
            case "lab-ready":
                self.lab_ready_s = float(data.get("seconds") or 0.0)
            case "capability":
                self.capabilities.append(
                    Capability(
                        _text(data, "name"),
                        bool(data.get("available")),
                        _text(data, "detail"),
                        _text(data, "remedy"),
                    )
                )
            case "capture":
                self.captures.append(_capture(data))
            case "error":
                self.problems.append(
                    Problem(*(_text(data, key) for key in ("what", "where", "why", "next_step")))
                )
            case "role-exited" if not data.get("expected"):
                self._role_died(data)
            case _:
                self._in_step(event)

    def _role_died(self, data: Data) -> None:
        what = f"{_text(data, 'role')} ended without being asked to, with status {_text(data, 'status')}"
        where = _text(data, "node")
        self.deaths.append(f"{where}: {what}")
        self.problems.append(Problem(what, where, "", "its log is in logs/ in the run's directory"))

    def _run_started(self, data: Data) -> None:
        self.start = data
        for index, step in enumerate(data.get("steps") or ()):
            self.steps[index] = _Step(
                StepReport(
                    index=index,
                    name=_text(step, "name"),
                    action=_text(step, "action"),
                    line=int(step.get("line") or 0),
                    verdict=Verdict.NOT_RUN,
                    reason="the run ended before this step",
                )
            )

    def _in_step(self, event: Event) -> None:
        data = event.data
        number = data.get("index", data.get("step"))
        step = self.steps.get(number) if isinstance(number, int) else None
        if step is None:
            return
        match event.kind:
            case "step-started":
                step.running = True
                step.report = replace(step.report, started=event.time - self.first)
            case "step-finished":
                step.running = False
                step.report = replace(
                    step.report,
                    verdict=_verdict(data),
                    reason=_text(data, "reason"),
                    next_step=_text(data, "next_step"),
                    seconds=float(data.get("seconds") or 0.0),
                    facts=tuple(str(fact) for fact in data.get("facts") or ()),
                )
            case "observation":
                step.cells.append(_cell(data))
            case "attachment":
                step.attachments.append(_attachment(data))
            case "wait":
                step.waits.append(
                    Wait(_text(data, "name"), float(data.get("seconds") or 0), float(data.get("limit") or 0))
                )
            case "evidence":
                step.evidence.append(Evidence(_text(data, "title"), _text(data, "text")))
            case "drawing":
                drawing = {"nodes": data.get("nodes") or [], "edges": data.get("edges") or []}
                step.report = replace(step.report, drawing=drawing)
            case _:
                pass

    def result(self) -> RunReport:
        for step in self.steps.values():
            if step.running:
                step.report = replace(step.report, reason="the run ended while this step was under way")
        steps = tuple(self.steps[index].frozen() for index in sorted(self.steps))
        verdict, reason = self._verdict(steps)
        failed = any(step.verdict is Verdict.FAIL for step in steps)
        data = self.start
        return RunReport(
            run=_text(data, "run"),
            scenario=_text(data, "scenario"),
            file=_text(data, "file"),
            description=_text(data, "description").strip(),
            lab=dict(data.get("lab") or {}),
            environment=dict(data.get("environment") or {}),
            started=self.first,
            seconds=round(self.last - self.first, 3),
            lab_ready_s=self.lab_ready_s,
            verdict=verdict,
            reason=reason,
            exit_status=exit_status(verdict, failed=failed),
            steps=steps,
            capabilities=tuple(sorted(self.capabilities, key=lambda capability: capability.name)),
            captures=tuple(sorted(self.captures, key=lambda capture: capture.path)),
            problems=tuple(self.problems),
        )

    def _verdict(self, steps: tuple[StepReport, ...]) -> tuple[Verdict, str]:
        if self.finish is None:
            return Verdict.COULD_NOT_RUN, "the run stopped without a last word (its worker died)"
        named = _verdict(self.finish)
        if named in (Verdict.INTERRUPTED, Verdict.COULD_NOT_RUN):
            failed = any(step.verdict is Verdict.FAIL for step in steps)
            if named is Verdict.COULD_NOT_RUN and failed:
                named = Verdict.FAIL
            return named, _text(self.finish, "reason")
        verdict = combine(step.verdict for step in steps if step.verdict is not Verdict.NOT_RUN)
        if self.deaths and verdict is not Verdict.FAIL:
            # Whatever the steps saw: a part of the implementation that dies by itself has failed.
            return Verdict.FAIL, "; ".join(self.deaths)
        return verdict, _text(self.finish, "reason")


def fold(events: Iterable[Event]) -> RunReport:
    """The value of a run, of any prefix of its log."""
    state = _Fold()
    for event in events:
        state.add(event)
    return state.result()


def statistics(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many of each verdict, all verdicts named, in a fixed order."""
    counts = dict.fromkeys((str(verdict) for verdict in Verdict), 0)
    for verdict in verdicts:
        counts[str(verdict)] += 1
    return counts


def as_plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, verdicts as text: what JSON and YAML can hold."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: as_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    if isinstance(value, Verdict):
        return str(value)
    return value
