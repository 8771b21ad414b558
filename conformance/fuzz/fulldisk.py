"""A node that refuses new attachments: the file system of its agent's state files is full.

Nothing is ever attached that no file speaks of, so ADD fails, and what is there can still be taken away. What
files are removed meanwhile must not make room: they are held open.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FILLER = "full"
_BLOCK = 4096


class FullDisk:
    """Fills the file system at ``directory``, which must be a small one of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: list[int] = []

    def fill(self) -> None:
        """From now on no file in it can be written."""
        if self._held:
            return
        for path in self._directory.iterdir():
            self._held.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        filler = os.open(self._directory / _FILLER, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held.append(filler)
        try:
            while True:
                os.write(filler, bytes(_BLOCK))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def empty(self) -> None:
        """There is room again."""
        (self._directory / _FILLER).unlink(missing_ok=True)
        while self._held:
            os.close(self._held.pop())
