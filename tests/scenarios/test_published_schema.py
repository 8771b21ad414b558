"""The published JSON schema is the models' own, and the library's scenarios fit both."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from scenarios import positions
from scenarios.json_schema import SCHEMA_FILE, text
from scenarios.loader import load
from scenarios.schema import ACTIONS, seconds

LIBRARY = sorted((Path(__file__).parents[2] / "scenarios" / "library").glob("*.yaml"))


def test_the_published_schema_is_fresh() -> None:
    hint = "run: python -m scenarios.json_schema"
    assert SCHEMA_FILE.read_text(encoding="utf-8") == text(), hint


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_library_scenarios_fit(path: Path) -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    (document,) = positions.read(path)
    jsonschema.Draft202012Validator(schema).validate(document.value)
    assert load(path).name == path.stem


def test_a_step_with_two_actions_does_not_fit() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator({**schema["$defs"]["Step"], "$defs": schema["$defs"]})
    assert validator.is_valid({"name": "x", "matrix": {}})
    assert not validator.is_valid({"name": "x", "matrix": {}, "leftovers": {}})
    assert not validator.is_valid({"name": "x"})


def test_every_action_is_carried_out() -> None:
    from scenarios.actions import ACTIONS as CARRIED_OUT

    assert sorted(CARRIED_OUT) == sorted(ACTIONS)


@pytest.mark.parametrize(
    ("given", "expected"), [("500ms", 0.5), ("10s", 10.0), ("2m", 120.0), ("3", 3.0), (4, 4)]
)
def test_durations(given: object, expected: float) -> None:
    assert seconds(given) == expected
