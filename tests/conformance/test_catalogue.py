"""The catalogue as data: what is read, what is refused and how that is told."""

import re
from pathlib import Path

import pytest

from conformance import catalogue
from conformance.catalogue import Catalogue, Lane, load
from conformance.profiles import Profile
from multinet.errors import InputError

HEAD = """
document: {id: doc, title: A document, versions: ["1.0", "1.1", "1.2"], source: here}
rows:
"""
ROW = (
    '  - {id: NPWG-1-a, section: "1", since: "1.0", level: MUST, scope: everyone, profiles: [core], '
    "lanes: [L0], statement: It holds.}\n"
)


def read(tmp_path: Path, rows: str) -> Catalogue:
    (tmp_path / "doc.yaml").write_text(HEAD + rows)
    return load(tmp_path)


def test_a_row_that_nobody_can_observe_says_why():
    for row in load():
        assert Lane.X not in row.lanes or row.untestable, f"{row.id} can't be observed, and says no reason"
        assert row.test or row.untestable, f"{row.id} says neither how it is observed nor why it is not"


def test_a_row_holds_from_its_first_to_its_last_version(tmp_path):
    rows = ROW.replace('since: "1.0"', 'since: "1.1", until: "1.1"')
    row = read(tmp_path, rows)["NPWG-1-a"]
    assert [row.holds_in(version) for version in ("1.0", "1.1", "1.2")] == [False, True, False]


def test_rows_are_found_by_profile(tmp_path):
    other = ROW.replace("1-a", "1-b").replace("[core]", "[status]")
    found = read(tmp_path, ROW + other)
    assert [row.id for row in found.of([Profile.STATUS])] == ["NPWG-1-b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROW + ROW, "doc.yaml: two rows are called NPWG-1-a"),
        (ROW.replace("MUST", "WILL"), "doc.yaml: NPWG-1-a: level: "),
        (ROW.replace("lanes: [L0], ", ""), "doc.yaml: NPWG-1-a: lanes: Field required"),
        (ROW.replace('"1.0"', '"2.0"'), "NPWG-1-a: doc has no version 2.0"),
        (ROW.replace("[core]", "[]"), "doc.yaml: NPWG-1-a: profiles: "),
        ("  - {", "doc.yaml: not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_row(tmp_path, rows, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read(tmp_path, rows)


def test_an_unknown_row_names_its_neighbours(tmp_path):
    with pytest.raises(InputError, match="rows of that section: NPWG-1-a"):
        read(tmp_path, ROW)["NPWG-1-z"]


def test_sections_sort_as_numbers():
    ids = ["NPWG-4.1.2.1.10-a", "NPWG-4.1.2.1.9-b", "NPWG-4.2-a", "NPWG-4-a"]
    assert sorted(ids, key=catalogue.sort_key) == [ids[3], ids[1], ids[0], ids[2]]
