"""The reference as any other target: the same rules hold, a planted bug breaks one, and two of them agree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.fuzz import steps
from conformance.fuzz.abroad import NONSENSE, Abroad
from conformance.fuzz.differential import Pair
from conformance.fuzz.machine import Driver
from conformance.fuzz.shrink import replay
from conformance.fuzz.steps import ApplyNad, CreatePod, Pick
from multinet.model.planted import VARIABLE

pytestmark = pytest.mark.lab
MULTUS = Path(os.environ.get("MULTUS", "/opt/cni/bin/multus"))
A, B, OTHER = Pick("default/a"), Pick("default/b"), Pick("other/a")
ORDER = (
    ApplyNad("default/a", cidr="10.1.0.0/24"),
    ApplyNad("default/b", cidr="10.3.0.0/24,fd00:3::/64"),
    CreatePod("default/p1", "node1", (A, B)),
    CreatePod("default/p2", "node2", (B, A)),
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    made = Abroad("target:reference", tmp_path_factory.mktemp("reference"))
    yield made
    made.close()


def test_what_users_do_breaks_nothing_with_the_reference(reference):
    driver = Driver(reference)
    walk = [
        *ORDER,
        CreatePod("other/p1", "node1", (OTHER,)),
        ApplyNad("other/a", cidr="10.2.0.0/29"),
        CreatePod("default/p3", "node2", text="a,,b"),
        steps.EditSelection("default/p3", (Pick("default/a", interface="net1", ip="10.1.0.10"),)),
        steps.RestartController(),
        steps.RestartAgent("node2"),
        steps.DeleteNad("default/a"),
        steps.DeletePod("default/p1"),
        steps.Elapse(),
    ]
    for step in walk:
        driver.take(step)
    seen = reference.observe()
    assert {key for key, pod in seen.pods.items() if pod.running} == {"default/p2", "default/p3", "other/p1"}
    assert [item.interface for item in seen.pods["default/p3"].recorded] == ["eth0", "net1"]
    assert all(pod.kernel for pod in seen.pods.values())
    assert {kind for kind in steps.KINDS if reference.supports(kind)} == {type(step) for step in walk}
    driver.finish()
    assert reference.observe().pods == {}


def test_a_planted_bug_of_a_target_breaks_its_rule(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "order-by-hash")
    engine = Abroad("target:reference", tmp_path)
    broken = replay(engine, ORDER)
    engine.close()
    assert broken is not None
    assert {item.rule for item in broken.violations} == {"attached-as-selected"}


def test_multus_does_the_same_or_a_row_explains_it(reference, tmp_path):
    if not os.access(MULTUS, os.X_OK):
        pytest.skip(f"{MULTUS} is not there: set MULTUS to the executable of the thin plugin")
    engine = Pair(reference, Abroad(f"target:multus-lab:{MULTUS}", tmp_path))
    nonsense = CreatePod("default/p3", "node1", text='[{"name": "a", "ips": []}]')
    broken = replay(engine, (*ORDER, nonsense, steps.DeletePod("default/p2")))
    engine.right.close()
    assert broken is None
    assert list(engine.explained) == [NONSENSE]
