"""The dialect object, the code that asks it, and its table in the documentation: all three in step."""

import dataclasses
import re
from pathlib import Path

import pytest

from multinet.model import dialect
from multinet.model.dialect import CONTRAIL_CLASSIC, DEFAULT, Dialect

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = [field.name for field in dataclasses.fields(Dialect) if field.name != "name"]
SOURCES = [
    path.read_text()
    for folder in ("model", "controller")
    for path in sorted((ROOT / "multinet" / folder).glob("*.py"))
    if path.name != "dialect.py"
]


def table():
    """Decision -> (documented, standard, classic, default, why)."""
    text = (ROOT / "docs/dialects.md").read_text()
    rows = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


@pytest.mark.parametrize("decision", DECISIONS)
def test_each_decision_is_consulted(decision):
    asked = re.compile(rf"dialect\.{decision}\b")
    assert any(asked.search(source) for source in SOURCES)


def test_no_code_asks_for_a_dialects_name():
    for source in SOURCES:
        assert "dialect.name" not in source.replace("dialect.DEFAULT.name", "")
        assert "contrail-classic" not in source


@pytest.mark.parametrize("decision", DECISIONS)
def test_the_dialects_differ_in_each_decision_and_the_table_says_how(decision):
    cells = table()[decision]
    assert len(cells) == 5
    classic, default = getattr(CONTRAIL_CLASSIC, decision), getattr(DEFAULT, decision)
    assert classic != default
    assert cells[2].startswith(f"`{classic}`")
    assert cells[3].startswith(f"`{default}`")
    assert all(cell.strip() for cell in cells)


def test_the_table_has_no_other_decisions():
    assert list(table()) == DECISIONS


def test_dialects_are_found_by_name_and_can_not_be_changed():
    assert set(dialect.DIALECTS) == {"default", "contrail-classic"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.tells_users = False
