"""The text of a file that somebody named: what isn't a readable text file is told as that, with its place.

Design note: only regular files are opened. A FIFO would make ``validate`` wait for a writer for ever, and a
device may never end; both come up by a wrong path, never on purpose.
"""

from __future__ import annotations

import stat
from pathlib import Path

from multinet.errors import InputError

SIZE_LIMIT = 16 << 20
"""Bytes; a scenario of a thousand pods has well below one MiB."""


def text_of(path: Path, name: str) -> str:
    """The file's text; ``InputError`` when there is none. ``name`` is the path as errors show it."""
    content = _content(path, name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            "this is not UTF-8 text",
            where=f"{name}:{line}",
            why=f"byte 0x{content[error.start]:02x} at offset {error.start} can't stand there",
            next_step="save it as UTF-8",
        ) from error


def _content(path: Path, name: str) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError("this is a directory", where=name, next_step="name a file in it")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(
                "this is not a regular file",
                where=name,
                why=f"it is a {_kind(found.st_mode)}",
                next_step="write the text into a file, and name that",
            )
        if found.st_size > SIZE_LIMIT:
            raise InputError(
                "the file is too big",
                where=name,
                why=f"it has {found.st_size} bytes, and the limit is {SIZE_LIMIT}",
                next_step="check the path",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=name, next_step="check the path") from error
    except PermissionError as error:
        raise InputError(
            "the file can't be read",
            where=name,
            why=str(error.strerror),
            next_step="let this user read it: chmod u+r, or chown",
        ) from error
    except OSError as error:
        why = str(error.strerror or error)
        raise InputError("the file can't be read", where=name, why=why, next_step="check the path") from error
    except ValueError as error:
        # A path with a NUL character, which a file of YAML can spell.
        raise InputError("this is no path", where=repr(name), why=str(error)) from error


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO (a pipe)"
    return "socket" if stat.S_ISSOCK(mode) else "device"
