"""The queue's promises, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.kube.backoff import Backoff
from multinet.kube.queue import KeyedQueue
from multinet.waits import wait_for

STEADY = Backoff(first_s=1.0, cap_s=8.0, jitter=0.0)


class FakeClock:
    """Time that stands still until :meth:`advance`."""

    def __init__(self):
        self.now = 0.0
        self._order = itertools.count()
        self._calls = []

    def time(self):
        return self.now

    def call_later(self, delay, callback, *args):
        timer = FakeTimer()
        heapq.heappush(self._calls, (self.now + delay, next(self._order), timer, callback, args))
        return timer

    def advance(self, seconds):
        self.now += seconds
        while self._calls and self._calls[0][0] <= self.now:
            _, _, timer, callback, args = heapq.heappop(self._calls)
            if not timer.cancelled:
                callback(*args)

    def pending(self):
        return sorted(due for due, _, timer, _, _ in self._calls if not timer.cancelled)


class FakeTimer:
    cancelled = False

    def cancel(self):
        self.cancelled = True


async def test_a_key_added_twice_runs_once(running):
    ran = []

    async def reconcile(key):
        ran.append(key)

    queue = KeyedQueue(reconcile)
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    async with running(queue):
        await queue.wait_idle(2)
    assert ran == ["a", "b"]


async def test_a_key_never_runs_twice_at_once_and_runs_again_if_added_meanwhile(running):
    gate, entered = asyncio.Event(), asyncio.Event()
    inside, most, runs = 0, 0, 0

    async def reconcile(key):
        nonlocal inside, most, runs
        inside, runs = inside + 1, runs + 1
        most = max(most, inside)
        entered.set()
        await gate.wait()
        inside -= 1

    queue = KeyedQueue(reconcile, workers=4)
    async with running(queue):
        queue.add("a")
        await wait_for("first run", entered.wait(), 30)
        for _ in range(5):
            queue.add("a")
        gate.set()
        await queue.wait_idle(2)
    assert (most, runs) == (1, 2)


async def test_different_keys_run_side_by_side_up_to_the_number_of_workers(running):
    inside, most = 0, 0
    together = asyncio.Event()

    async def reconcile(key):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 3:
            together.set()
        await together.wait()
        inside -= 1

    queue = KeyedQueue(reconcile, workers=3)
    async with running(queue):
        for number in range(7):
            queue.add(str(number))
        await wait_for("three at once", together.wait(), 30)
        await queue.wait_idle(2)
    assert most == 3


async def test_failures_back_off_to_the_cap_and_a_success_forgets_them(running, caplog):
    clock = FakeClock()
    fail = True

    async def reconcile(key):
        if fail:
            raise RuntimeError("not yet")

    queue = KeyedQueue(reconcile, backoff=STEADY, clock=clock, name="demo")
    delays = []
    with caplog.at_level(logging.ERROR, "multinet.kube.queue"):
        async with running(queue):
            queue.add("a")
            for _ in range(6):
                await queue.wait_idle(2)
                delays.append(clock.pending()[0] - clock.now)
                clock.advance(delays[-1])
            fail = False
            await queue.wait_idle(2)
            clock.advance(100)
            await queue.wait_idle(2)
            assert queue.failures("a") == 0
    assert delays == [1, 2, 4, 8, 8, 8]
    assert "demo: a: once more in 1.00 s" in caplog.records[0].getMessage()
    assert caplog.records[0].exc_info


async def test_add_after_waits_and_the_earliest_counts(running):
    clock = FakeClock()
    ran = []

    async def reconcile(key):
        ran.append((key, clock.now))

    queue = KeyedQueue(reconcile, clock=clock)
    async with running(queue):
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 7)
        queue.add_after("b", 0)
        await queue.wait_idle(2)
        assert ran == [("b", 0)]
        clock.advance(2.9)
        assert clock.pending() == [3]
        clock.advance(0.1)
        await queue.wait_idle(2)
    assert ran == [("b", 0), ("a", 3)]


async def test_cancellation_lets_a_running_key_end_and_starts_no_other():
    started, gate = asyncio.Event(), asyncio.Event()
    ended, began = [], []

    async def reconcile(key):
        began.append(key)
        started.set()
        await gate.wait()
        ended.append(key)

    queue = KeyedQueue(reconcile, workers=1, grace_s=2)
    queue.add("a")
    queue.add("b")
    task = asyncio.create_task(queue.run())
    await wait_for("start", started.wait(), 30)
    task.cancel()
    asyncio.get_running_loop().call_soon(gate.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    queue.add("c")
    assert (began, ended) == (["a"], ["a"])


async def test_cancellation_ends_a_key_that_overstays_its_grace():
    started = asyncio.Event()
    cancelled = []

    async def reconcile(key):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(key)
            raise

    queue = KeyedQueue(reconcile, grace_s=0.01)
    queue.add("a")
    queue.add_after("b", 60)
    task = asyncio.create_task(queue.run())
    await wait_for("start", started.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait_for("the end", task, 30)
    assert cancelled == ["a"]


async def test_a_cancellation_from_inside_is_a_failure_like_others(running):
    clock = FakeClock()

    async def reconcile(key):
        if queue.failures(key) == 0:
            raise asyncio.CancelledError

    queue = KeyedQueue(reconcile, workers=1, backoff=STEADY, clock=clock)
    async with running(queue):
        queue.add("a")
        await queue.wait_idle(2)
        assert queue.failures("a") == 1
        clock.advance(1)
        await queue.wait_idle(2)
        assert queue.failures("a") == 0


@given(failures=st.integers(1, 10_000), first=st.floats(0.001, 5), cap=st.floats(5, 600))
def test_delays_stay_between_zero_and_the_cap(failures, first, cap):
    assert 0 < Backoff(first_s=first, cap_s=cap).delay(failures) <= cap
