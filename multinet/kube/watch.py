"""The watch stream: one JSON object per line, as events.

A watch ends in one of three ways: the server closes it after ``timeoutSeconds`` (the iterator ends), the
connection breaks or falls silent (``UnreachableError``), or the server sends an ERROR event (the typed
error of its Status: mostly ``GoneError``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

import orjson

from multinet.kube.errors import KubeError, error_from_status
from multinet.kube.transport import Transport
from multinet.model.objects import Obj

# A server may be late to end a watch by a quarter of its time, within these limits; only then is its
# silence a broken link.
_LATE_S = (0.5, 2.0)


class WatchEvent(NamedTuple):
    """``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; ``object`` the object as of that event."""

    type: str
    object: Obj


async def watch_events(
    transport: Transport, path: str, query: dict[str, str], *, timeout_s: float
) -> AsyncGenerator[WatchEvent]:
    """Yield the events of one watch request which the server is asked to end after ``timeout_s`` seconds.

    Close the iterator (``contextlib.aclosing``) to give its connection back early.
    """
    late = min(max(timeout_s / 4, _LATE_S[0]), _LATE_S[1])
    async with transport.stream(path, query, silence_limit_s=timeout_s + late) as pieces:
        rest = b""
        async for piece in pieces:
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line.strip():
                    yield _event(line, path)
        if rest.strip():
            raise KubeError("the watch ended in the middle of an event", where=f"GET {path} (watch)")


def _event(line: bytes, path: str) -> WatchEvent:
    where = f"GET {path} (watch)"
    try:
        document = orjson.loads(line)
        event = WatchEvent(document["type"], document["object"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise KubeError("the watch sent something else than an event", where=where, why=str(error)) from error
    if event.type == "ERROR":
        raise error_from_status(event.object, 500, where)
    return event
