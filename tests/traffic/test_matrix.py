"""The matrix: every outcome beside every expectation."""

from __future__ import annotations

import json
import random

import pytest

from traffic import matrix
from traffic.observation import Observation

A1, B1, B2 = ("ns/a", "eth1"), ("ns/b", "eth1"), ("ns/b", "eth2")


def seen(source, destination, outcome, **more) -> Observation:
    return Observation(*source, *destination, "udp", outcome, **more)


@pytest.mark.parametrize(
    ("expected", "observation", "verdict"),
    [
        (True, seen(A1, B1, "reached", seen_at=("ns/b/eth1",)), "pass"),
        (True, seen(A1, B1, "not-reached"), "fail"),
        (True, seen(A1, B1, "wrong-path", seen_at=("ns/b/eth2",)), "fail"),
        (True, seen(A1, B1, "unknown", reason="no-control"), "unknown"),
        (True, seen(A1, B1, "unknown", reason="interface-down"), "fail"),
        (True, seen(A1, B1, "unknown", reason="interface-missing"), "fail"),
        (False, seen(A1, B1, "not-reached", control=True), "pass"),
        (False, seen(A1, B1, "reached", seen_at=("ns/b/eth1",)), "fail"),
        (False, seen(A1, B1, "wrong-path", seen_at=("ns/b/eth1",)), "fail"),
        (False, seen(A1, B1, "wrong-path", seen_at=("ns/b/eth2",)), "fail"),
        (False, seen(A1, B1, "unknown", reason="interface-down"), "unknown"),
        (False, seen(A1, B1, "unknown", reason="capture-dropped", seen_at=("ns/b/eth1",)), "fail"),
        (None, seen(A1, B1, "reached"), "not-applicable"),
    ],
)
def test_verdicts(expected, observation, verdict):
    expectation = {} if expected is None else {observation.key: expected}
    result = matrix.build([observation], expectation)
    assert result.cells[0].verdict == verdict
    assert result.verdict == verdict


def test_arriving_where_the_source_may_go_breaks_no_isolation():
    stray = seen(A1, B2, "wrong-path", seen_at=("ns/b/eth1",))
    may = {(*A1, *B2, "udp"): False, (*A1, *B1, "udp"): True}
    assert matrix.judge(stray, may)[0] == "pass"
    assert matrix.judge(stray, {**may, (*A1, *B1, "udp"): False})[0] == "fail"


def test_an_expectation_without_observation_is_unknown():
    result = matrix.build([], {(*A1, *B1, "arp"): True})
    assert (result.verdict, result.cells[0].text) == ("unknown", "no observation")


def test_it_is_sorted_and_json_whatever_the_order():
    observations = [
        seen(source, destination, "reached")
        for source, destination in [(A1, B1), (B1, A1), (B2, A1), (A1, B2)]
    ]
    expectation = {one.key: True for one in observations}
    first = matrix.build(observations, expectation)
    random.Random(1).shuffle(observations)
    assert matrix.build(observations, expectation) == first
    assert first.rows == first.columns == ("ns/a/eth1", "ns/b/eth1", "ns/b/eth2")
    text = json.loads(json.dumps(first.to_json()))
    assert text["verdict"] == "pass"
    assert text["counts"] == {"pass": 4, "fail": 0, "unknown": 0, "not-applicable": 0}
    assert [cell["source"] for cell in text["cells"]] == ["ns/a", "ns/a", "ns/b", "ns/b"]
    assert first.cell((*A1, *B1, "udp")).outcome == "reached"


def test_one_failure_outweighs_unknown_and_pass():
    expectation = {(*A1, *B1, "udp"): True, (*A1, *B2, "udp"): True, (*B1, *A1, "udp"): True}
    observations = [seen(A1, B1, "reached"), seen(A1, B2, "unknown", reason="no-control")]
    assert matrix.build(observations, expectation).verdict == "unknown"
    observations.append(seen(B1, A1, "not-reached"))
    assert matrix.build(observations, expectation).verdict == "fail"


def test_compare_shows_the_changed_cell_and_no_other():
    expectation = {(*A1, *B1, "udp"): True, (*A1, *B2, "udp"): False}
    before = matrix.build([seen(A1, B1, "reached"), seen(A1, B2, "not-reached")], expectation)
    after = matrix.build([seen(A1, B1, "not-reached"), seen(A1, B2, "not-reached", attempts=2)], expectation)
    differences = matrix.compare(before, after)
    assert [one.key for one in differences] == [(*A1, *B1, "udp")]
    assert (differences[0].before.verdict, differences[0].after.verdict) == ("pass", "fail")
    assert matrix.compare(before, before) == ()
