"""The writers: self-contained, well formed, sorted, and the same bytes when derived again."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from reports import html, json_report, junit, yaml_report
from reports.events import Event
from reports.model import fold
from reports.writers import WRITERS, derive

GOLDEN = Path(__file__).with_name("golden")


def write_log(folder: Path, events: list[Event]) -> None:
    (folder / "events.jsonl").write_text("".join(event.to_line() for event in events))


def test_deriving_again_gives_the_same_bytes(tmp_path: Path, recorded: list[Event]) -> None:
    write_log(tmp_path, recorded)
    derive(tmp_path)
    first = {name: (tmp_path / name).read_bytes() for name in WRITERS}
    derive(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in WRITERS} == first


def test_what_went_wrong_is_on_top_and_opened_and_the_rest_is_not(recorded: list[Event]) -> None:
    page = html.render(fold(recorded)).decode()
    head = page[: page.index("</header>")]
    assert re.findall(r'href="(#step-\d+)">([^<]*)</a>', head) == [("#step-2", "2. probe")]
    assert '<details id="step-2" open>' in page
    assert re.findall(r"<details( open)?><summary>(Pairs.*)</summary>", page) == [
        (" open", "Pairs not as expected: 1 of 2"),
        ("", "Pairs as expected: 1"),
    ]


@pytest.mark.parametrize("name", ["junit.xml", "report.yaml", "report.json"])
def test_golden(name: str, recorded: list[Event]) -> None:
    assert WRITERS[name](fold(recorded)).decode() == (GOLDEN / name).read_text(encoding="utf-8")


class _References(HTMLParser):
    """Everything a page would fetch or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action") and value:
                self.found.append(value)
            if name == "id" and value:
                self.ids.append(value)


def test_the_page_is_self_contained(recorded: list[Event]) -> None:
    page = html.render(fold(recorded)).decode()
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    references = _References()
    references.feed(page)
    local = {
        "events.jsonl",
        "report.json",
        "report.yaml",
        "junit.xml",
        "captures/step-02/default-a-eth1.pcap",
    }
    assert {found for found in references.found if not found.startswith("#")} == local
    anchors = {found[1:] for found in references.found if found.startswith("#")}
    assert anchors <= set(references.ids)
    assert len(references.ids) == len(set(references.ids))


def test_the_page_shows_verdict_drawing_and_cells(recorded: list[Event]) -> None:
    page = html.render(fold(recorded)).decode()
    assert "<title>fail: two-pods</title>" in page
    assert "Two pods &amp; one &lt;network&gt;." in page
    assert "default/a eth1 in left" in page
    assert "udp expected reached, observed not-reached" in page
    assert "should be reached: nothing arrived" in page


def test_a_run_that_never_started_has_a_page_too() -> None:
    page = html.render(fold([])).decode()
    assert "could not run" in page
    assert "a run that did not start" in page


def test_junit_is_well_formed_and_tells_rows(recorded: list[Event]) -> None:
    root = ElementTree.fromstring(junit.render(fold(recorded)))
    suite = root[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "2", "0")
    names = [case.get("name") for case in suite.iter("testcase")]
    assert "02 probe / from default/a:eth1" in names
    failure = next(suite.iter("failure"))
    assert "two-pods.yaml:20" in (failure.text or "")
    assert "ping #x1B[31mred#x00 <done>" in "".join(out.text or "" for out in suite.iter("system-out"))


def test_the_digest_has_no_time_in_it(recorded: list[Event]) -> None:
    later = [Event(event.seq, event.time * 2, event.kind, event.data) for event in recorded]
    first, second = (json_report.document(fold(events)) for events in (recorded, later))
    assert first["started"] != second["started"]
    assert first["digest"] == second["digest"]
    assert re.fullmatch("sha256:[0-9a-f]{64}", first["digest"])


def test_the_digest_tells_other_cells(recorded: list[Event]) -> None:
    other = [event for event in recorded if event.data.get("protocol") != "arp"]
    first, second = (json_report.document(fold(events)) for events in (recorded, other))
    assert first["digest"] != second["digest"]


def test_json_and_yaml_agree(recorded: list[Event]) -> None:
    report = fold(recorded)
    as_json = json.loads(json_report.render(report))
    as_yaml = yaml.safe_load(yaml_report.render(report))
    assert as_yaml["digest"] == as_json["digest"]
    assert as_yaml["cells"]["statistics"] == {"Passed": 3, "Failed": 1, "Unknown": 0, "Skipped": 0}
    assert as_json["statistics"]["cells"]["fail"] == 1


def test_a_big_matrix_has_small_cells_and_headers_that_stay(recorded: list[Event]) -> None:
    found = next(event for event in recorded if event.kind == "observation")
    big = [
        Event(found.seq, found.time, "observation", {**found.data, "source": f"default/p{n:02d}"})
        for n in range(40)
    ]
    pages = [html.render(fold(events)).decode() for events in (recorded, [*recorded[:-2], *big])]
    assert ['class="grid dense"' in page for page in pages] == [False, True]
    for page in pages:
        assert "table.grid th { position: sticky;" in page
        assert "table.grid td a:focus-visible { outline: 3px" in page
        assert '<div class="scroll matrix" tabindex="0" role="region"' in page
