"""Watch streams: what was, then what changes, until the client or the time limit ends it.

A write costs the server, and its reading the client, much more than what is in it. So the first change goes
at once, and those of the next moment go together: a pod is a dozen objects written one after the other.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from aiohttp import web

from multinet import waits
from multinet.apiserver.codec import JSON, encode
from multinet.apiserver.errors import StatusError, bad_request
from multinet.apiserver.operations import Target
from multinet.apiserver.representations import OBJECT, Form, bookmark, render
from multinet.apiserver.store import Event, Selects, Store, Watcher, watch_line
from multinet.errors import WaitExpiredError

BOOKMARK_EVERY_S = 30.0
_GATHER_S = 0.002
_SHORTEST_S, _LONGEST_S = 1800.0, 3600.0


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The parameters of one watch; ``timeout_s`` None lets the server choose 30 to 60 minutes."""

    selects: Selects | None
    resource_version: str
    send_initial: bool
    bookmarks: bool
    timeout_s: float | None
    form: Form


async def serve(
    request: web.BaseRequest, store: Store, target: Target, asked: WatchRequest
) -> web.StreamResponse:
    """Answer a watch request to its end."""
    since, initial = _start(asked)
    watcher = Watcher(target.namespace, asked.selects)
    lines: list[bytes] = []
    try:
        store.watch(target.type.key, watcher, since)
    except StatusError as error:
        lines.append(watch_line("ERROR", encode(error.status())))
        watcher.close()
    else:
        if initial:
            entries = store.entries(target.type.key, target.namespace)
            lines += [watch_line("ADDED", render(target, e, asked.form)) for e in entries if watcher.wants(e)]
        if asked.send_initial and asked.bookmarks:
            mark = bookmark(target, store.revision, asked.form, initial_end=True)
            lines.append(watch_line("BOOKMARK", mark))
    try:
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if lines:
            await response.write(b"".join(lines))
        await _stream(response, store, target, asked, watcher)
        await response.write_eof()
    except ConnectionError:
        return response
    finally:
        store.unwatch(target.type.key, watcher)
    return response


def _start(asked: WatchRequest) -> tuple[int | None, bool]:
    """Return the revision to resume after (None: now) and whether to show what is there first."""
    version = asked.resource_version
    if version in ("", "0") or asked.send_initial:
        return None, True
    try:
        return int(version), False
    except ValueError as error:
        raise bad_request(f'Invalid value: "{version}": resourceVersion must be a number') from error


async def _stream(
    response: web.StreamResponse, store: Store, target: Target, asked: WatchRequest, watcher: Watcher
) -> None:
    loop = asyncio.get_running_loop()
    limit = asked.timeout_s or random.uniform(_SHORTEST_S, _LONGEST_S)
    end = loop.time() + limit
    while True:
        events = watcher.take()
        if events:
            await response.write(
                b"".join([_line(target, asked.form, type_, event) for type_, event in events])
            )
            await waits.pause("more watch events", _GATHER_S)
            continue
        left = end - loop.time()
        if watcher.closed or left <= 0:
            return
        try:
            await waits.wait_for("watch event", watcher.wait(), min(left, BOOKMARK_EVERY_S))
        except WaitExpiredError:
            if asked.bookmarks:
                mark = bookmark(target, store.revision, asked.form)
                await response.write(watch_line("BOOKMARK", mark))


def _line(target: Target, form: Form, type_: str, event: Event) -> bytes:
    if form is OBJECT and target.version.name == target.type.storage:
        return event.line(type_)
    return watch_line(type_, render(target, event.entry, form))
