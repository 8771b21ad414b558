"""The fault matrix of docs/faults.md: each cell of its table is what the test saw, and nothing was left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
VERBS = ("ADD", "DEL", "CHECK", "GC")
FAULTS = 12


def documented():
    """(verb, fault, outcome) of each cell of the table."""
    rows = re.findall(r"^\| (.+) \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    cells = [row.split(" | ") for row in rows]
    head = cells.index(["fault", *VERBS])
    return [
        (verb, row[0], outcome)
        for row in cells[head + 2 : head + 2 + FAULTS]
        for verb, outcome in zip(VERBS, row[1:], strict=True)
    ]


def seen(directory, what):
    """The lines of one run of the script, in a lab of its own."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SCRIPTS}"}
    argv = [sys.executable, str(SCRIPTS / "fault_matrix.py"), str(directory), what]
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """What was seen in each cell."""
    return {(each["verb"], each["fault"]): each for each in seen(tmp_path_factory.mktemp("lab"), "matrix")}


def test_the_table_has_every_cell_once():
    cells = [(verb, fault) for verb, fault, _ in documented()]
    assert len(set(cells)) == len(cells) == len(VERBS) * FAULTS


@pytest.mark.parametrize(("verb", "fault", "outcome"), documented())
def test_fault(cells, verb, fault, outcome):
    cell = cells[verb, fault]
    assert (cell["outcome"], cell["problems"]) == (outcome, [])


def test_an_agent_killed_at_any_point_leaves_all_or_nothing(tmp_path):
    """Around each batch of netlink requests and each change of a state file, of an ADD and of a DEL."""
    points = seen(tmp_path, "crashes")
    assert [each for each in points if each["problems"]] == []
    stood = {
        verb: [(each["outcome"], each["answered"]) for each in points if each["verb"] == verb]
        for verb in ("ADD", "DEL")
    }
    # An ADD that stands is one that was about to be answered; a DEL that had begun is carried on.
    assert stood["ADD"] == sorted(stood["ADD"], key=lambda each: each[0] != "nothing")
    assert stood["ADD"][0] == ("nothing", False)
    assert stood["ADD"][-1][0] == "all of it"
    assert stood["DEL"][0] == ("all of it", False)
    assert {outcome for outcome, _ in stood["DEL"][1:]} == {"nothing"}
    assert min(map(len, stood.values())) >= 8
