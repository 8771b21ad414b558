"""Waits: named, bounded, event-driven and logged.

A wait is never a sleep: the caller hands over something that *becomes* ready (a future, an event, a
queue), a name a person understands, and a limit in seconds. Each wait logs how long it took, so the
slowest is easy to find; one that reaches its limit raises :class:`~multinet.errors.WaitExpiredError` with
its name, limit and a hint.

:func:`pause` is the one place where time itself is what is waited for (a back-off, a probe window); it
too has a name.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import types
from collections.abc import Awaitable, Generator
from typing import TypeVar

from multinet.errors import WaitExpiredError

T = TypeVar("T")
_log = logging.getLogger("multinet.waits")


async def wait_for(name: str, ready: Awaitable[T], limit_s: float, *, hint: str = "") -> T:
    """Return the result of ``ready``, or raise ``WaitExpiredError`` after ``limit_s`` seconds."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(limit_s):
            result = await ready
    except TimeoutError as error:
        raise expired(name, limit_s, hint) from error
    _log.debug("wait %r took %.3f s of %.1f s", name, time.monotonic() - started, limit_s)
    return result


def wait_event(name: str, event: threading.Event, limit_s: float, *, hint: str = "") -> None:
    """Block this thread until ``event`` is set, or raise ``WaitExpiredError`` after ``limit_s`` seconds."""
    started = time.monotonic()
    if not event.wait(limit_s):
        raise expired(name, limit_s, hint)
    _log.debug("wait %r took %.3f s of %.1f s", name, time.monotonic() - started, limit_s)


async def pause(name: str, seconds: float) -> None:
    """Let ``seconds`` pass for the stated reason (a back-off or a window), and log it."""
    _log.debug("pause %r for %.3f s", name, seconds)
    await asyncio.sleep(seconds)


@types.coroutine
def turn() -> Generator[None]:
    """Let whatever is ready in this event loop go first: what ``asyncio.sleep(0)`` does, without its way."""
    yield


def expired(name: str, limit_s: float, hint: str = "") -> WaitExpiredError:
    """Build the error of a wait that reached its limit."""
    return WaitExpiredError(
        f"waited {limit_s:g} s for {name} and it did not happen",
        next_step=hint,
    )
