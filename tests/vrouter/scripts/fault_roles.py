"""Roles of the lab in which faults are made: an agent that dies where it is told to, and what stands in.

The agent is the real one. Around each of its system calls that change something (a batch of netlink
requests, a state file that is written, renamed or removed) and each look at the kernel there is a point at
which it may be killed; a file in its state directory's parent says at which one, counted from the next CNI
call on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

API, RELAY = 6443, 6444


class Fuse:
    """Counts points; kills this process at the one that was asked for."""

    def __init__(self, directory):
        self._asked, self._seen = directory / "die-at", directory / "points"
        self._limit = self._count = 0

    def arm(self):
        """A call begins; what an earlier one left to be done in the background is not counted any more."""
        self._limit = self._count = 0
        with contextlib.suppress(FileNotFoundError):
            self._limit = int(self._asked.read_text())
            self._asked.unlink()

    def point(self):
        if self._limit:
            self._count += 1
            if self._count == self._limit:
                os.kill(os.getpid(), signal.SIGKILL)

    def tell(self):
        if self._limit:
            self._seen.write_text(str(self._count))


def around(owner, name, fuse):
    function = getattr(owner, name)

    def wrapped(*arguments, **named):
        fuse.point()
        try:
            return function(*arguments, **named)
        finally:
            fuse.point()

    setattr(owner, name, wrapped)


def agent(argv):
    """The node agent, by way of the relay to the API."""
    from multinet.vrouter import main, netlink, states
    from multinet.vrouter.agent import Agent

    home = Path(argv[argv.index("--state-dir") + 1]).parent
    here = home / "kubeconfig"
    at = argv.index("--kubeconfig") + 1
    here.write_text(Path(argv[at]).read_text().replace(f":{API}", f":{RELAY}"))
    argv[at] = str(here)
    fuse = Fuse(home)
    for owner, name in (
        (netlink.Socket, "_send"),
        (netlink.Socket, "_dump"),
        (states, "_write"),
        (states.StateFiles, "commit"),
        (states.StateFiles, "doom"),
        (states.StateFiles, "remove"),
    ):
        around(owner, name, fuse)
    handle = Agent.handle

    async def handled(self, call):
        fuse.arm()
        reply = await handle(self, call)
        fuse.point()
        fuse.tell()
        return reply

    Agent.handle = handled
    return main.main(argv)


def relay(_argv):
    """Between agents and API: killed, it is an API server that is down, with its content safe."""

    async def copy(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", API)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)

    async def run():
        async with await asyncio.start_server(serve, "0.0.0.0", RELAY):
            ready()
            await asyncio.Event().wait()

    asyncio.run(run())


def idle(_argv):
    """A kubelet that lets the test do its work."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ready()
    signal.sigwait({signal.SIGTERM})
    return 0


def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as handle:
        handle.connect(os.environ["NOTIFY_SOCKET"])
        handle.send(b"READY=1")
    sys.stderr.write("ready\n")
