"""Tells when names of network namespaces come and go, with inotify(7) on their directory.

``ip netns add`` makes an empty file and then mounts the namespace over it, which inotify does not tell: the
listener has to look again a little later when it finds a file that is no namespace yet. Where there is no
directory to watch, nothing is told, and a back-off has to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from collections.abc import Callable
from pathlib import Path

_IN_CREATE, _IN_DELETE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x100, 0x200, 0x40, 0x80
_MASK = _IN_CREATE | _IN_DELETE | _IN_MOVED_FROM | _IN_MOVED_TO
_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


class NamesWatch:
    """Calls ``changed()`` in the event loop after names below ``directory`` came, went or moved."""

    def __init__(self, directory: Path, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._changed = changed
        self._descriptor = -1

    def open(self) -> bool:
        """Begin; False when the directory can't be watched."""
        descriptor = _libc.inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK))
        if descriptor < 0:
            _log.info("inotify is not to be had: %s", os.strerror(ctypes.get_errno()))
            return False
        path = os.fsencode(self._directory)
        if _libc.inotify_add_watch(ctypes.c_int(descriptor), path, ctypes.c_uint32(_MASK)) < 0:
            _log.info("%s is not watched: %s", self._directory, os.strerror(ctypes.get_errno()))
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._read)
        return True

    def close(self) -> None:
        """End."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        # Which name it was does not matter: the listener looks at all that it waits for.
        try:
            while os.read(self._descriptor, 1 << 16):
                continue
        except BlockingIOError:
            self._changed()
