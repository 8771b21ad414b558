"""Events go an hour after they were written last, as in Kubernetes: a long lab must not fill up."""

from __future__ import annotations

import asyncio
import time

from multinet.apiserver.store import Store

_EVENTS = "events"
_TTL_S = 3600.0
_PERIOD_S = 60.0


class EventExpiry:
    """Knows since when each Event is as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # By namespace and name: the revision last seen, and when it was seen first.
        self._seen: dict[tuple[str, str], tuple[int, float]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.sweep(time.monotonic())

    def sweep(self, now: float) -> None:
        """Remove what has not been written for an hour."""
        seen = {}
        for entry in self._store.entries(_EVENTS):
            revision, since = self._seen.get(entry.key, (0, now))
            if revision != entry.revision:
                since = now
            if now - since >= _TTL_S:
                self._store.remove(entry)
            else:
                seen[entry.key] = (entry.revision, since)
        self._seen = seen
