"""A program in our place gets the interrupt and all the time it needs, and ends when we are killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
# Interrupted, it goes on until it is told to end: as long as a report takes, say.
PROGRAM = """
import sys
try:
    print("ready", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print("summed up", sys.stdin.readline(), flush=True)
    sys.exit(7)
"""
FRONT = """
import sys
from topology import foreground
sys.exit(foreground.run([sys.executable, "-c", sys.argv[1]]))
"""
# subprocess.run kills after 0.25 s.
PATIENCE_S = 0.6


@pytest.fixture
def front() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", FRONT, PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
        bufsize=0,
    ) as process:
        yield process
        process.kill()


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_decides_what_an_interrupt_means(front: subprocess.Popen[bytes]) -> None:
    assert front.stdin is not None
    assert _line(front) == b"ready"
    os.killpg(front.pid, signal.SIGINT)
    assert _line(front) == b"interrupted"
    ended, _, _ = select.select([front.stdout], [], [], PATIENCE_S)
    assert not ended
    front.stdin.write(b"now\n")
    assert _line(front) == b"summed up now"
    assert front.wait(30) == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_does_not_outlive_us(front: subprocess.Popen[bytes], number: signal.Signals) -> None:
    assert _line(front) == b"ready"
    front.send_signal(number)
    # Its standard output is open as long as it lives.
    assert _line(front) == b""
    assert front.wait(30) == -number
