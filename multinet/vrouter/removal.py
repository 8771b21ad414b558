"""Deleting devices without waiting for the kernel's grace periods.

A delete takes some 17 ms, nearly all of it after the device is gone for everybody (an RCU barrier at the
end of the request), and any number deleted by one request share that. So the devices are put into a group
of their own and the group is deleted, in a thread; and whoever asked is told when the kernel announces
(RTM_DELLINK) that the last of its devices is gone, not when the thread comes back.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from multinet.vrouter import links, netlink
from multinet.vrouter.datapath import DatapathError
from multinet.vrouter.newsfilter import News, hear
from multinet.waits import wait_for

# Devices of ours carry GROUP; each deletion uses the next of the groups above it.
GROUP = 0x6D6E_0000
_DYING_GROUPS = 0xFFFF
_RTMGRP_LINK = 1
_AT_ONCE = 2
_LIMIT_S = 20.0

_log = logging.getLogger(__name__)


def is_ours(group: int) -> bool:
    """Whether a device group marks a device as made (and perhaps being deleted) by this agent."""
    return GROUP <= group <= GROUP + _DYING_GROUPS


class Remover:
    """Deletes devices of the network namespace it was made in."""

    def __init__(self) -> None:
        self._monitor = netlink.monitor(_RTMGRP_LINK)
        hear(self._monitor, [News(netlink.DELLINK)])
        self._all_sockets = tuple(netlink.Socket() for _ in range(_AT_ONCE))
        self._idle_sockets = list(self._all_sockets)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="device-removal")
        self._groups = itertools.cycle(range(GROUP + 1, GROUP + _DYING_GROUPS))
        self._waiting: set[int] = set()
        self._gone: dict[int, asyncio.Future[None]] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._listening = False
        self._listeners: list[Callable[[int], None]] = []

    def on_gone(self, listener: Callable[[int], None]) -> None:
        """Call ``listener(ifindex)`` when a device vanished, whoever deleted it; needs a running loop."""
        self._listeners.append(listener)
        self._listen()

    async def remove(self, indexes: Iterable[int]) -> None:
        """Delete devices by ifindex; returns when none of them exists any more. Missing ones are fine.

        ``DatapathError`` when the kernel refused.
        """
        self._listen()
        loop = asyncio.get_running_loop()
        wanted = set(indexes)
        futures = [self._gone.setdefault(index, loop.create_future()) for index in wanted]
        if not futures:
            return
        self._waiting |= wanted
        self._start()
        done, _ = await wait_for("devices to be deleted", asyncio.wait(futures), _LIMIT_S)
        refused = [error for future in done if (error := future.exception())]
        if refused:
            raise DatapathError("devices could not be deleted", why=str(refused[0])) from refused[0]

    def close(self) -> None:
        """Let running deletions end, and close the sockets."""
        self._waiting.clear()
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
        self._threads.shutdown(wait=True)
        self._monitor.close()
        for each in self._all_sockets:
            each.close()

    def _listen(self) -> None:
        if not self._listening:
            asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._announced)
            self._listening = True

    def _start(self) -> None:
        if self._waiting and self._idle_sockets:
            batch = sorted(self._waiting)
            self._waiting.clear()
            task = asyncio.get_running_loop().create_task(self._run(batch, self._idle_sockets.pop()))
            self._runs.add(task)
            task.add_done_callback(self._runs.discard)

    async def _run(self, batch: Sequence[int], through: netlink.Socket) -> None:
        requests = _delete(batch, next(self._groups))
        refused: Exception | None = None
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, through.send, requests)
        except (OSError, netlink.NetlinkError) as error:
            refused = error
        finally:
            self._idle_sockets.append(through)
            for index in batch:
                self._tell(index, refused)
            self._start()

    def _announced(self) -> None:
        try:
            while True:
                for kind, body in netlink.notifications(self._monitor.recv(1 << 18)):
                    # Bridges announce the end of a port in the same way; only the device itself counts.
                    if kind == netlink.DELLINK and body[0] == socket.AF_UNSPEC:
                        index = struct.unpack_from("=i", body, 4)[0]
                        self._tell(index)
                        for listener in self._listeners:
                            listener(index)
        except BlockingIOError:
            return
        except OSError:
            # Announcements were lost (ENOBUFS); the end of each run tells as well.
            _log.debug("some announcements of the kernel were lost")

    def _tell(self, index: int, refused: Exception | None = None) -> None:
        future = self._gone.pop(index, None)
        if future is None or future.done():
            return
        if refused is None:
            future.set_result(None)
        else:
            future.set_exception(refused)


def _delete(indexes: Sequence[int], group: int) -> list[netlink.Request]:
    return [*(links.set_group(index, group) for index in indexes), links.delete_group(group)]
