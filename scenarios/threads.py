"""Blocking calls beside the event loop, in threads that nobody waits for when a run is interrupted.

Design note: ``asyncio.to_thread`` uses a pool whose threads are joined at the end of the loop, so a Ctrl-C
during a command of thirty seconds would be answered thirty seconds later. A daemon thread may be left
behind: what it runs is in the lab's PID namespace and ends with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of ``function`` in a thread of its own; cancelling abandons the thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # handed to whoever awaits
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name=getattr(function, "__name__", "call"), daemon=True).start()
    return await future
