"""The event log: everything that happens in a run, one JSON object a line, written as it happens.

Design note: the log is the single source of truth. Every report is a pure function of it, so a run that
is killed in the middle still has a report (what was logged until then), and a report can be derived again
at any later time, byte for byte the same. So a line is flushed before the next thing is done, and a torn
last line (the writer died in it) is not an error for the reader.

Kinds and the keys of ``data`` (more keys may follow; a reader ignores what it doesn't know):

==================  ==========================================================================================
``run-started``     schema, run, scenario, file, description, lab {nodes, dialect}, steps [{name, action,
                    line}], environment {kernel, python, version, user}
``capability``      name, available, detail, remedy
``lab-starting``    nodes; ``lab-ready``: nodes, seconds
``step-started``    index, name, action, line
``role-exited``     role, node, status, expected (whether it was asked to)
``pod-running``     namespace, name, node, ip
``wait``            step, name, seconds, limit
``drawing``         step, nodes [...], edges [...] (what the topology drawing shows)
``observation``     step, source, source_interface, destination, destination_interface, protocol, expected,
                    outcome, verdict, seen_at, replied, control, detail, crosses
``attachment``      step, pod, interface, field, expected, annotation, kernel, verdict, detail
``capture``         path (relative to the run directory), pod, interface
``evidence``        step, title, text
``step-finished``   index, verdict, reason, next_step, seconds, facts [...]
``error``           what, where, why, next_step
``log``             level, message
``run-finished``    verdict, reason, seconds
==================  ==========================================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SCHEMA = 1
_HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: ``seq`` counts from 1, ``time`` is in seconds since the epoch."""

    seq: int
    time: float
    kind: str
    data: Data

    def to_line(self) -> str:
        """One line of JSON with a final newline; keys sorted, so equal events are equal bytes."""
        record = {"seq": self.seq, "time": self.time, "kind": self.kind, "data": self.data}
        return json.dumps(record, sort_keys=True, separators=(",", ":"), default=str) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Event:
        """Parse one line; ``ValueError`` when it is not an event (a torn line, for one)."""
        record = json.loads(line)
        try:
            return cls(int(record["seq"]), float(record["time"]), str(record["kind"]), dict(record["data"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an event: {error}") from error


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back signals whose Python handlers raise: half a line would spoil all that follow."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class EventLog:
    """Appends events to a file, flushing each, and hands the same line to an optional descriptor.

    Safe to use from several threads: the order of lines is the order of ``seq``. ``mirror`` is a file
    descriptor (a pipe to the front); when its reader is gone the log goes on without it. ``written`` is how
    many events the file already has.
    """

    def __init__(
        self,
        path: Path,
        *,
        mirror: int | None = None,
        clock: Callable[[], float] = time.time,
        written: int = 0,
    ) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._mirror = mirror
        self._clock = clock
        self._lock = threading.Lock()
        self._seq = written

    def append(self, kind: str, data: Data) -> Event:
        """Write one event; return it as written."""
        with _uninterrupted(), self._lock:
            self._seq += 1
            event = Event(self._seq, round(self._clock(), 6), kind, data)
            line = event.to_line()
            self._file.write(line)
            self._file.flush()
            if self._mirror is not None:
                self._send(self._mirror, line.encode())
            return event

    def _send(self, descriptor: int, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(descriptor, line) :]
        except BrokenPipeError:
            self._mirror = None

    def close(self) -> None:
        """Close the file; the mirror belongs to the caller."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def parse(lines: Iterator[str]) -> Iterator[Event]:
    """Events of ``lines``; a line that isn't one (torn by a killed writer) ends the reading."""
    for line in lines:
        try:
            yield Event.from_line(line)
        except ValueError:
            return


def read(path: Path) -> list[Event]:
    """All events of a log file, in order."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return list(parse(iter(file)))
