"""Clean-up that is never cut short: what has begun to be undone is undone to the end.

A task that is being cancelled often cleans up in an ``except`` or ``finally``, where a second cancellation
(the pod deleted while a failed set-up is being undone, the kubelet stopping) would stop it half-way, with
something left that nobody remembers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which runs in a task of its own to its end, however often we are cancelled.

    A cancellation is delivered afterwards: ``CancelledError`` then takes the place of the result, and of an
    error of ``work``, which becomes its cause. ``work`` must have limits of its own.
    """
    task = asyncio.ensure_future(work)
    await settled(task)
    return task.result()


async def settled(task: asyncio.Future[Any]) -> None:
    """Return when ``task`` is done; a cancellation of the caller is delivered only then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from None if task.cancelled() else task.exception()
