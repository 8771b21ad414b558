"""Progress where nobody looks: plain lines, one per step."""

from __future__ import annotations

import io

from rich.console import Console

from multinet.cli.progress import Progress
from multinet.cli.tests import parts
from reports.events import Event


def show(*events: tuple[str, dict[str, object]]) -> str:
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
    with Progress(console) as progress:
        for number, (kind, data) in enumerate(events, start=1):
            progress(Event(number, float(number), kind, data))
    return out.getvalue()


def test_lines() -> None:
    text = show(
        ("run-started", {"scenario": "walk", "steps": [{}, {}], "lab": {"nodes": ["node1"]}}),
        ("lab-ready", {"seconds": 0.9}),
        ("step-started", {"index": 0, "name": "probe"}),
        ("observation", {"verdict": "pass"}),
        ("observation", {"verdict": "fail"}),
        ("step-finished", {"index": 0, "name": "probe", "verdict": "fail", "reason": "one", "seconds": 1.5}),
        ("step-finished", {"index": 1, "name": "end", "verdict": "not run", "reason": "it needs 'probe'"}),
    )
    assert text == (
        "walk: 2 steps, 1 nodes\n"
        "  lab ready after 0.90 s\n"
        "  [1/2] fail  probe  1.50 s  1 fail, 1 pass\n"
        "        one\n"
        "  [2/2] not run  end\n"
        "        it needs 'probe'\n"
    )


def test_an_error_is_one_line() -> None:
    text = show(("error", {"where": "node1", "what": "it ended", "why": "a\nlong\nlog", "next_step": "look"}))
    assert text == "  error: node1: it ended: log (look)\n"


def test_parts_of_the_tests() -> None:
    assert [part.name for part in parts(None, [])][-4:] == [
        "unit tests",
        "tests with other programs",
        "lab tests",
        "browser tests",
    ]
    (lab,) = parts("lab", ["-x"])
    assert lab.argv[1:] == ("-m", "scenarios.isolated", lab.argv[0], "-m", "pytest", "-m", "lab", "-x")


def test_all_lab_tests_are_shared_by_workers_with_namespaces_of_their_own(monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (lab,) = parts("lab", [])
    assert lab.argv[lab.argv.index("--tx") + 1] == (
        f"2*popen//python={lab.argv[0]} -m scenarios.isolated {lab.argv[0]}"
    )
