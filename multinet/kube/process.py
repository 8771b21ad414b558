"""What processes beside a cluster have in common: their log, their end by a signal, their exit status."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine

import uvloop

from multinet.errors import MultinetError

_log = logging.getLogger(__name__)


def log_to_stderr() -> None:
    """Log from INFO on, a line each."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def stop_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set from now on, in the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def run(running: Coroutine[None, None, None]) -> int:
    """Run to the end in a loop of its own: 0 at a clean end, 1 when an error, which is logged, ended it."""
    status = 0
    try:
        uvloop.run(running)
    except* MultinetError as group:
        status = 1
        for error in group.exceptions:
            _log.error("%s", error)
    return status
