"""The entry point of the command ``multinet``: one line for whatever a user can cause, at any moment.

Design note: its top imports next to nothing, and a Ctrl-C while the verbs are imported ends like one later.
Typer turns ``KeyboardInterrupt`` into a silent exit status 130, so the signal raises something it lets pass.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

# The machine's doing and not a fault of ours, wherever it comes up: a full disk behind standard output, say.
_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})


class _Interrupted(BaseException):
    """SIGINT came."""


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Interrupted


def main() -> None:
    """Entry point: no traceback for anything a user can cause; 3 when interrupted."""
    if threading.current_thread() is not threading.main_thread():
        _call()
        return
    previous = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, _interrupt)
        _call()
    except (_Interrupted, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stderr.write("multinet: interrupted\n")
        sys.exit(3)
    finally:
        signal.signal(signal.SIGINT, previous)


def _open_streams() -> None:
    """Put something in the place of closed standard streams, before a file of ours gets their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one. Our programs have it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for good
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - for good


def _call() -> None:
    _open_streams()
    from multinet.cli import say
    from multinet.cli.verbs import app
    from multinet.errors import InputError, MultinetError

    try:
        # ./lab says how it was called, so that usage texts show what the user typed.
        app(prog_name=os.environ.get("MULTINET_CALLED_AS", "multinet"))
    except MultinetError as error:
        sys.stderr.write(f"multinet: {error}\n")
        sys.exit(2 if isinstance(error, InputError) else 3)
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        sys.stderr.write(f"multinet: {error.filename or 'the output'}: {error.strerror}\n")
        say.say_no_more()
        sys.exit(3)
