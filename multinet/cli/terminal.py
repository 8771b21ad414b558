"""A command on a terminal of its own, joined to ours.

A lab's processes are in a session of their own, so our terminal can't be the one that controls them: no job
control, and a Ctrl-C for the wrong processes. So the command gets a pseudo terminal, and this process copies
between the two, as `script` and `ssh` do.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import tty

from topology.capabilities import environment

_CHUNK = 65536


def run(argv: list[str]) -> int:
    """Run ``argv`` on a new pseudo terminal joined to standard input and output."""
    master, slave = pty.openpty()
    _copy_size(sys.stdout.fileno(), slave)
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment()) as child:
        os.close(slave)
        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
        previous = signal.signal(signal.SIGWINCH, lambda *_: _copy_size(keyboard, master))
        try:
            tty.setraw(keyboard)
            _join(keyboard, master)
        finally:
            signal.signal(signal.SIGWINCH, previous)
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
            os.close(master)
        return _status(child.wait())


def _status(status: int) -> int:
    return status if status >= 0 else 128 - status


def _copy_size(source: int, target: int) -> None:
    with contextlib.suppress(termios.error):
        termios.tcsetwinsize(target, termios.tcgetwinsize(source))


def _join(keyboard: int, master: int) -> None:
    """Copy both ways until the command's side is closed."""
    while True:
        ready, _, _ = select.select([keyboard, master], [], [])
        if master in ready:
            try:
                data = os.read(master, _CHUNK)
            except OSError:
                return  # EIO: nobody has the other side open any more
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if keyboard in ready:
            os.write(master, os.read(keyboard, _CHUNK))
