"""The log: flushed lines, a pipe beside the file, torn ends; the run store."""

from __future__ import annotations

import os
from pathlib import Path

from reports import store
from reports.events import Event, EventLog, read


def test_each_event_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, clock=lambda: 12.5)
    log.append("run-started", {"b": 1, "a": "ä"})
    assert path.read_text() == '{"data":{"a":"\\u00e4","b":1},"kind":"run-started","seq":1,"time":12.5}\n'
    log.close()


def test_the_pipe_gets_the_same_lines_and_may_go_away(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with EventLog(tmp_path / "events.jsonl", mirror=writer) as log:
        first = log.append("log", {"message": "one"})
        assert Event.from_line(os.read(reader, 4096).decode()) == first
        os.close(reader)
        log.append("log", {"message": "two"})
    os.close(writer)
    assert [event.data["message"] for event in read(tmp_path / "events.jsonl")] == ["one", "two"]


def test_numbers_go_on_where_another_writer_stopped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("run-started", {})
    with EventLog(path, written=1) as log:
        log.append("lab-starting", {})
    assert [event.seq for event in read(path)] == [1, 2]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("run-started", {})
        log.append("lab-starting", {})
    path.write_bytes(path.read_bytes()[:-10])
    assert [event.kind for event in read(path)] == ["run-started"]


def test_the_store_never_reuses_a_directory_and_points_at_the_newest(tmp_path: Path) -> None:
    first = store.create(tmp_path / "runs", clock=lambda: 0.0)
    second = store.create(tmp_path / "runs", clock=lambda: 0.0)
    assert first != second
    assert first.name.startswith("19700101T000000Z-")
    latest = tmp_path / "runs" / "latest"
    assert latest.is_symlink()
    assert latest.resolve() == second.resolve()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    store.write_atomic(path, b"old")
    store.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
