"""``kubectl exec``: a command in a sandbox, spoken over a WebSocket in Kubernetes' channel protocol.

Each binary message is one byte with the channel's number and then data: 0 stdin, 1 stdout, 2 stderr,
3 the final Status as JSON, 4 a terminal size. ``v5.channel.k8s.io`` adds the message 255, N: the client
closes channel N (kubernetes/enhancements KEP-4006).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from multinet.cni.runtime_exec import exited
from multinet.kubelet.processes import signal_group
from multinet.model.objects import Obj

_log = logging.getLogger(__name__)
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_CHUNK = 32768


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """Which streams the client wants; with ``tty``, stderr is part of stdout."""

    argv: Sequence[str]
    env: Mapping[str, str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@dataclass(slots=True)
class _Ends:
    """Our ends of the command's streams (-1: none), and the terminal's if there is one."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    terminal: int = -1


async def serve(socket: web.WebSocketResponse, request: ExecRequest) -> None:
    """Run the command, carry its streams, and end with its Status on channel 3."""
    try:
        child, ends = _start(request)
    except OSError as error:
        await _send(socket, ERROR, json.dumps(_failure(f"{request.argv[0]}: {error.strerror}")).encode())
        return
    # A client may wait for one message before it believes that the command runs.
    await _send(socket, STDOUT if request.stdout else ERROR, b"")
    incoming = asyncio.create_task(_receive(socket, ends, child.pid), name="exec input")
    outgoing = [
        asyncio.create_task(_forward(socket, channel, end), name=f"exec output {channel}")
        for channel, end in ((STDOUT, ends.stdout), (STDERR, ends.stderr))
        if end >= 0
    ]
    try:
        await exited(child.pid)
        code = child.wait()
        await _drain(outgoing)
        await _send(socket, ERROR, json.dumps(exit_status(code)).encode())
    finally:
        for task in (incoming, *outgoing):
            task.cancel()
        await asyncio.gather(incoming, *outgoing, return_exceptions=True)
        if child.poll() is None:
            signal_group(child.pid, signal.SIGKILL)
            child.wait()
        _close_all(ends)


def exit_status(code: int) -> Obj:
    """The Status that tells the client how the command ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    status = _failure(f"command terminated with non-zero exit code: exit status {code}")
    cause = {"reason": "ExitCode", "message": str(code)}
    return status | {"reason": "NonZeroExitCode", "details": {"causes": [cause]}}


def _failure(message: str) -> Obj:
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}


def _start(request: ExecRequest) -> tuple[subprocess.Popen[bytes], _Ends]:
    if request.tty:
        ours, theirs = os.openpty()
        os.set_blocking(ours, False)
        ends = _Ends(ours if request.stdin else -1, ours, -1, ours)
        try:
            return _spawn(request, (theirs, theirs, theirs)), ends
        finally:
            os.close(theirs)
    ends = _Ends()
    null = os.open("/dev/null", os.O_RDWR)
    given = [null, null, null]
    if request.stdin:
        given[0], ends.stdin = os.pipe()
    if request.stdout:
        ends.stdout, given[1] = os.pipe()
    if request.stderr:
        ends.stderr, given[2] = os.pipe()
    for end in (ends.stdin, ends.stdout, ends.stderr):
        if end >= 0:
            os.set_blocking(end, False)
    try:
        return _spawn(request, (given[0], given[1], given[2])), ends
    finally:
        for descriptor in {null, *given}:
            os.close(descriptor)


def _spawn(request: ExecRequest, stdio: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    source, out, err = stdio
    return subprocess.Popen(
        list(request.argv),
        stdin=source,
        stdout=out,
        stderr=err,
        env=dict(request.env),
        start_new_session=True,
    )


async def _forward(socket: web.WebSocketResponse, channel: int, end: int) -> None:
    while True:
        await _readiness(end, write=False)
        try:
            data = os.read(end, _CHUNK)
        except BlockingIOError:
            continue
        except OSError:  # EIO: the last process closed the terminal
            return
        if not data:
            return
        await _send(socket, channel, data)


async def _receive(socket: web.WebSocketResponse, ends: _Ends, pid: int) -> None:
    async for message in socket:
        if message.type != WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and ends.stdin >= 0:
            await _write(ends, data)
        elif channel == CLOSE and data[:1] == bytes([STDIN]):
            _close_stdin(ends)
        elif channel == RESIZE and ends.terminal >= 0:
            _resize(ends.terminal, data)
    # The client went away: nobody is left to see the command's output.
    signal_group(pid, signal.SIGKILL)


async def _write(ends: _Ends, data: bytes) -> None:
    view = memoryview(data)
    while view and ends.stdin >= 0:
        try:
            view = view[os.write(ends.stdin, view) :]
        except BlockingIOError:
            await _readiness(ends.stdin, write=True)
        except OSError:  # the command closed its stdin
            _close_stdin(ends)


def _close_stdin(ends: _Ends) -> None:
    if ends.stdin < 0:
        return
    if ends.terminal >= 0:
        with contextlib.suppress(OSError):
            os.write(ends.terminal, b"\x04")
    else:
        os.close(ends.stdin)
    ends.stdin = -1


def _resize(terminal: int, data: bytes) -> None:
    try:
        size = json.loads(data)
        packed = struct.pack("HHHH", int(size["Height"]), int(size["Width"]), 0, 0)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        _log.info("a terminal size is ignored: %r", error)
        return
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, packed)


async def _readiness(descriptor: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def on_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    # A terminal is read and written through one descriptor: each direction watches a copy of its own.
    own = os.dup(descriptor)
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(own, on_ready)
    try:
        await ready
    finally:
        remove(own)
        os.close(own)


async def _drain(outgoing: list[asyncio.Task[None]]) -> None:
    """Carry what the command wrote last; what its own children write later is not waited for."""
    if outgoing:
        await asyncio.wait(outgoing, timeout=0.5)


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(bytes([channel]) + data)


def _close_all(ends: _Ends) -> None:
    for descriptor in {ends.stdin, ends.stdout, ends.stderr, ends.terminal} - {-1}:
        os.close(descriptor)
