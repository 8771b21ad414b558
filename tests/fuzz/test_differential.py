"""Two dialects of the reference: what differs is explained by a decision, and a bug on one side is not."""

from __future__ import annotations

import dataclasses

import pytest

from conformance.fuzz import campaign, engines, exporting, replaying, steps
from conformance.fuzz.campaign import Plan
from conformance.fuzz.dialects import SHOWS, OtherDialect
from conformance.fuzz.differential import Pair
from conformance.fuzz.exporting import Origin
from conformance.fuzz.replaying import State
from conformance.fuzz.shrink import replay
from conformance.fuzz.simulated import SimulatedEngine
from conformance.fuzz.steps import CreatePod, Pick
from multinet.errors import InputError
from multinet.model.dialect import CONTRAIL_CLASSIC, DEFAULT, Dialect
from multinet.model.planted import plant

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures("errors_unlogged")]

CLASSIC = CONTRAIL_CLASSIC.name
A = Pick("default/a")
NAD = steps.ApplyNad("default/a", cidr="10.2.0.0/29")


class Forgetful(SimulatedEngine):
    """Nodes are not told of members that are gone."""

    def do(self, step):
        with plant("stale-fdb"):
            super().do(step)


def pair(make=SimulatedEngine):
    return Pair(SimulatedEngine(), OtherDialect(make, DEFAULT, CONTRAIL_CLASSIC))


def test_each_decision_says_where_it_shows():
    assert list(SHOWS) == [field.name for field in dataclasses.fields(Dialect) if field.name != "name"]


@pytest.mark.parametrize(
    ("sequence", "decision"),
    [
        ([CreatePod("default/p1", "node1")], "controller_writes_status"),
        ([steps.ApplyNad("default/a", cidr="10.3.0.0/24,fd00:3::/64")], "cidr_grammar"),
        ([CreatePod("default/p1", "node1", (A,))], "grammar and skip_unknown_networks"),
        ([CreatePod("default/p1", "node1", text="a,,b")], "grammar"),
        ([NAD, steps.ApplyNad("default/a", cidr="10.1.0.0/24")], "networks_keep_first_definition"),
        ([NAD, CreatePod("default/p1", "node1", (A,)), steps.DeleteNad("default/a")], ""),
        (
            [NAD, CreatePod("default/p1", "node1", (Pick("default/a", interface="eth0"),))],
            "interface_names_may_clash",
        ),
    ],
)
def test_a_known_difference_is_explained_by_its_decision(sequence, decision):
    engine = pair()
    assert replay(engine, tuple(sequence)) is None
    found = engine.report()["explained"]
    engine.close()
    if decision:
        example = found[f"docs/dialects.md: {decision}"]["example"]
        assert example["steps"] == [steps.to_data(step) for step in sequence]
        assert example["left"] != example["right"]
    else:
        # Deleted in use: it goes with its last user, or not at all.
        assert "docs/dialects.md: orphan_networks_in_use" in found


def test_a_bug_of_one_side_is_not_explained():
    engine = pair(Forgetful)
    broken = replay(engine, (CreatePod("default/p1", "node1"), steps.DeletePod("default/p1")))
    engine.close()
    assert broken is not None
    ((rule, evidence),) = ((item.rule, item.evidence) for item in broken.violations)
    assert rule == "targets-agree"
    assert "nothing explains forwarding: nothing | node" in evidence
    assert f"; {CLASSIC} networks" in evidence


def test_a_bug_of_one_side_is_found_cut_short_exported_and_replayed(tmp_path):
    engine, mended = pair(Forgetful), pair()
    # The seed is near the find, to keep this short.
    outcome = campaign.run(engine, Plan(seed=3, examples=100, steps=4, stop_at_first=True))
    (failure,) = outcome.failures
    assert failure.rules == ("targets-agree",)
    assert [step.name for step in failure.steps] == ["create-pod", "delete-pod"]
    path = exporting.write(tmp_path, failure, Origin("model", CLASSIC))
    assert exporting.read(path).against == CLASSIC
    assert f"on engine model against {CLASSIC}" in path.read_text()
    assert replaying.once(path, engine).state is State.STILL_FAILS
    assert replaying.once(path, mended).state is State.FIXED
    assert [item.state for item in replaying.again([path], "model")] == [State.FIXED]
    engine.close()
    mended.close()


@pytest.mark.parametrize(
    ("name", "against", "why"),
    [
        ("model", "default", "nothing to hold"),
        ("model", "x", "nothing to hold"),
        ("lab", CLASSIC, "--engine"),
    ],
)
def test_what_can_not_be_compared_is_wrong_use(name, against, why):
    with pytest.raises(InputError, match=why):
        engines.make(name, against=against)
