"""Targets as engines: what is seen of one, what may differ from another, and what can be no engine."""

from __future__ import annotations

import pytest

from conformance.fuzz import engines, steps
from conformance.fuzz.abroad import FOLLOWS, NONSENSE, REASONS, Abroad
from conformance.fuzz.comparing import Asked, Difference, Facet
from conformance.fuzz.differential import Moment, Pair
from conformance.fuzz.seen import Seen, SeenAttachment, SeenPod
from conformance.fuzz.steps import ApplyNad, CreatePod, Pick
from conformance.fuzz.targetlook import Foreign, of_pods
from multinet.errors import InputError

A = Pick("default/a")
LARGE = ApplyNad("default/a", cidr="10.1.0.0/24")
WAITS = Difference(Facet.RUNNING, "default/p1", "no", "yes")
_, NOT_FREE, CHANGED = REASONS


def pod(key: str, *nads: str, running: bool = True) -> SeenPod:
    names = [("", "eth0"), *((nad, f"net{number}") for number, nad in enumerate(nads, 1))]
    recorded = tuple(SeenAttachment(nad, nad or "default", name, "", ()) for nad, name in names)
    return SeenPod(key, running, recorded if running else (), None, "", ())


def explained(*taken: steps.Step, left: SeenPod, parted: frozenset[str] = frozenset()) -> str:
    asked = Asked()
    for step in taken:
        asked.note(step)
    # The explanation asks nothing of the child process.
    return Abroad.explain(object.__new__(Abroad), WAITS, Moment(taken, asked, Seen({left.key: left}), parted))


def made(*picks: Pick, text: str = "") -> CreatePod:
    return CreatePod("default/p1", "node1", picks, text)


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        ([made(text='[{"name": "a", "ips": []}]')], NONSENSE),
        ([LARGE, made(Pick("default/a", ip="10.1.0.254"))], NOT_FREE),
        ([ApplyNad("default/a", cidr="10.2.0.0/29"), made(A, A, A, A, A)], NOT_FREE),
        ([ApplyNad("default/a", cidr="10.2.0.0/29"), made(A, A, A, A)], ""),
        (
            [LARGE, ApplyNad("default/a", cidr="10.3.0.0/24"), made(A)],
            CHANGED,
        ),
        ([LARGE, made(A)], ""),
        ([made(A)], ""),
    ],
)
def test_why_a_pod_may_wait_here_and_run_there(taken, why):
    assert explained(*taken, left=pod("default/p1", running=False)) == why


def test_that_a_pod_runs_here_alone_is_explained_by_another_that_differs_in_its_network():
    taken = (LARGE, CreatePod("default/p2", "node1", (A,)), made(A))
    here = pod("default/p1", "default/a")
    assert explained(*taken, left=here) == ""
    assert explained(*taken, left=here, parted=frozenset({"default/p2"})) == FOLLOWS


class Still:
    """A world that shows the same whatever is done."""

    name, exact = "the other", False
    explain = Abroad.explain

    def __init__(self, *pods: SeenPod) -> None:
        self._seen = Seen({pod.key: pod for pod in pods})

    def do(self, step):
        pass

    def observe(self):
        return self._seen


def test_a_difference_may_follow_from_one_that_is_seen_at_the_same_moment_behind_it():
    """A pod that runs there alone took its time: it is a difference when the next pod is one as well."""
    left = Still(pod("default/p1", "default/a"), pod("default/p3", running=False))
    right = Still(pod("default/p1", running=False), pod("default/p3", "default/a", "default/a"))
    two = Pair(left, right)
    two.left = right  # nothing to be seen yet
    for step in (ApplyNad("default/a", cidr="10.2.0.0/29"), CreatePod("default/p3", "node2", (A,) * 5)):
        two.do(step)
    two.left = left
    two.do(made(A))
    assert two.observe().differs == ()
    assert list(two.explained) == [NOT_FREE, FOLLOWS]


def test_names_of_namespaces_are_the_fuzzers():
    foreign = Foreign({"default": "multinet-fuzz-1", "other": "multinet-fuzz-2"})
    assert foreign.told('[{"name": "multinet-fuzz-2/a"}]') == '[{"name": "other/a"}]'


def test_an_address_belongs_to_who_has_it_first():
    one = SeenPod(
        "default/p1", True, (SeenAttachment("", "default", "eth0", "", ("10.0.0.1",)),), None, "", ()
    )
    assert of_pods([one], frozenset()).owners == {("default", "10.0.0.1"): "default/p1"}


@pytest.mark.parametrize(
    ("name", "against", "why"),
    [
        ("target:nobody", "", "no target"),
        ("target:multinet-cni", "", "has no Kubernetes API"),
        ("elsewhere", "", "no engine"),
        ("model", "target:reference", "held against a lab"),
    ],
)
def test_what_can_be_no_engine_is_wrong_use(tmp_path, name, against, why):
    with pytest.raises(InputError, match=why):
        engines.make(name, tmp_path, against=against)
