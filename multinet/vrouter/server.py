"""The agent's end of the plugin's socket: one CNI call per connection.

A plugin that goes away before it has its answer was killed by its runtime; the call is cancelled then, and
an ADD in progress undone, because nobody will ever use its result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from multinet.cni import wire
from multinet.cni.wire import Call, Reply
from multinet.errors import WaitExpiredError
from multinet.waits import wait_for

_CALL_LIMIT_S = 10.0
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def listening(path: Path, handle: Callable[[Call], Awaitable[Reply]]) -> AsyncIterator[None]:
    """Answer CNI calls on a unix socket at ``path`` (mode 0600) while the block runs."""
    fresh = _place(path)
    busy: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_serve(handle, reader, writer))
        busy.add(task)
        task.add_done_callback(busy.discard)

    server = await asyncio.start_unix_server(connected, fresh, limit=1 << 18, backlog=512)
    _publish(fresh, path)
    try:
        yield
    finally:
        server.close()
        _withdraw(path)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


def _place(path: Path) -> Path:
    """Where to bind: aside, so that whoever sees ``path`` can connect, and its mode is right at once."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    return fresh


def _publish(fresh: Path, path: Path) -> None:
    fresh.chmod(0o600)
    fresh.rename(path)


def _withdraw(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _serve(
    handle: Callable[[Call], Awaitable[Reply]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        call = await wait_for("a CNI call", wire.read_call(reader), _CALL_LIMIT_S)
        reply = await _answer(handle, call, reader)
        if reply is not None:
            writer.write(wire.encode_reply(reply))
            await writer.drain()
    except (wire.WireError, WaitExpiredError, ConnectionError) as error:
        _log.warning("a connection to the agent's socket was no CNI call: %s", error)
    finally:
        writer.close()


async def _answer(
    handle: Callable[[Call], Awaitable[Reply]], call: Call, reader: asyncio.StreamReader
) -> Reply | None:
    work = asyncio.ensure_future(handle(call))
    hangup = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({work, hangup}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        _log.warning("the plugin went away during %s: it is undone", call.environment.get("CNI_COMMAND"))
        return None
    finally:
        for task in (work, hangup):
            task.cancel()
        await asyncio.gather(work, hangup, return_exceptions=True)
