"""Waiting for an event or for a time to pass, whichever comes first."""

from __future__ import annotations

import asyncio


async def wait_or_timeout(event: asyncio.Event, limit_s: float | None) -> bool:
    """Return whether ``event`` was set within ``limit_s`` seconds (None: without limit).

    Not ``asyncio.wait_for``: until Python 3.12 that one swallows a cancellation which arrives together
    with the event, and the loop around it would never end.
    """
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
