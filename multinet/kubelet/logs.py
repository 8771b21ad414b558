"""Reading container logs: the options of ``kubectl logs`` on files in the CRI log format.

A line is ``<RFC 3339 time> stdout|stderr F|P <text>``; P marks a part that the next line continues. A log
that has grown too large is renamed to ``.old`` by who writes it, and a new one begins.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from multinet.errors import InputError
from multinet.kubelet.inotify import FILE_EVENTS, DirectoryWatch
from multinet.kubelet.wakeup import wait_or_timeout

_FOLLOW_RECHECK_S = 1.0
_REOPEN_S = 0.02


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions of the Kubernetes API; ``since`` is an RFC 3339 time in UTC (empty: all)."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str], now: datetime) -> LogOptions:
        """Read the query parameters of ``/containerLogs``; ``InputError`` names a bad one."""
        since = query.get("sinceTime", "")
        seconds = _number(query, "sinceSeconds")
        try:
            moment = datetime.fromisoformat(since).astimezone(UTC) if since else None
        except ValueError as error:
            raise InputError("not an RFC 3339 time", where="sinceTime", why=since) from error
        if seconds is not None:
            moment = now - timedelta(seconds=seconds)
        return cls(
            follow=_flag(query, "follow"),
            previous=_flag(query, "previous"),
            timestamps=_flag(query, "timestamps"),
            tail_lines=_number(query, "tailLines"),
            limit_bytes=_number(query, "limitBytes"),
            since=moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") if moment else "",
        )


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true", "t")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise InputError("must be a number of at least 0", where=name, why=f"it is {text!r}")
    return number


def format_line(line: bytes, options: LogOptions) -> bytes:
    """One stored line (without its newline) as a client sees it; empty when ``since`` leaves it out."""
    stamp, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    # Times of one form compare as text; the stored ones have more digits, hence never a wrong "before".
    if options.since and stamp.decode(errors="replace") < options.since:
        return b""
    head = stamp + b" " if options.timestamps else b""
    return head + text + (b"" if tag == b"P" else b"\n")


def read_existing(data: bytes, options: LogOptions) -> Iterator[bytes]:
    """What a client gets of the complete lines in ``data``."""
    lines = data.split(b"\n")[:-1]
    if options.tail_lines is not None:
        lines = lines[max(0, len(lines) - options.tail_lines) :]
    for line in lines:
        text = format_line(line, options)
        if text:
            yield text


async def stream(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log of one run; with ``follow`` on until the container has ended (``running`` turns false)."""
    left = options.limit_bytes
    async for chunk in _chunks(path, options, running):
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0:
            return


async def _chunks(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    file: BinaryIO = path.open("rb")
    try:
        # A log is on a memory file system or in the page cache: reading it does not block.
        data = _before(path, file) + file.read()
        yield b"".join(read_existing(data, options))
        rest = data[data.rfind(b"\n") + 1 :]
        while options.follow:
            with DirectoryWatch((path,), FILE_EVENTS) as watch:
                turned = False
                while not turned:
                    alive = running()
                    watch.changed.clear()
                    # Before the last read: what was written before a new log began is in it then.
                    turned = not _is_at(path, file)
                    *lines, rest = (rest + file.read()).split(b"\n")
                    for line in lines:
                        yield format_line(line, options)
                    if not alive and not turned:
                        return
                    if not lines and not turned:
                        await wait_or_timeout(watch.changed, _FOLLOW_RECHECK_S)
            following = await _next(path, running)
            if following is None:
                return
            file.close()
            file = following
    finally:
        file.close()


async def _next(path: Path, running: Callable[[], bool]) -> BinaryIO | None:
    """The log that began anew; None where it has gone with its container, as when the pod is deleted."""
    while True:
        alive = running()
        try:
            return path.open("rb")
        except FileNotFoundError:
            if not alive:
                return None
        await asyncio.sleep(_REOPEN_S)


def _before(path: Path, file: BinaryIO) -> bytes:
    """What the log had before it grew too large and a new one, ``file``, began."""
    old = path.with_suffix(".old")
    try:
        return b"" if _is_at(old, file) else old.read_bytes()
    except FileNotFoundError:
        return b""


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
