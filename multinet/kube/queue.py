"""A queue of keys to reconcile: each key once, one key never twice at a time, failures later again.

Level-triggered: a key says *look at this object*, not what happened to it, so adding a key that waits
already changes nothing, and adding one that is being reconciled runs it once more afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from multinet.errors import MultinetError
from multinet.kube.backoff import Backoff
from multinet.kube.errors import ConflictError
from multinet.waits import wait_for

_log = logging.getLogger(__name__)


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget the call."""


class Clock(Protocol):
    """Time as the queue needs it; an event loop is one."""

    def time(self) -> float:
        """Seconds, monotonic."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call ``callback(*args)`` after ``delay`` seconds."""


@dataclass(frozen=True, slots=True)
class _Delayed:
    due: float
    timer: Timer


class KeyedQueue:
    """Runs ``reconcile(key)`` for each added key with ``workers`` at a time while :meth:`run` runs.

    A worker is there while there is work: an idle queue costs nothing, nor does its start.

    An exception from ``reconcile`` is logged and the key comes back after ``backoff``; a success forgets
    its failures. Keys added before :meth:`run` wait for it. ``name`` shows in logs; ``clock`` defaults to
    the running event loop; on cancellation, running reconciles get ``grace_s`` to end by themselves.
    """

    def __init__(
        self,
        reconcile: Callable[[str], Awaitable[None]],
        *,
        workers: int = 4,
        backoff: Backoff | None = None,
        name: str = "queue",
        clock: Clock | None = None,
        grace_s: float = 1.0,
    ) -> None:
        self._reconcile = reconcile
        self._workers = workers
        self._backoff = backoff or Backoff(first_s=0.05, cap_s=30.0)
        self._name = name
        self._clock = clock
        self._grace_s = grace_s
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._running: set[str] = set()
        self._again: set[str] = set()
        self._delayed: dict[str, _Delayed] = {}
        self._failures: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Set while the queue runs; a worker that fails (no reconcile does that) ends it.
        self._failed: asyncio.Future[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def add(self, key: str) -> None:
        """Have ``key`` reconciled as soon as a worker is free."""
        if self._closed or key in self._waiting:
            return
        if key in self._running:
            self._again.add(key)
            return
        self._waiting.add(key)
        self._idle.clear()
        self._ready.append(key)
        self._hire()

    def add_after(self, key: str, seconds: float) -> None:
        """Have ``key`` reconciled in ``seconds``; of several pending delays the earliest counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        clock = self._clock or asyncio.get_running_loop()
        due = clock.time() + seconds
        pending = self._delayed.get(key)
        if pending is not None:
            if pending.due <= due:
                return
            pending.timer.cancel()
        self._delayed[key] = _Delayed(due, clock.call_later(seconds, self._due, key))

    def failures(self, key: str) -> int:
        """How many times in a row ``key`` has failed."""
        return self._failures.get(key, 0)

    async def wait_idle(self, limit_s: float) -> None:
        """Wait until no key waits or runs (delayed ones don't count)."""
        await wait_for(f"{self._name} to be idle", self._idle.wait(), limit_s)

    async def run(self) -> None:
        """Work until cancelled. A cancelled queue takes no keys any more and can't be run again."""
        self._failed = asyncio.get_running_loop().create_future()
        for _ in range(len(self._ready)):
            self._hire()
        try:
            await self._failed
        finally:
            self._close()
            tasks = set(self._tasks)
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=self._grace_s)
                for task in late:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            self._idle.set()

    def _close(self) -> None:
        self._closed = True
        for delayed in self._delayed.values():
            delayed.timer.cancel()
        self._delayed.clear()
        self._ready.clear()
        self._waiting.clear()

    def _due(self, key: str) -> None:
        self._delayed.pop(key, None)
        self.add(key)

    def _hire(self) -> None:
        """One more worker, unless there are enough or nobody is to work yet."""
        if self._failed is not None and len(self._tasks) < self._workers:
            task = asyncio.create_task(self._work(), name=f"{self._name}-{len(self._tasks)}")
            self._tasks.add(task)
            task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failed = self._failed
        if failed is not None and not failed.done() and not task.cancelled() and (error := task.exception()):
            failed.set_exception(error)
        elif self._ready:
            self._hire()

    async def _work(self) -> None:
        while self._ready:
            key = self._ready.popleft()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                await self._run_one(key)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)
                if not self._waiting and not self._running:
                    self._idle.set()

    async def _run_one(self, key: str) -> None:
        try:
            await self._reconcile(key)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside was cancelled, not this worker: that is a failure like others.
            self._retry(key, error)
        except Exception as error:
            self._retry(key, error)
        else:
            self._failures.pop(key, None)

    def _retry(self, key: str, error: BaseException) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures)
        if isinstance(error, ConflictError):
            _log.debug("%s: %s: once more in %.2f s: %s", self._name, key, delay, error)
        elif isinstance(error, MultinetError):
            _log.warning("%s: %s: once more in %.2f s: %s", self._name, key, delay, error)
        else:
            _log.error("%s: %s: once more in %.2f s", self._name, key, delay, exc_info=error)
        self.add_after(key, delay)
