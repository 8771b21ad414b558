"""A program run in our place: an interrupt is for it, and it does not outlive us.

``subprocess.run`` gives a program a quarter of a second after a Ctrl-C and kills it then, its summary and its
report unwritten; and when this process is killed, it leaves the program running for nobody.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from topology import linux
from topology.capabilities import environment


def run(argv: Sequence[str], *, cwd: Path | None = None, then_ours: bool = False) -> int:
    """Run ``argv`` with our own standard streams; its status (128+n for signal n).

    ``then_ours``: when the program was interrupted and has ended, this raises ``KeyboardInterrupt``.
    """
    ours = os.getpid()
    interrupts: list[int] = []

    def tie() -> None:
        linux.die_with_parent()
        if os.getppid() != ours:
            os._exit(128 + signal.SIGKILL)

    # The terminal sends it to the program as well, which decides what that means. Not SIG_IGN: that is passed
    # on to the program, a handler is not.
    previous = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    try:
        with subprocess.Popen(argv, cwd=cwd, env=environment(), preexec_fn=tie) as child:
            status = child.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    if interrupts and then_ours:
        raise KeyboardInterrupt
    return status if status >= 0 else 128 - status
