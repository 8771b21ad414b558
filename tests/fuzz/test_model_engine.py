"""The model engine: the reference keeps the rules, each planted bug breaks one, and is cut to few steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis.errors import Flaky

from conformance.fuzz import campaign, exporting, replaying, steps
from conformance.fuzz.campaign import Plan
from conformance.fuzz.exporting import Origin
from conformance.fuzz.machine import Driver
from conformance.fuzz.replaying import State
from conformance.fuzz.shrink import replay, shrink
from conformance.fuzz.simulated import SimulatedEngine
from conformance.fuzz.steps import CreatePod
from multinet.controller.nads import Nads
from multinet.model.planted import BUGS, plant
from multinet.vrouter.view import ClusterView
from tests.fuzz.ways import OTHER, WAYS, A

pytestmark = pytest.mark.usefixtures("warnings_unlogged")


def test_every_planted_bug_has_a_way():
    assert WAYS.keys() == BUGS.keys()


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_bug_breaks_its_rule_and_nothing_breaks_without_it(engine, bug):
    rule, way = WAYS[bug]
    with plant(bug):
        broken = replay(engine, tuple(way))
    assert broken is not None
    assert rule in {item.rule for item in broken.violations}
    assert replay(engine, tuple(way)) is None


def test_a_long_failure_is_cut_to_what_it_needs(engine):
    way = WAYS["del-skipped"][1]
    long = [
        steps.ApplyNad("other/a", cidr="10.1.0.0/24"),
        CreatePod("other/p1", "node2", (OTHER, OTHER)),
        *way[:2],
        steps.RestartController(),
        way[2],
        steps.Elapse(),
        steps.DeleteNad("other/a"),
        way[3],
    ]
    with plant("del-skipped"):
        found = replay(engine, tuple(long))
        assert found is not None
        # A network's devices are too many only when it is gone.
        # As long as a busy machine takes; by itself it is some seconds.
        cut = shrink(engine, found, budget_s=300.0)
        assert cut.taken == [*way, steps.DeleteNad("default/a")]


def test_a_long_walk_through_every_kind_of_step_breaks_nothing(engine):
    driver = Driver(engine)
    walk = [
        steps.ApplyNad("default/a", cidr="10.1.0.0/24"),
        CreatePod("default/p1", "node1", (A,)),
        CreatePod("default/p2", "node2", (A, A)),
        steps.EditSelection("default/p1"),
        steps.DamageStatus("default/p1"),
        *(steps.RepeatCall("default/p1", verb) for verb in ("ADD", "CHECK", "DEL")),
        steps.RestartAgent("node1"),
        steps.RestartController(),
        steps.Reboot("node1"),
        steps.DeleteNad("default/a"),
        CreatePod("default/p3", "node1", (A,)),
        steps.MakeNetwork("blue", "10.1.0.0/24"),
        steps.ApplyNad("other/a", maps_to="blue"),
        CreatePod("other/p1", "node1", (OTHER,)),
        steps.RemoveNetwork("blue"),
        steps.Cut("node1"),
        steps.DeletePod("other/p1"),
        steps.Heal("node1"),
        steps.RefuseDevices("node2", True),
        steps.Elapse(),
        steps.LoseAnswers(True),
        steps.DeletePod("default/p2", grace=0),
    ]
    for step in walk:
        driver.take(step)
    assert set(driver.model.pods) == {"default/p1", "default/p3"}
    assert driver.model.pods["default/p3"].held is None
    driver.finish()
    assert driver.model.pods == {}
    assert {type(step) for step in driver.taken} == set(steps.KINDS)


def test_a_pod_without_room_starts_when_its_nad_leads_to_another_network(engine):
    """Found by the fuzzer: such a pod waited for a free address only, and so for ever."""
    sequence = (
        steps.MakeNetwork("blue", "10.2.0.0/29"),
        steps.ApplyNad("default/a", maps_to="blue"),
        CreatePod("default/p1", "node1", (A, A)),
        CreatePod("default/p2", "node1", (A, A, A)),
        steps.ApplyNad("default/a", cidr="10.1.0.0/24"),
    )
    assert replay(engine, sequence) is None


@pytest.mark.programs
def test_a_short_campaign_finds_nothing_and_says_what_it_did(engine, tmp_path: Path):
    outcome = campaign.run(engine, Plan(seed=7, examples=8, steps=12, database=tmp_path))
    assert outcome.failures == []
    assert outcome.flaky == []
    told = outcome.figures()
    assert told["examples"] >= 8
    assert told["steps"] == sum(outcome.kinds.values()) == sum(outcome.transitions.values())


@pytest.mark.programs
@pytest.mark.parametrize("place", [Nads, ClusterView])
def test_an_error_that_nobody_foresaw_is_a_failure_with_a_file(engine, tmp_path: Path, monkeypatch, place):
    """In a reconciler, which tries again and again; in a callback, which is passed over."""

    def fail(*_args: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(place, "reconcile" if place is Nads else "network_changed", fail)
    outcome = campaign.run(engine, Plan(seed=3, examples=30, steps=10, stop_at_first=True))
    (failure,) = outcome.failures
    assert failure.rules == ("fails-as-foreseen",)
    assert "nobody thought of this" in failure.evidence[0]
    path = exporting.write(tmp_path, failure, Origin("model"))
    assert replaying.once(path, engine).state is State.STILL_FAILS
    monkeypatch.undo()
    assert replaying.once(path, engine).state is State.FIXED


@pytest.mark.programs
def test_an_engine_that_fails_is_a_failure_and_no_end():
    class Broken(SimulatedEngine):
        def do(self, step: steps.Step) -> None:
            if isinstance(step, steps.MakeNetwork):
                raise KeyError(step.network)
            super().do(step)

    broken = Broken()
    outcome = campaign.run(broken, Plan(seed=3, examples=60, steps=10))
    broken.close()
    assert outcome.failures
    assert {failure.rules for failure in outcome.failures} == {("fails-as-foreseen",)}
    assert outcome.examples >= 3


def test_an_example_that_the_end_cuts_short_is_no_failure_that_did_not_come_again(engine, monkeypatch):
    """Hypothesis compares it with an earlier one that began alike, and finds that it draws less."""
    ended = False

    def cut_short(*_args: object, **_named: object) -> None:
        nonlocal ended
        ended = True
        raise Flaky("Inconsistent data generation!")

    monkeypatch.setattr(campaign, "run_state_machine_as_test", cut_short)
    outcome = campaign.run(engine, Plan(), stop=lambda: ended)
    assert (outcome.interrupted, outcome.flaky) == (True, [])


def test_steps_are_written_and_read_again():
    for _, way in WAYS.values():
        for step in way:
            assert steps.from_data(steps.to_data(step)) == step
