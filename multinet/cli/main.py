"""The entry point of the command ``multinet``: one line for whatever a user can cause, at any moment.

Design note: its top imports next to nothing, and a Ctrl-C while the verbs are imported ends like one later.
Typer turns ``KeyboardInterrupt`` into a silent exit status 130, so the signal raises something it lets pass.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn


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


def _call() -> None:
    from multinet.cli.verbs import app
    from multinet.errors import InputError, MultinetError

    try:
        # ./lab says how it was called, so that usage texts show what the user typed.
        app(prog_name=os.environ.get("MULTINET_CALLED_AS", "multinet"))
    except MultinetError as error:
        sys.stderr.write(f"multinet: {error}\n")
        sys.exit(2 if isinstance(error, InputError) else 3)
    except BrokenPipeError:
        sys.exit(3)
