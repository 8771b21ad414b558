"""The lab engine: each planted bug breaks its rule in a real lab too, and nothing breaks without it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from conformance.fuzz import campaign, engines, exporting, replaying, steps
from conformance.fuzz.campaign import Plan
from conformance.fuzz.machine import Driver
from conformance.fuzz.replaying import State
from conformance.fuzz.steps import CreatePod
from multinet.model.planted import BUGS, VARIABLE
from tests.fuzz.ways import NAD, OTHER, A

pytestmark = pytest.mark.lab
# What `./lab fuzz --bug NAME` exported, by the model engine.
PLANTED = Path(__file__).with_name("planted")
REGRESSIONS = Path(exporting.__file__).with_name("regressions")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    made = engines.make("lab", tmp_path_factory.mktemp("lab"))
    yield made
    made.close()
    # A lab's fabric goes with its namespaces; here they are those of all lab tests of this worker.
    subprocess.run(["ip", "link", "delete", "fabric"], check=True)


def test_it_can_do_all_but_spoil_the_connection(engine):
    assert [kind for kind in steps.KINDS if not engine.supports(kind)] == [steps.LoseAnswers]


def test_a_walk_through_every_kind_of_step_breaks_nothing(engine):
    driver = Driver(engine)
    walk = [
        NAD,
        CreatePod("default/p1", "node1", (A,)),
        CreatePod("default/p2", "node2", (A, A)),
        steps.EditSelection("default/p1"),
        steps.DamageStatus("default/p1"),
        *(steps.RepeatCall("default/p1", verb) for verb in ("ADD", "CHECK", "DEL")),
        steps.RestartAgent("node1"),
        steps.RestartController(),
        steps.Reboot("node1"),
        steps.DeleteNad("default/a"),
        steps.MakeNetwork("blue", "10.1.0.0/24"),
        steps.ApplyNad("other/a", maps_to="blue"),
        CreatePod("other/p1", "node1", (OTHER,)),
        steps.RemoveNetwork("blue"),
        steps.Cut("node1"),
        steps.DeletePod("other/p1"),
        steps.RestartAgent("node1"),
        steps.Heal("node1"),
        steps.RefuseDevices("node2", True),
        CreatePod("other/p1", "node2", (OTHER,)),
        steps.Elapse(1),
        steps.DeletePod("default/p2", grace=0),
    ]
    for step in walk:
        driver.take(step)
    assert not engine.observe().pods["other/p1"].running
    driver.finish()
    assert driver.model.pods == {}
    assert {type(step) for step in walk} == set(steps.KINDS) - {steps.LoseAnswers}


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_what_the_model_engine_exported_still_fails_with_the_planted_bug(engine, bug):
    engine.reset()
    try:
        os.environ[VARIABLE] = bug
        engine.renew()
        result = replaying.once(PLANTED / f"{bug}.yaml", engine)
    finally:
        del os.environ[VARIABLE]
        engine.renew()
    assert result.state is State.STILL_FAILS
    assert exporting.read(result.file).rules[0] in result.why


def test_without_the_bugs_the_same_files_are_fixed_and_so_are_the_regressions(engine):
    engine.reset()
    planted = sorted(PLANTED.glob("*.yaml"))
    assert [path.stem for path in planted] == sorted(BUGS)
    found = [replaying.once(path, engine) for path in (*planted, *replaying.files([REGRESSIONS]))]
    assert [item for item in found if item.state is not State.FIXED] == []


def test_a_short_campaign_finds_nothing(engine):
    outcome = campaign.run(engine, Plan(seed=1, examples=3, steps=15))
    assert outcome.failures == []
    assert outcome.flaky == []
