"""Short-lived child processes, started fast and ended for sure.

Two choices carry this module. ``subprocess.Popen`` starts the child with ``vfork`` (the event loop's own
subprocess support forks, which costs milliseconds in a large process), and its end is awaited through a
pidfd. Input and output are memory files instead of pipes: nothing has to be pumped, no buffer can fill up,
and a grandchild that keeps the output open can't hold us up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from multinet import waits

OUTPUT_LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended: exit status (negative: ``-signal``), its whole output, and the time it took."""

    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float


async def run(
    name: str,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    limit_s: float,
) -> Finished:
    """Run ``argv`` to its end. Its process group is killed at the limit, and when the caller is cancelled.

    Raises ``OSError`` when it can't be executed, ``WaitExpiredError`` at the limit.
    """
    started = time.monotonic()
    with _memory_file(stdin) as source, _memory_file() as out, _memory_file() as err:
        child = _start(argv, (source, out, err), env)
        try:
            await waits.wait_for(name, exited(child.pid), limit_s, hint=f"{argv[0]} was killed")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        return Finished(child.wait(), _content(out), _content(err), time.monotonic() - started)


async def exited(pid: int) -> None:
    """Return when the process has ended (at once when there is none); it need not be a child of ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def on_end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_end)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _start(
    argv: Sequence[str], stdio: tuple[int, int, int], env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    source, out, err = stdio
    return subprocess.Popen(list(argv), stdin=source, stdout=out, stderr=err, env=env, start_new_session=True)


@contextlib.contextmanager
def _memory_file(content: bytes = b"") -> Iterator[int]:
    descriptor = os.memfd_create("multinet", os.MFD_CLOEXEC)
    try:
        if content:
            os.write(descriptor, content)
            os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, OUTPUT_LIMIT, 0)
