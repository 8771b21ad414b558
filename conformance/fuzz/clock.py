"""An event loop whose time passes only when there is nothing left to do.

A whole cluster in one process is driven step by step: something is done, then everything that follows from
it runs to its end, and the loop itself tells when that is: nothing is ready, and no timer is due within the
horizon. Nothing is polled, nothing waits for real, and the same steps take the same course every time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from conformance.fuzz.engine import RestlessError
from multinet.errors import LabError

T = TypeVar("T")
_TURNS = 5_000


class _Selector(selectors.SelectSelector):
    """Never waits; says how long the loop would have."""

    def __init__(self) -> None:
        super().__init__()
        self.idle: Any = None
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """No file is ever ready; with nothing to run, time jumps to the next timer, or the loop stops."""
        if timeout is None or timeout > 0:
            self.turns = 0
            self.idle(timeout)
        else:
            self.turns += 1
            if self.turns > _TURNS:
                self.turns = 0
                raise RestlessError(f"{_TURNS} turns of the loop passed without a moment of rest")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time (seconds since its start). It serves no files, sockets or threads."""

    def __init__(self) -> None:
        selector = _Selector()
        self._now = 0.0
        self._until = 0.0
        super().__init__(selector)
        selector.idle = self._idle
        # The default tolerance is that of the real clock.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def settle(self, horizon_s: float) -> None:
        """Run until nothing is ready and no timer is due within ``horizon_s`` of now."""
        self._until = self._now + horizon_s
        self.run_forever()

    def finish(self, name: str, work: Coroutine[Any, Any, T], horizon_s: float) -> T:
        """Run ``work`` and all that follows from it; ``LabError`` when it has no end within the horizon."""
        task = self.create_task(work, name=name)
        self.settle(horizon_s)
        if not task.done():
            task.cancel()
            self.settle(0.0)
            raise LabError(f"{name} did not end within {horizon_s:g} virtual seconds")
        return task.result()

    def _idle(self, timeout: float | None) -> None:
        if timeout is None or self._now + timeout > self._until:
            self.stop()
        else:
            self._now += timeout
