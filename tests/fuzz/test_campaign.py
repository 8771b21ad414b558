"""Campaigns: what they share, when they end, what they leave out, and what they say they covered."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import pytest

from conformance.fuzz import campaign, report, steps
from conformance.fuzz.campaign import Plan
from conformance.fuzz.choosing import Choosing
from multinet.model.planted import plant

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures("errors_unlogged")]


def test_a_failure_in_the_database_is_tried_first_by_whoever_shares_it(engine, tmp_path):
    with plant("del-skipped"):
        first = campaign.run(engine, Plan(seed=1, examples=200, stop_at_first=True, database=tmp_path))
        again = campaign.run(engine, Plan(seed=77, examples=1, database=tmp_path))
        alone = campaign.run(engine, Plan(seed=77, examples=1))
    assert [len(outcome.failures) for outcome in (first, again, alone)] == [1, 1, 0]
    assert again.failures[0].steps == first.failures[0].steps


def test_it_ends_after_the_step_at_which_it_is_asked_to(engine):
    asked = itertools.count()
    outcome = campaign.run(engine, Plan(budget_s=3600.0), stop=lambda: next(asked) >= 5)
    assert outcome.interrupted
    assert outcome.steps == 5


def test_a_budget_ends_it_and_is_no_interrupt(engine, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(campaign, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    outcome = campaign.run(engine, Plan(budget_s=40.0, examples=1))
    assert (outcome.interrupted, outcome.failures) == (False, [])
    assert 30 < outcome.steps < 40


@pytest.mark.parametrize(("swarm", "chosen"), [(True, {1, 3}), (False, {0, 1, 2, 3})])
def test_with_swarm_an_example_does_without_some_of_the_rules(swarm, chosen):
    rules = [SimpleNamespace(preconditions=(), number=number, function=print) for number in range(4)]
    machine = SimpleNamespace(_rules_strategy=SimpleNamespace(rules=rules), WEIGHTS={}, number=0)
    choosing = Choosing(machine, swarm=swarm)
    numbers = random.Random(0)
    subset = bytes((100, 99, 100, 99, 101)).ljust(64, b"\0")
    data = SimpleNamespace(draw_bytes=lambda size, _most: subset if size == 64 else numbers.randbytes(size))
    assert {choosing.do_draw(data)[0].number for _ in range(50)} == chosen


def test_the_report_says_what_was_covered(engine):
    plan = Plan(seed=2, examples=3, steps=10)
    outcome = campaign.run(engine, plan)
    value = report.tree("model", plan, outcome, {})
    coverage = value["coverage"]
    assert coverage["kinds"].keys() == steps.BY_NAME.keys()
    assert sum(coverage["kinds"].values()) == sum(coverage["transitions"].values()) == outcome.steps
    assert 0 < len(coverage["states"]) <= outcome.steps
    text = report.text(value)
    for told in ("kinds of step:", "transitions: ", "model states: ", "never taken: ", "0 failures, 0 flaky"):
        assert told in text
