"""Captures in the page: embedded within a budget, by step, with words for what is not there."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from reports import captures
from reports.events import Event
from reports.model import Capture, RunReport, fold
from reports.writers import derive

PCAP = bytes(range(256)) * 4
PATH = "captures/step-02/default-a-eth1.pcap"


@pytest.fixture
def run_dir(tmp_path: Path, recorded: list[Event]) -> Path:
    (tmp_path / "events.jsonl").write_text("".join(event.to_line() for event in recorded))
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_bytes(PCAP)
    return tmp_path


def with_captures(recorded: list[Event], *found: Capture) -> RunReport:
    return replace(fold(recorded), captures=found)


def page(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text(encoding="utf-8")


def test_a_capture_travels_inside_the_page(run_dir: Path) -> None:
    derive(run_dir)
    found = re.search(
        r'href="data:application/vnd\.tcpdump\.pcap;base64,([^"]*)" download="([^"]*)"', page(run_dir)
    )
    assert found is not None
    assert base64.b64decode(found[1]) == PCAP
    assert found[2] == "step-02_default_a_eth1.pcap"
    assert PATH not in page(run_dir)
    assert "1 of 1 are inside this page" in page(run_dir)
    assert "<h3>2. probe</h3>\n<ul" in page(run_dir)


def test_the_page_with_captures_refers_to_nothing_outside(run_dir: Path) -> None:
    derive(run_dir)
    text = re.sub(r'"data:[^"]*"', '""', page(run_dir))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)


def test_derived_again_the_page_is_the_same(run_dir: Path) -> None:
    derive(run_dir)
    first = page(run_dir)
    derive(run_dir)
    assert page(run_dir) == first


def test_a_missing_file_is_said_in_words(run_dir: Path) -> None:
    (run_dir / PATH).unlink()
    derive(run_dir)
    assert f"the file {PATH} is missing" in page(run_dir)
    assert "data:" not in page(run_dir)
    assert f'href="{PATH}"' not in page(run_dir)


def test_beyond_the_budget_a_capture_stays_beside_the_page(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "EMBED_TOTAL_BYTES", len(PCAP) - 1)
    derive(run_dir)
    assert f'href="{PATH}" download="step-02_default_a_eth1.pcap"' in page(run_dir)
    assert "1 lie beside it" in page(run_dir)
    assert "beside this page only" in page(run_dir)


def test_the_budget_is_for_all_and_a_smaller_one_still_fits(
    run_dir: Path, recorded: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "EMBED_TOTAL_BYTES", 1000)
    for name, size in (("1", 600), ("2", 600), ("3", 400)):
        (run_dir / name).write_bytes(b"x" * size)
    report = with_captures(recorded, *(Capture(name, "n/p", f"eth{name}", 1) for name in "123"))
    (group,) = captures.group(report, run_dir)
    assert [(item.size, item.embedded) for item in group.downloads] == [
        (600, True),
        (600, False),
        (400, True),
    ]


def test_one_file_is_embedded_only_if_browsers_take_its_link(run_dir: Path, recorded: list[Event]) -> None:
    size = captures.EMBED_FILE_BYTES
    (run_dir / "1").write_bytes(b"x" * size)
    (run_dir / "2").write_bytes(b"x" * (size + 1))
    report = with_captures(recorded, *(Capture(name, "n/p", f"eth{name}", 1) for name in "12"))
    (group,) = captures.group(report, run_dir)
    assert [item.embedded for item in group.downloads] == [True, False]
    assert len(group.downloads[0].href) < 2 * 1024 * 1024


def test_a_path_out_of_the_run_is_not_read(run_dir: Path, recorded: list[Event]) -> None:
    (run_dir / "inner").mkdir()
    report = with_captures(recorded, Capture("../events.jsonl", "n/p", "eth0", 1))
    (group,) = captures.group(report, run_dir / "inner")
    assert group.downloads[0].href == ""
    assert "not in the run's directory" in group.downloads[0].note


def test_captures_are_grouped_by_step_in_the_order_of_steps(recorded: list[Event]) -> None:
    found = (Capture("z", "n/p", "eth0", 0), Capture("a", "n/p", "eth0", 11), Capture("b", "n/p", "eth0"))
    groups = captures.group(with_captures(recorded, *found), None)
    assert [group.title for group in groups] == ["Outside the steps", "1. pods", "Step 12"]
    assert [item.name for group in groups for item in group.downloads] == [
        "no-step_n_p_eth0.pcap",
        "step-01_n_p_eth0.pcap",
        "step-12_n_p_eth0.pcap",
    ]
