"""Every row of the two readings has a test of its name or a reason in docs/dialects.md.

The readings: Contrail's sources, sections 1 to 4 (N.., P.., O.., D..); and of the multi-network standard
(NPWG) the core rows about selection (4), status (5), the default network (6), failing pods (7.2-a) and
restriction (7.4).
"""

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
STANDARD = {
    "4": "ab",
    "4.1": "abcdef",
    "4.1.1": "abcdef",
    "4.1.2": "abc",
    "4.1.2.1": "ab",
    "4.1.2.1.1": "abc",
    "4.1.2.1.2": "a",
    "4.1.2.1.3": "abcdefgh",
    "4.1.2.1.4": "abc",
    "4.1.2.1.5": "abcd",
    "4.1.2.1.7": "abcdefgh",
    "4.1.2.1.8": "abcdefghi",
    "4.1.2.1.9": "abcdefghi",
    "4.1.2.1.11": "bc",
    "4.2": "abcd",
    "5": "abc",
    "5.1": "ab",
    "5.2": "abc",
    "5.3": "a",
    "5.3.1": "abc",
    "5.3.2": "a",
    "5.3.3": "ab",
    "5.3.4": "ab",
    "5.3.5": "ab",
    "5.3.6": "a",
    "5.3.6.1": "a",
    "5.3.6.2": "a",
    "5.3.6.3": "a",
    "5.3.6.4": "a",
    "5.x": "abcd",
    "6": "abcd",
    "6.1": "ab",
    "6.1.2": "ab",
    "6.2": "a",
    "7.2": "a",
    "7.4": "ab",
}
STANDARD_ROWS = [f"NPWG-{section}-{letter}" for section, letters in STANDARD.items() for letter in letters]


def names_of_tests():
    for path in (ROOT / "tests").glob("*/test_*.py"):
        yield from re.findall(r"def (test_\w+)", path.read_text())


def rows_of_tests():
    """Rows named by tests: ``test_N24_N27_an_unused_network`` names two."""
    found = set()
    for name in names_of_tests():
        found |= {row.replace("_", "-") for row in re.findall(r"(?<=_)(?:[NPOD]\d+|P_M\d+)(?=_)", name)}
        found |= standard_rows_of(name)
    return found


def standard_rows_of(name):
    """``test_NPWG_5_2_b_c_5_x_a_exactly_one`` names 5.2-b, 5.2-c and 5.x-a of the standard."""
    start = re.match(r"test_NPWG((?:_(?:\d+|[a-z])(?=_))+)", name)
    rows = re.findall(r"((?:_\d+)+(?:(?<=_5)_x)?)((?:_[a-w])+)", start[1]) if start else []
    return {
        f"NPWG-{section[1:].replace('_', '.')}-{letter}"
        for section, letters in rows
        for letter in letters.split("_")[1:]
    }


def excused():
    """Rows of the second table of the documentation; a letter alone belongs to the section before it."""
    text = (ROOT / "docs/dialects.md").read_text().partition("## Rows that can't be observed")[2]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    found = {row for cell in cells for row in re.findall(r"\b(?:[NPOD]\d+|P-M\d+|R\d+)", cell)}
    for section, letters in re.findall(r"NPWG ([\d.]+(?:\.x)?)-([a-z](?:, [a-z]\b)*)", " ".join(cells)):
        found |= {f"NPWG-{section}-{letter}" for letter in letters.split(", ")}
    return found


COVERED = rows_of_tests() | excused()


def test_how_names_are_read():
    assert standard_rows_of("test_NPWG_4_1_2_1_5_d_names_in_use") == {"NPWG-4.1.2.1.5-d"}
    assert standard_rows_of("test_NPWG_5_2_b_c_5_x_a_one") == {"NPWG-5.2-b", "NPWG-5.2-c", "NPWG-5.x-a"}
    assert standard_rows_of("test_NPWG_4_b_selected_networks") == {"NPWG-4-b"}


def test_no_row_of_the_standard_is_excused_that_has_a_test():
    assert not {row for row in excused() & rows_of_tests() if row.startswith("NPWG")}


@pytest.mark.parametrize("row", [*ROWS, *STANDARD_ROWS])
def test_row_has_a_test_or_a_reason(row):
    assert row in COVERED
