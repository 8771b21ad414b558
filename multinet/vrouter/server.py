"""The agent's end of the plugin's socket: one CNI call per connection.

A plugin that goes away before it has its answer was killed by its runtime; the call is cancelled then, and
an ADD in progress undone, because nobody will ever use its result.

Plain sockets instead of asyncio's streams: a call is one small message each way, mostly there when the
connection is taken, and what streams do beside it took longer than the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from multinet.cni import wire
from multinet.cni.wire import Call, Reply
from multinet.errors import WaitExpiredError
from multinet.waits import wait_for

_CALL_LIMIT_S = 10.0
_BACKLOG = 512
_AT_ONCE = 64
_RECEIVE_BYTES = 1 << 18
_TAKE_AGAIN_S = 0.1
_log = logging.getLogger(__name__)

Handle = Callable[[Call], Awaitable[Reply]]


@contextlib.asynccontextmanager
async def listening(path: Path, handle: Handle) -> AsyncIterator[None]:
    """Answer CNI calls on a unix socket at ``path`` (mode 0600) while the block runs."""
    with _listener(path) as listener:
        serving = _Serving(listener, handle)
        serving.start()
        try:
            yield
        finally:
            await serving.stop()


@contextlib.contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    """A listening socket at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    # Aside, so that whoever sees ``path`` can connect, and its mode is right at once.
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        made.bind(str(fresh))
        made.listen(_BACKLOG)
        fresh.chmod(0o600)
        fresh.rename(path)
        try:
            yield made
        finally:
            path.unlink(missing_ok=True)


class _Serving:
    """The connections of one listening socket."""

    def __init__(self, listener: socket.socket, handle: Handle) -> None:
        self._listener = listener
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._busy: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take connections from now on."""
        self._loop.add_reader(self._listener.fileno(), self._take)

    async def stop(self) -> None:
        """Take none any more, and cancel those that are there."""
        self._loop.remove_reader(self._listener.fileno())
        if self._again is not None:
            self._again.cancel()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("a CNI call has to wait: %s", error)
                self._loop.remove_reader(self._listener.fileno())
                self._again = self._loop.call_later(_TAKE_AGAIN_S, self.start)
                return
            connection.setblocking(False)
            task = self._loop.create_task(_serve(self._handle, connection))
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)


async def _serve(handle: Handle, connection: socket.socket) -> None:
    with connection:
        try:
            call = await _call(connection)
            reply = await _answer(handle, call, connection)
            if reply is not None:
                await asyncio.get_running_loop().sock_sendall(connection, wire.encode_reply(reply))
        except (wire.WireError, WaitExpiredError, ConnectionError) as error:
            _log.warning("a connection to the agent's socket was no CNI call: %s", error)


async def _call(connection: socket.socket) -> Call:
    data = bytearray()
    with contextlib.suppress(BlockingIOError):
        data += connection.recv(_RECEIVE_BYTES)
        if (call := wire.decode_call(data)) is not None:
            return call
    return await wait_for("a CNI call", _rest(connection, data), _CALL_LIMIT_S)


async def _rest(connection: socket.socket, data: bytearray) -> Call:
    loop = asyncio.get_running_loop()
    while (call := wire.decode_call(data)) is None:
        received = await loop.sock_recv(connection, _RECEIVE_BYTES)
        if not received:
            raise wire.WireError("the request ended in the middle of a netstring")
        data += received
    return call


async def _answer(handle: Handle, call: Call, connection: socket.socket) -> Reply | None:
    """The reply; None when the plugin went away before there was one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    gone = False

    def hung_up() -> None:
        nonlocal gone
        gone = True
        loop.remove_reader(connection.fileno())
        if task is not None:
            task.cancel()

    loop.add_reader(connection.fileno(), hung_up)
    try:
        return await handle(call)
    except asyncio.CancelledError:
        if not gone:
            raise
        _log.warning("the plugin went away during %s: it is undone", call.environment.get("CNI_COMMAND"))
        return None
    finally:
        loop.remove_reader(connection.fileno())
