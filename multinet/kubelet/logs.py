"""Reading container logs: the options of ``kubectl logs`` on files in the CRI log format.

A line is ``<RFC 3339 time> stdout|stderr F|P <text>``; P marks a part that the next line continues.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from multinet.errors import InputError
from multinet.kubelet.inotify import FILE_EVENTS, DirectoryWatch
from multinet.kubelet.wakeup import wait_or_timeout

_FOLLOW_RECHECK_S = 1.0


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
    data = _read_from(path, 0)
    yield b"".join(read_existing(data, options))
    if not options.follow:
        return
    position = data.rfind(b"\n") + 1
    with DirectoryWatch((path,), FILE_EVENTS) as watch:
        while True:
            alive = running()
            watch.changed.clear()
            data = _read_from(path, position)
            complete = data.rfind(b"\n") + 1
            position += complete
            for line in data[:complete].split(b"\n")[:-1]:
                yield format_line(line, options)
            if not alive:
                return
            if not complete:
                await wait_or_timeout(watch.changed, _FOLLOW_RECHECK_S)


def _read_from(path: Path, position: int) -> bytes:
    # A log is on a memory file system or in the page cache: reading it does not block.
    with path.open("rb") as file:
        file.seek(position)
        return file.read()
