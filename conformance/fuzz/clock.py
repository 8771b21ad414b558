"""An event loop whose time passes only when there is nothing left to do.

A whole cluster in one process is driven step by step: something is done, then everything that follows from
it runs to its end, and the loop itself tells when that is: nothing is ready, and no timer is due within the
horizon. Nothing is polled, nothing waits for real, and the same steps take the same course every time.

A campaign is little else than turns of this loop, so it does without what asyncio's own has for the real
world: a selector, a socket to wake it, contexts (nobody here has context variables), checks of every call.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from conformance.fuzz.engine import RestlessError
from multinet.errors import LabError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_TURNS = 5_000


class _Call:
    """What is to be called, unless it is cancelled before; for asyncio, a handle."""

    __slots__ = ("args", "callback", "due", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], due: float = 0.0) -> None:
        self.callback = callback
        self.args = args
        self.due = due
        self.is_cancelled = False

    def __call__(self) -> None:
        if not self.is_cancelled:
            self.callback(*self.args)

    def cancel(self) -> None:
        """Do not call it."""
        self.is_cancelled = True
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it will not be called."""
        return self.is_cancelled

    def when(self) -> float:
        """When it is due, in the loop's time."""
        return self.due


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """An event loop in virtual time (seconds since its start). It serves no files, sockets or threads.

    It runs by :meth:`settle` alone.
    """

    # False, always: each future asks, and a type is asked without a frame of Python.
    get_debug: Any = bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._until = 0.0
        self._turn: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, _Call]] = []
        self._made = 0
        self.on_error: Callable[[str, BaseException], None] = lambda _what, _error: None

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def settle(self, horizon_s: float) -> None:
        """Run until nothing is ready and no timer is due within ``horizon_s`` of now."""
        self._until = self._now + horizon_s
        asyncio._set_running_loop(self)
        try:
            self._run()
        finally:
            asyncio._set_running_loop(None)

    def finish(self, name: str, work: Coroutine[Any, Any, T], horizon_s: float) -> T:
        """Run ``work`` and all that follows from it; ``LabError`` when it has no end within the horizon."""
        task = self.create_task(work, name=name)
        self.settle(horizon_s)
        if not task.done():
            task.cancel()
            self.settle(0.0)
            raise LabError(f"{name} did not end within {horizon_s:g} virtual seconds")
        return task.result()

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Any:
        """Call it in the next turn. Tasks and futures, which give a context, want no handle."""
        if context is not None:
            self._turn.append((callback, args))
            return None
        call = _Call(callback, args)
        self._turn.append((call, ()))
        return call

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        """Call it in ``delay`` virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        """Call it at a virtual time; of calls for the same time, the one asked for first comes first."""
        del context
        call = _Call(callback, args, when)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, call))
        return call

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task has ended with an error for which nobody waits."""
        error = context.get("exception")
        if error is not None:
            self.on_error(str(context.get("message")), error)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: Any = None,
        context: object = None,
    ) -> asyncio.Task[T]:
        """A task, without the checks and the choice of how tasks are made."""
        del context
        return asyncio.Task(coro, loop=self, name=name)

    def _run(self) -> None:
        turns, ready = 0, self._turn
        while ready or self._wake():
            turns += 1
            if turns > _TURNS:
                raise RestlessError(f"{_TURNS} turns of the loop passed without a moment of rest")
            for _ in range(len(ready)):
                callback, args = ready.popleft()
                try:
                    callback(*args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.on_error(f"in {getattr(callback, 'callback', callback)}", error)

    def _wake(self) -> bool:
        """Time jumps to the next timer; False when none is due before the end."""
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not timers or timers[0][0] > self._until:
            return False
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._turn.append((heapq.heappop(timers)[2], ()))
        return True
