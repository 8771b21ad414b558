"""From failure to file and back: the same plan, a file that a lab takes, or that says why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.fuzz import exporting, replaying, steps
from conformance.fuzz.campaign import Failure
from conformance.fuzz.exporting import Origin
from conformance.fuzz.judge import RULES
from conformance.fuzz.machine import BAD_SELECTIONS, CIDRS, INTERFACES, IPS, MACS, MADE, NAD_KEYS, POD_KEYS
from conformance.fuzz.model import Model
from conformance.fuzz.replaying import State
from conformance.fuzz.steps import CreatePod, Pick, Step
from multinet.errors import InputError
from multinet.model.planted import plant
from scenarios import loader
from scenarios.errors import InvalidScenarioError

REGRESSIONS = Path(exporting.__file__).with_name("regressions")
A = Pick("default/a")
NAD = steps.ApplyNad("default/a", cidr="10.2.0.0/29")

_keys, _pods, _nodes = map(st.sampled_from, (NAD_KEYS, POD_KEYS, steps.NODES))
_picks = st.lists(
    st.builds(
        Pick,
        _keys,
        interface=st.sampled_from(("", *INTERFACES)),
        ip=st.sampled_from(("", *IPS)),
        mac=st.sampled_from(("", *MACS)),
    ),
    max_size=3,
).map(tuple)
_networks, _blocks = st.sampled_from(MADE), st.sampled_from(CIDRS)
_step = st.one_of(
    st.builds(steps.ApplyNad, _keys, cidr=_blocks),
    st.builds(steps.ApplyNad, _keys, maps_to=_networks),
    st.builds(steps.ApplyNad, _keys, cidr=_blocks, broken=st.sampled_from(("config", "foreign"))),
    st.builds(steps.DeleteNad, _keys),
    st.builds(steps.MakeNetwork, _networks, _blocks),
    st.builds(steps.RemoveNetwork, _networks),
    st.builds(CreatePod, _pods, _nodes, _picks),
    st.builds(CreatePod, _pods, _nodes, text=st.sampled_from(BAD_SELECTIONS)),
    st.builds(steps.EditSelection, _pods, _picks),
    st.builds(steps.DamageStatus, _pods),
    st.builds(steps.DeletePod, _pods, st.sampled_from((0, 1))),
    st.builds(steps.RestartController),
    *(st.builds(kind, _nodes) for kind in (steps.RestartAgent, steps.Reboot, steps.Cut, steps.Heal)),
    st.builds(steps.RepeatCall, _pods, st.sampled_from(("ADD", "DEL", "CHECK"))),
    st.builds(steps.RefuseDevices, _nodes, st.booleans()),
    st.builds(steps.LoseAnswers, st.booleans()),
    st.builds(steps.Elapse),
)


def failure(*sequence: Step, rule: str = "nothing-is-left") -> Failure:
    return Failure(7, (rule,), ("what was seen:\n  two lines",), sequence)


def exported(folder: Path, *sequence: Step, rule: str = "nothing-is-left") -> Path:
    return exporting.write(folder, failure(*sequence, rule=rule), Origin("model", versions={"multinet": "1"}))


def possible(sequence: list[Step]) -> tuple[Step, ...]:
    """Those that the model allows, with pods that can be attached taken for attached."""
    model, taken = Model(), []
    for step in sequence:
        if model.allows(step):
            model.apply(step)
            taken.append(step)
    return tuple(taken)


@given(st.lists(_step, min_size=1, max_size=8).map(possible).filter(bool), st.sampled_from(sorted(RULES)))
def test_what_is_written_is_read_as_the_same_plan(tmp_path_factory, sequence, rule):
    path = exported(tmp_path_factory.mktemp("files"), *sequence, rule=rule)
    plan = exporting.read(path)
    assert (plan.sequence, plan.rules, plan.dialect) == (sequence, (rule,), "default")
    left_out = loader.read(path).spec.fuzz.left_out
    assert wrong_with(path) == ([f"a scenario has no step for {', '.join(left_out)}"] if left_out else [])


def wrong_with(path: Path) -> list[str]:
    try:
        loader.load(path)
    except InvalidScenarioError as error:
        return [finding.what for finding in error.findings]
    return []


def test_a_file_has_checks_for_what_must_be_and_what_must_not(tmp_path):
    path = exported(
        tmp_path,
        NAD,
        CreatePod("default/p1", "node1", (A, A)),
        CreatePod("default/p2", "node1", (A, A, A)),
        steps.DeletePod("default/p1"),
    )
    body = {step.name: step.step for step in loader.load(path).steps}
    assert body["2. each has what it selected"].check.attachments == {"default/p1": ["default/a"] * 2}
    assert body["3. what ran is as it was"].check.unchanged
    assert [one.pod for one in body["3. what can't be attached waits"].check.pending] == ["default/p2"]
    assert body["4. they run"].wait.pods == ["default/p2"]
    assert "4. nothing is left of what is gone" in body
    header = path.read_text().partition("apiVersion")[0]
    for told in ("seed 7", "multinet 1", "Verdict: fail", "Rule nothing-is-left", "two lines"):
        assert told in header


def test_who_comes_first_is_not_foretold(tmp_path):
    path = exported(
        tmp_path,
        NAD,
        CreatePod("default/p1", "node1", (A,) * 4),
        CreatePod("default/p2", "node1", (A,) * 4),
        CreatePod("default/p3", "node2", (A,) * 4),
        steps.DeletePod("default/p1"),
    )
    names = [step.name for step in loader.load(path).steps]
    assert "4. what can't be attached waits" in names
    assert [name for name in names if name.startswith("5.")] == [
        "5. delete pod",
        "5. nothing is left of what is gone",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind: Pod", "this is not a scenario"),
        ("{sequence: [{step: fly}]}", "a step that can't be read"),
        ("{sequence: [{step: cut, node: node1, far: 1}]}", "a step that can't be read"),
        ("", "has no spec.fuzz"),
    ],
)
def test_a_file_that_can_not_be_replayed_is_an_error(tmp_path, text, why):
    path = tmp_path / "bad.yaml"
    if text.startswith("kind"):
        path.write_text(text)
    else:
        fuzz = text.replace("{seq", "{rules: [x], seq")
        path.write_text(
            "apiVersion: multinet.opencontrail.org/v1alpha1\nkind: Scenario\nmetadata: {name: bad}\n"
            "spec:\n  steps: [{name: one, leftovers: {}}]\n" + (f"  fuzz: {fuzz}\n" if fuzz else "")
        )
    (result,) = replaying.again([path], "model")
    assert result.state is State.ERROR
    assert why in result.why


def test_a_directory_without_files_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no scenario file"):
        replaying.files([tmp_path])


def test_what_the_fuzzer_found_so_far_is_mended():
    found = list(replaying.again(replaying.files([REGRESSIONS]), "model"))
    assert found
    assert [f"{item.file.name}: {item.why}" for item in found if item.state is not State.FIXED] == []


def test_a_failure_is_told_until_it_is_mended(tmp_path):
    path = exported(tmp_path, CreatePod("default/p1", "node1"), steps.DeletePod("default/p1"))
    with plant("stale-fdb"):
        (broken,) = replaying.again([path], "model")
    (mended,) = replaying.again([path], "model")
    assert broken.state is State.STILL_FAILS
    assert "forwarding-is-current" in broken.why
    assert mended.state is State.FIXED
