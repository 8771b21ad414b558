"""A process of the suite's own that serves a whole test session, and ends with whoever started it.

It says on standard output, in one line, that it is ready; the end of its standard input is the end of its
work. So it needs no signal, and no process outlives a test run that was killed.
"""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Child:
    """The owner's side of one such process."""

    def __init__(self, module: Sequence[str], log: Path) -> None:
        """Start ``python -m MODULE ARGUMENT...``; what it writes to standard error goes to ``log``."""
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                start_new_session=True,
            )

    def first_line(self, limit_s: float) -> str:
        """What it says next; empty when it ends or ``limit_s`` passes before that."""
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], limit_s)[0]
        return self._process.stdout.readline() if ready else ""

    def ask(self, line: str, limit_s: float) -> str:
        """Say a line to it; what it answers, empty when it ends or ``limit_s`` passes before that."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.first_line(limit_s)

    def end(self, limit_s: float) -> None:
        """Close its standard input and wait; kill it when it has not ended after ``limit_s``."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
