"""The runner: order, what is not run and why, errors as verdicts, evidence before the end of a step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from multinet.errors import LabError, MultinetError, NetworkingError, WaitExpiredError
from multinet.kube.errors import NotFoundError
from multinet.kube.resources import VIRTUAL_NETWORKS, Resource
from reports.verdicts import Verdict
from scenarios import evidence
from scenarios.actions.objects import delete
from scenarios.context import Action, Context, Result
from scenarios.loader import LoadedStep, load
from scenarios.runner import Runner
from topology.expectation import Expectations

TEXT = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata:
  name: example
spec:
  steps:
    - name: ready
      wait: { pods: all }
    - name: probe
      matrix: {}
    - name: again
      wait: { pods: all }
    - name: at any rate
      needs: []
      leftovers: {}
"""


class Recorder:
    """Stands for the context: keeps events in order."""

    def __init__(self, path: Path) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.scenario = load(path)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, data))

    def tell(self, kind: str, step: LoadedStep, **data: Any) -> None:
        self.emit(kind, {"step": step.index, **data})

    def expected_pods(self) -> tuple[()]:
        return ()

    def verdicts(self) -> list[str]:
        return [data["verdict"] for kind, data in self.events if kind == "step-finished"]


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    path = tmp_path / "s.yaml"
    path.write_text(TEXT)

    async def collect(context: Context, step: int) -> None:
        context.emit("evidence", {"step": step, "title": "collected", "text": ""})

    monkeypatch.setattr(evidence, "collect", collect)
    return Recorder(path)


def actions(**ends: Result | Exception) -> Mapping[str, Action]:
    def action(end: Result | Exception) -> Action:
        async def act(context: Context, step: LoadedStep) -> Result:
            if isinstance(end, Exception):
                raise end
            return end

        return act

    every: dict[str, Result | Exception] = dict.fromkeys(("wait", "matrix", "leftovers"), Result())
    return {name: action(end) for name, end in {**every, **ends}.items()}


async def run(recorder: Recorder, carried_out: Mapping[str, Action]) -> None:
    await Runner(recorder, carried_out).run()  # type: ignore[arg-type]


async def test_all_pass(recorder: Recorder) -> None:
    await run(recorder, actions())
    assert recorder.verdicts() == ["pass", "pass", "pass", "pass"]


async def test_a_failed_observation_stops_nothing(recorder: Recorder) -> None:
    await run(recorder, actions(matrix=Result(Verdict.FAIL, "one cell")))
    assert recorder.verdicts() == ["pass", "fail", "pass", "pass"]


async def test_what_needs_a_failed_step_is_not_run(recorder: Recorder) -> None:
    error = WaitExpiredError("waited 10 s for all pods", why="pod a is Pending", next_step="look")
    await run(recorder, actions(wait=error))
    assert recorder.verdicts() == ["fail", "not run", "not run", "pass"]
    finished = [data for kind, data in recorder.events if kind == "step-finished"]
    assert finished[0]["reason"] == "waited 10 s for all pods: pod a is Pending"
    assert finished[0]["next_step"] == "look"
    assert finished[1]["reason"] == "it needs the step 'ready', which did not pass"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (LabError("the node is gone"), "could not run"),
        (MultinetError("refused"), "fail"),
        (RuntimeError("a bug"), "could not run"),
    ],
)
async def test_errors_are_verdicts(recorder: Recorder, error: Exception, verdict: str) -> None:
    await run(recorder, actions(matrix=error))
    assert recorder.verdicts()[1] == verdict


async def test_what_cannot_be_expected_fails_the_step_once(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undecided() -> tuple[()]:
        raise NetworkingError("can't be decided", why="spec.subnets: no CIDR", next_step="mend it")

    monkeypatch.setattr(recorder, "expected_pods", undecided)
    await run(recorder, actions())
    assert recorder.verdicts() == ["fail", "not run", "not run", "pass"]
    finished = [data for kind, data in recorder.events if kind == "step-finished"]
    file = recorder.scenario.file
    assert finished[0]["reason"] == f"{file}:7: can't be decided: spec.subnets: no CIDR"
    assert finished[0]["next_step"] == "mend it"


def test_a_network_nobody_can_read_is_no_fault_of_the_harness(recorder: Recorder) -> None:
    bad = {"metadata": {"name": "blue"}, "spec": {"fqName": ["a", "b", "c"], "subnets": [{"cidr": "x"}]}}

    class Objects:
        def all(self, resource: Resource) -> list[dict[str, Any]]:
            return [bad] if resource is VIRTUAL_NETWORKS else []

    context = Context(
        recorder.scenario,
        lab=None,  # type: ignore[arg-type]
        client=None,  # type: ignore[arg-type]
        cluster=Objects(),  # type: ignore[arg-type]
        run_dir=Path(),
        emit=recorder.emit,
        expectations=Expectations(),
        baseline={},
    )
    assert context.expected_pods() == (), "a network nobody can read harms only the pods that name it"
    bad["spec"]["vni"], bad["spec"]["subnets"] = "many", []  # type: ignore[index]
    with pytest.raises(NetworkingError, match="ValueError: invalid literal"):
        context.expected_pods()


async def test_deleting_what_is_not_there_fails(recorder: Recorder, tmp_path: Path) -> None:
    class Nothing:
        async def get(self, *_: object) -> None:
            raise NotFoundError("not found", status=404, reason="NotFound")

        async def until(self, _name: str, predicate: Callable[[], object], *_: object, **__: object) -> None:
            assert predicate()

    path = tmp_path / "delete.yaml"
    head = TEXT[: TEXT.index("    - name: ready")]
    path.write_text(head + "    - name: gone\n      delete: { objects: [vn/blue] }\n")
    recorder.scenario = load(path)
    nothing = Nothing()
    recorder.client = recorder.cluster = nothing  # type: ignore[attr-defined]
    result = await delete(recorder, recorder.scenario.steps[0])  # type: ignore[arg-type]
    assert result.verdict is Verdict.FAIL
    assert result.reason == "nothing to delete: the API has no VirtualNetwork blue"


async def test_evidence_comes_before_the_end_of_the_step(recorder: Recorder) -> None:
    await run(recorder, actions(matrix=Result(Verdict.FAIL, "one cell")))
    kinds = [(kind, data.get("step", data.get("index"))) for kind, data in recorder.events]
    assert kinds.index(("evidence", 1)) < kinds.index(("step-finished", 1))


async def test_unknown_is_no_failure_and_needs_no_evidence(recorder: Recorder) -> None:
    await run(recorder, actions(matrix=Result(Verdict.UNKNOWN, "not seen")))
    assert recorder.verdicts() == ["pass", "unknown", "pass", "pass"]
    assert "evidence" not in [kind for kind, _ in recorder.events]


async def test_interrupting_ends_the_step_under_way(recorder: Recorder) -> None:
    begun = asyncio.Event()

    async def endless(context: Context, step: LoadedStep) -> Result:
        begun.set()
        await asyncio.Event().wait()
        return Result()

    task = asyncio.create_task(run(recorder, {**actions(), "matrix": endless}))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert recorder.verdicts() == ["pass", "interrupted"]


def test_steps_know_their_lines(recorder: Recorder) -> None:
    lines = [step.line for step in recorder.scenario.steps]
    assert lines == [7, 9, 11, 13]
