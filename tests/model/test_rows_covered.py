"""Every row of the reading of Contrail's sources, sections 1 to 4, has a test of its name or a reason."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    *(f"N{number}" for number in range(1, 35)),
    *(f"P{number}" for number in range(1, 24)),
    *(f"P-M{number}" for number in range(1, 6)),
    *(f"O{number}" for number in range(1, 11)),
    *(f"D{number}" for number in range(1, 12)),
]


def rows_of_tests():
    """Rows named by tests: ``test_N24_N27_an_unused_network`` names two."""
    found = set()
    for path in (ROOT / "tests").glob("*/test_*.py"):
        for name in re.findall(r"def (test_\w+)", path.read_text()):
            found |= {row.replace("_", "-") for row in re.findall(r"(?<=_)(?:[NPOD]\d+|P_M\d+)(?=_)", name)}
    return found


def excused():
    """Rows of the second table of the documentation."""
    text = (ROOT / "docs/dialects.md").read_text().partition("## Rows that can't be observed")[2]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {row for cell in cells for row in re.findall(r"[NPOD]\d+|P-M\d+|R\d+", cell)}


COVERED = rows_of_tests() | excused()


@pytest.mark.parametrize("row", ROWS)
def test_row_has_a_test_or_a_reason(row):
    assert row in COVERED
