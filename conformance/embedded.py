"""The embedded Kubernetes API on the loopback interface, in a thread of this process: lane L0's end point."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from multinet.apiserver.server import ApiServer

_START_S = 20.0


@contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """Serve until the block is left; the kubeconfig. Raises what the server raised when it can't start."""
    folder.mkdir(parents=True, exist_ok=True)
    loop = asyncio.new_event_loop()
    ready: Future[Path] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            async with ApiServer.start(workdir=folder) as server:
                ready.set_result(server.kubeconfig)
                await stop.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="api", daemon=True)
    thread.start()
    try:
        yield ready.result(_START_S)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_START_S)
        loop.close()
