"""Folding events into a run: verdicts, prefixes of a log, order of rows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from reports import junit
from reports.events import Event
from reports.matrix import arrange
from reports.model import Cell, fold
from reports.verdicts import Verdict, combine, combine_statuses, exit_status


def test_a_failed_cell_fails_the_run(recorded: list[Event]) -> None:
    report = fold(recorded)
    assert (report.verdict, report.exit_status) == (Verdict.FAIL, 1)
    assert [step.verdict for step in report.steps] == ["pass", "fail", "pass"]
    assert report.lab_ready_s == 0.9
    assert [(cell.source, cell.protocol, cell.verdict) for cell in report.cells] == [
        ("default/a", "arp", "pass"),
        ("default/a", "udp", "fail"),
        ("default/b", "arp", "pass"),
        ("default/b", "udp", "pass"),
    ]


def test_rows_do_not_depend_on_the_order_of_observations(recorded: list[Event]) -> None:
    shuffled = list(recorded)
    places = [index for index, event in enumerate(shuffled) if event.kind == "observation"]
    found = [shuffled[index] for index in places]
    random.Random(1).shuffle(found)
    for index, event in zip(places, found, strict=True):
        shuffled[index] = replace(event, seq=shuffled[index].seq, time=shuffled[index].time)
    assert fold(shuffled) == fold(recorded)


def test_every_prefix_of_a_log_is_a_run(recorded: list[Event]) -> None:
    for length in range(len(recorded)):
        report = fold(recorded[:length])
        assert report.verdict is Verdict.COULD_NOT_RUN
        assert report.exit_status == (1 if any(s.verdict == "fail" for s in report.steps) else 3)


def test_a_step_cut_short_is_not_run(recorded: list[Event]) -> None:
    report = fold(recorded[:12])
    assert [step.verdict for step in report.steps] == ["pass", "not run", "not run"]
    assert report.steps[1].reason == "the run ended while this step was under way"


def test_interrupted_is_said_and_is_no_pass(recorded: list[Event]) -> None:
    ended = Event(8, recorded[7].time, "run-finished", {"verdict": "interrupted", "reason": "interrupted"})
    report = fold([*recorded[:7], ended])
    assert (report.verdict, report.exit_status) == (Verdict.INTERRUPTED, 3)


def test_a_role_that_dies_by_itself_fails_the_run() -> None:
    died = {"role": "vrouter", "node": "node1", "status": 1, "expected": False}
    events = [
        Event(1, 1.0, "run-started", {"steps": [{"name": "probe"}]}),
        Event(2, 2.0, "role-exited", died),
        Event(3, 3.0, "role-exited", {**died, "node": "node2", "expected": True}),
        Event(4, 4.0, "step-finished", {"index": 0, "verdict": "pass"}),
        Event(5, 5.0, "run-finished", {"verdict": "pass"}),
    ]
    report = fold(events)
    assert (report.verdict, report.exit_status) == (Verdict.FAIL, 1)
    assert report.reason == "node1: vrouter ended without being asked to, with status 1"
    assert b"ended without being asked" in junit.render(report)


@pytest.mark.parametrize(
    ("verdicts", "expected", "status"),
    [
        (["pass", "pass"], "pass", 0),
        (["pass", "unknown", "could not run", "fail"], "fail", 1),
        (["pass", "unknown", "could not run"], "could not run", 3),
        (["pass", "unknown"], "unknown", 10),
        ([], "unknown", 10),
    ],
)
def test_combining_verdicts(verdicts: list[str], expected: str, status: int) -> None:
    combined = combine(Verdict(verdict) for verdict in verdicts)
    assert (combined, exit_status(combined)) == (expected, status)


def test_combining_exit_statuses() -> None:
    assert [combine_statuses(found) for found in ([0, 10], [10, 3], [3, 1], [1, 2], [0, 0], [])] == [
        10,
        3,
        1,
        2,
        0,
        3,
    ]


def test_what_only_was_a_destination_is_a_column_and_no_row() -> None:
    cells = [
        Cell(source, "eth1", destination, name, "arp", "reached", "reached", Verdict.PASS)
        for source, destination, name in (
            ("ns/a", "ns/b", "eth1"),
            ("ns/b", "ns/a", "eth1"),
            ("ns/a", "network", "gateway"),
        )
    ]
    grid = arrange(cells, "m")
    assert [end.pod for end in grid.sources] == ["ns/a", "ns/b"]
    assert [end.interface for end in grid.ends] == ["eth1", "eth1", "gateway"]
    assert [[pair is not None for pair in row] for row in grid.rows] == [
        [False, True, True],
        [True, False, False],
    ]
