"""When a lab is at rest: the kernel says so.

A lab is on one machine, and every message in it is in its receiver's socket as soon as it was sent. So when
no process of the lab wants to run, and none ran between two looks at all of them, nothing is under way: what
may still come needs a timer (a back-off, a heartbeat). Nothing in the lab has to report, and a busy machine
makes it slower but not wrong: a process that waits for the processor is not asleep.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = "/proc"
_AWAKE = b"RD"
_ESTABLISHED, _OPENING = "01", ("02", "03")

Tasks = dict[str, bytes]
"""How often each task (by PID/TID) was given the processor so far."""


def sleepers(outside: str = "/proc/self/ns/net") -> Tasks | None:
    """All tasks that are not in the network namespace ``outside``; None when one of them is awake."""
    here = os.stat(outside).st_ino  # noqa: PTH116 - some hundred of these per second: no Path objects
    found: Tasks = {}
    for pid in _processes():
        try:
            if os.stat(f"{_PROC}/{pid}/ns/net").st_ino == here:  # noqa: PTH116
                continue
            tasks = os.listdir(f"{_PROC}/{pid}/task")  # noqa: PTH208
        except OSError:
            continue  # it has ended, which whoever waits for it is told by the kernel
        for task in tasks:
            try:
                place = f"{_PROC}/{pid}/task/{task}"
                state = _read(f"{place}/stat").rpartition(b") ")[2][:1]
                if state in _AWAKE:
                    return None
                found[f"{pid}/{task}"] = _read(f"{place}/schedstat").split()[2]
            except (OSError, IndexError):
                continue
    return found


@dataclass(frozen=True, slots=True)
class Connection:
    """One end of a TCP connection. ``waits``: what it sent has not been acknowledged; it is sent again.

    ``near`` and ``far`` are addresses with ports as the kernel prints them: the same at both ends.
    """

    near: str
    far: str
    waits: bool

    @property
    def far_address(self) -> str:
        """``0100000A:1F90`` is of ``10.0.0.1``."""
        number = int(self.far.partition(":")[0], 16)
        return ".".join(str(part) for part in number.to_bytes(4, sys.byteorder))


def connections(process: int) -> list[Connection]:
    """Those that are open or being opened in the network namespace of ``process`` (proc_pid_net(5))."""
    found = []
    for line in Path(f"{_PROC}/{process}/net/tcp").read_text().splitlines()[1:]:
        _, near, far, state, queues, *_ = line.split()
        if state == _ESTABLISHED or state in _OPENING:
            found.append(Connection(near, far, state in _OPENING or not queues.startswith("00000000:")))
    return found


def _processes() -> Iterator[str]:
    return (name for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:  # noqa: PTH123
        return stream.read()
