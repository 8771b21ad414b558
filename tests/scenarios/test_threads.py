"""Blocking calls: results, errors, and that nobody waits for an abandoned one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from multinet.errors import LabError
from scenarios.threads import in_thread


async def test_results_and_errors_come_back() -> None:
    def refuse() -> None:
        raise LabError("no")

    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(LabError, match="no"):
        await in_thread(refuse)


def test_an_abandoned_call_does_not_hold_the_loop() -> None:
    release = threading.Event()

    async def interrupted() -> None:
        task = asyncio.create_task(in_thread(release.wait, 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert not release.is_set()
    release.set()
