"""Networks which a pass is just giving out: they must not be removed under its hands.

A pod that is being attached is in no cache yet; the count here bridges the time until its interfaces are
in the API, where :meth:`Usage.is_used` asks the API itself and not the caches, which may lag behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from multinet.controller.view import BY_NAD, BY_NETWORK, View
from multinet.kube.resources import VIRTUAL_MACHINE_INTERFACES
from multinet.model.attachments import PodRef
from multinet.model.objects import Obj, section


class Usage:
    """Who uses a network, cached, in the API, and in flight."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def of(self, networks: Iterable[str]) -> Iterator[None]:
        """Count networks (object names) as used inside the block."""
        held = list(networks)
        self._in_flight.update(held)
        try:
            yield
        finally:
            self._in_flight.subtract(held)
            # Zero counts would pile up.
            for name in held:
                if self._in_flight[name] <= 0:
                    del self._in_flight[name]

    async def is_used(self, network: str) -> bool:
        """Whether any interface is in the network (object name)."""
        if self._seems_used(network):
            return True
        listed = await self._view.client.list(VIRTUAL_MACHINE_INTERFACES)
        if any(section(item, "spec").get("network") == network for item in listed.items):
            return True
        return self._seems_used(network)

    async def pods_of_nad(self, nad: str) -> list[str]:
        """The pods (``namespace/name``) with an interface of the NAD, in the cache or else in the API."""
        users = _pods_of(self._view.interfaces.by_index(BY_NAD, nad))
        if users:
            return users
        listed = await self._view.client.list(VIRTUAL_MACHINE_INTERFACES)
        return _pods_of([item for item in listed.items if section(item, "spec").get("nad") == nad])

    def _seems_used(self, network: str) -> bool:
        return network in self._in_flight or bool(self._view.interfaces.by_index(BY_NETWORK, network))


def _pods_of(interfaces: Iterable[Obj]) -> list[str]:
    return sorted({PodRef.from_spec(section(vmi, "spec").get("pod") or {}).key for vmi in interfaces})
