"""Events for people: what a component did to an object, as ``kubectl describe`` shows it.

Recording never waits and never fails: it notes, and a few tasks in the background write. The same thing
said again about the same object raises ``count`` and ``lastTimestamp`` of one Event (core/v1), however
often it is said while a write is under way. Events are best effort, as in Kubernetes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from multinet.errors import MultinetError
from multinet.kube.client import Client
from multinet.kube.errors import NotFoundError
from multinet.kube.resources import EVENTS
from multinet.model.objects import Obj
from multinet.waits import wait_for

EventType = Literal["Normal", "Warning"]
_Key = tuple[str, str, str, str]

_WRITERS = 4
_REMEMBERED = 4096
_PENDING_MAX = 1024
_MESSAGE_MAX = 1024

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Series:
    """One aggregated event: ``written`` is the count the server has (0: not created yet)."""

    obj: Obj
    name: str
    namespace: str
    type: str
    reason: str
    message: str
    first: str
    last: str
    count: int = 0
    written: int = 0


class EventRecorder:
    """Writes Events in the name of ``component`` (on ``host``: a node's name, or empty)."""

    def __init__(
        self, client: Client, component: str, host: str = "", *, now: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._now = now
        self._series: OrderedDict[_Key, _Series] = OrderedDict()
        self._pending: OrderedDict[_Key, None] = OrderedDict()
        self._writing: set[_Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, obj: Obj, type: EventType, reason: str, message: str) -> None:
        """Note that ``reason`` (CamelCase) happened to ``obj``; call from the event loop. Returns at once."""
        try:
            self._note(obj, type, reason, message)
        except (KeyError, RuntimeError) as error:
            _log.warning("event %s is not recorded: %r", reason, error)

    async def flush(self, limit_s: float = 2.0) -> None:
        """Wait until all that was recorded is written or given up (at a clean end of a role)."""
        if self._tasks:
            await wait_for("events to be written", asyncio.wait(set(self._tasks)), limit_s)

    def _note(self, obj: Obj, type_: str, reason: str, message: str) -> None:
        metadata = obj["metadata"]
        text = message if len(message) <= _MESSAGE_MAX else message[: _MESSAGE_MAX - 3] + "..."
        key = (metadata.get("uid") or f"{obj.get('kind')}/{metadata['name']}", type_, reason, text)
        moment = self._now()
        stamp = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        series = self._series.get(key)
        if series is None:
            series = _Series(
                obj=_reference(obj),
                name=f"{metadata['name'][:230]}.{int(moment * 1e9) + len(self._series):x}",
                namespace=metadata.get("namespace") or "default",
                type=type_,
                reason=reason,
                message=text,
                first=stamp,
                last=stamp,
            )
            self._series[key] = series
            if len(self._series) > _REMEMBERED:
                self._series.popitem(last=False)
        self._series.move_to_end(key)
        series.count += 1
        series.last = stamp
        self._pending[key] = None
        if len(self._pending) > _PENDING_MAX:
            dropped, _ = self._pending.popitem(last=False)
            _log.warning("too many events are waiting: %s is dropped", dropped)
        if len(self._tasks) < _WRITERS:
            task = asyncio.get_running_loop().create_task(self._write_pending(), name="events")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _write_pending(self) -> None:
        while key := next((key for key in self._pending if key not in self._writing), None):
            del self._pending[key]
            series = self._series.get(key)
            if series is None:
                continue
            self._writing.add(key)
            try:
                await self._write(series)
            except MultinetError as error:
                _log.warning("event %s of %s is not written: %s", series.reason, series.name, error)
            except Exception:
                _log.exception("event %s of %s is not written", series.reason, series.name)
            finally:
                self._writing.discard(key)

    async def _write(self, series: _Series) -> None:
        count, last = series.count, series.last
        if series.written:
            patch = {"count": count, "lastTimestamp": last}
            try:
                await self._client.patch(EVENTS, series.name, patch, series.namespace)
            except NotFoundError:
                # The server forgets events after an hour.
                await self._client.create(EVENTS, self._event(series, count, last))
        else:
            await self._client.create(EVENTS, self._event(series, count, last))
        series.written = count

    def _event(self, series: _Series, count: int, last: str) -> Obj:
        source = {"component": self._component} | ({"host": self._host} if self._host else {})
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": series.namespace},
            "involvedObject": series.obj,
            "type": series.type,
            "reason": series.reason,
            "message": series.message,
            "source": source,
            "firstTimestamp": series.first,
            "lastTimestamp": last,
            "count": count,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }


def _reference(obj: Obj) -> Obj:
    metadata = obj["metadata"]
    reference = {
        "kind": obj.get("kind"),
        "apiVersion": obj.get("apiVersion"),
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {name: value for name, value in reference.items() if value}
