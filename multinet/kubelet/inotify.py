"""Changes of directories and files as an asyncio event, by the kernel's inotify(7) instead of polling."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_log = logging.getLogger(__name__)
_libc = ctypes.CDLL(None, use_errno=True)

_IN_MODIFY = 0x2
_IN_CLOSE_WRITE = 0x8
_IN_MOVED = 0x40 | 0x80
_IN_CREATE = 0x100
_IN_DELETE = 0x200
DIRECTORY_EVENTS = _IN_CLOSE_WRITE | _IN_MOVED | _IN_CREATE | _IN_DELETE
FILE_EVENTS = _IN_MODIFY | _IN_CLOSE_WRITE


class DirectoryWatch:
    """Sets ``changed`` on each event below ``paths`` (not recursive) while it is entered.

    A path that can't be watched is logged and left out; whoever waits must have a limit besides.
    """

    def __init__(self, paths: Sequence[Path], events: int = DIRECTORY_EVENTS) -> None:
        self.changed = asyncio.Event()
        self._paths = tuple(paths)
        self._events = events
        self._descriptor = -1

    def __enter__(self) -> DirectoryWatch:
        self._descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            _log.warning("no inotify: %s", os.strerror(ctypes.get_errno()))
            return self
        for path in self._paths:
            if _libc.inotify_add_watch(self._descriptor, os.fsencode(path), self._events) < 0:
                _log.info("%s is not watched: %s", path, os.strerror(ctypes.get_errno()))
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_event)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_event(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 65536)
        self.changed.set()
