"""Informer: a local, current copy of one collection, and callbacks on each change of it.

List once, then watch from the list's resourceVersion. Watches are short (the server ends each after a
few seconds) because that is the one heartbeat which every API server has: a link or server that falls
silent is noticed within :data:`SILENCE_LIMIT_S`, and taking a watch up again from the last version costs
one request. TCP keepalive (see :mod:`multinet.kube.transport`) covers dead links besides. A client that is
told of its link (:mod:`multinet.kube.carrier`) takes its watches up again as soon as the link is back.

The list is repeated when the server can't resume (410, or a store younger than our version), and also
after a refused connection: that server was restarted, perhaps with another store in which our version
means something else. Objects which vanished meanwhile are reported as deleted then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from multinet.kube.backoff import Backoff
from multinet.kube.client import Client
from multinet.kube.errors import GoneError, KubeError, UnreachableError
from multinet.kube.resources import Resource
from multinet.kube.store import Change, IndexFunction, Store
from multinet.kube.transport import Pause
from multinet.model.objects import Obj
from multinet.waits import wait_for

T = TypeVar("T")
Callback = Callable[[Obj | None, Obj | None], None]
Predicate = Callable[[Mapping[str, Obj]], T | None]

WATCH_S = 8.0
SILENCE_LIMIT_S = WATCH_S + 2.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiter:
    check: Callable[[], bool]
    future: asyncio.Future[None]


class Informer:
    """Keeps :attr:`store` equal to a collection while :meth:`run` runs.

    ``synced`` is set when the first list is in the store and its callbacks have run. Objects of the
    store are read-only: copy before changing. ``wait`` is the pause between tries, the
    client's unless another is given.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        backoff: Backoff | None = None,
        watch_s: float = WATCH_S,
        wait: Pause | None = None,
    ) -> None:
        self.synced = asyncio.Event()
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._backoff = backoff or Backoff(first_s=0.05, cap_s=2.0)
        self._watch_s = watch_s
        self._pause = wait or client.pause
        self._store = Store()
        self._callbacks: list[Callback] = []
        self._waiters: list[_Waiter] = []
        self._version = ""
        self._failures = 0

    @property
    def store(self) -> Mapping[str, Obj]:
        """Objects by key (``ns/name`` or ``name``), read-only."""
        return self._store

    @property
    def resource_version(self) -> str:
        """The version up to which the store is current (empty before the first list)."""
        return self._version

    def on_change(self, callback: Callback) -> None:
        """Call ``callback(old, new)`` in the event loop on each change, after store and indexes changed.

        ``old`` is ``None`` for a new object, ``new`` for one that vanished; an object made anew under the
        same name (another uid) is two changes. Objects already in the store are reported at once as new.
        An exception is logged with the key and stops neither the informer nor other callbacks.
        """
        self._callbacks.append(callback)
        for key, obj in list(self._store.items()):
            self._call(callback, Change(key, None, obj))

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index objects by the strings ``function(obj)`` returns; kept up to date per event."""
        self._store.add_index(name, function)

    def by_index(self, name: str, value: str) -> list[Obj]:
        """The objects which have that index value (a new list, of read-only objects)."""
        return self._store.by_index(name, value)

    async def run(self) -> None:
        """List and watch until cancelled; all errors of the API are met with named back-off."""
        name = f"reconnect of the {self.resource.plural} informer"
        while True:
            renewals = self._client.renewals
            try:
                await self._session()
                continue
            except GoneError as error:
                _log.info("%s: listing again: %s", self.resource.plural, error)
                self._version = ""
            except UnreachableError as error:
                _log.info("%s: %s", self.resource.plural, error)
                if error.refused:
                    self._version = ""
            except KubeError as error:
                _log.warning("%s: listing again: %s", self.resource.plural, error)
                self._version = ""
            if self._client.renewals != renewals:
                self._failures = 0  # it was the client that gave the connection up
                continue
            self._failures += 1
            await self._pause(name, self._backoff.delay(self._failures))

    async def wait_until(self, name: str, predicate: Predicate[T], limit_s: float) -> T:
        """Return the first result of ``predicate(store)`` that is neither ``None`` nor false.

        It is tried when the store is synced and after each change; raises ``WaitExpiredError``.
        """
        return await wait_for(name, self._until(predicate), limit_s, hint=f"see the {self.resource.plural}")

    async def _until(self, predicate: Predicate[T]) -> T:
        await self.synced.wait()
        result = predicate(self._store)
        if result is not None and result is not False:
            return result
        found: list[T] = []

        def check() -> bool:
            answer = predicate(self._store)
            if answer is None or answer is False:
                return False
            found.append(answer)
            return True

        waiter = _Waiter(check, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.future
        finally:
            self._waiters.remove(waiter)
        return found[0]

    async def _session(self) -> None:
        """One list (where needed) and one watch; returns when the server ended the watch as agreed."""
        if not self._version:
            await self._list()
        # Spread, so that the informers of a role don't all come back in the same instant.
        limit = self._watch_s * random.uniform(0.75, 1.0)
        events = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_s=limit,
        )
        started = asyncio.get_running_loop().time()
        async with aclosing(events):
            async for event in events:
                self._failures = 0
                version = event.object.get("metadata", {}).get("resourceVersion")
                if event.type != "BOOKMARK":
                    self._dispatch(self._store.apply(event.type, event.object))
                if version:
                    self._version = version
        if asyncio.get_running_loop().time() - started < min(1.0, limit / 2):
            # An end long before the agreed time means that the server is going away.
            raise UnreachableError("the server ended the watch early", where=self.resource.plural)
        self._failures = 0

    async def _list(self) -> None:
        listed = await self._client.list(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        changes = self._store.replace(listed.items)
        self._version = listed.resource_version
        self._dispatch(changes)
        if not self.synced.is_set():
            self.synced.set()
            _log.debug("%s: synced with %d objects", self.resource.plural, len(self._store))

    def _dispatch(self, changes: list[Change]) -> None:
        for change in changes:
            for callback in self._callbacks:
                self._call(callback, change)
        if changes and self._waiters:
            self._wake()

    def _call(self, callback: Callback, change: Change) -> None:
        try:
            callback(change.old, change.new)
        except Exception:
            _log.exception("%s %s: a callback failed", self.resource.kind, change.key)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if waiter.future.done():
                continue
            try:
                if waiter.check():
                    waiter.future.set_result(None)
            except Exception as error:
                waiter.future.set_exception(error)
