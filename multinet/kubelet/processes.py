"""Processes which are not our children: their end, their identity, signals to them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def is_alive(pid: int, mark: str) -> bool:
    """Whether ``pid`` runs (a zombie does not) and has ``mark`` among its arguments.

    The mark guards against a PID that was given to another process since it was written down.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    state = stat[stat.rindex(b")") + 2 :][:1]
    return state not in (b"Z", b"X") and mark.encode() in arguments


def marked(mark: str) -> list[int]:
    """All processes that run and have ``mark`` among their arguments, parents before children."""
    numbers = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in numbers if is_alive(pid, mark)]


def signal_process(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group led by ``pid``; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
