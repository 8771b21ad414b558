"""Networks which a pass is just giving out: they must not be removed under its hands.

A pod that is being attached is in no cache yet; the count here bridges the time until its interfaces are
in the API, where :meth:`Usage.is_used` asks the API itself and not the caches, which may lag behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from multinet.controller.view import BY_NETWORK, View
from multinet.kube.resources import VIRTUAL_MACHINE_INTERFACES
from multinet.model.objects import section


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

    def _seems_used(self, network: str) -> bool:
        return network in self._in_flight or bool(self._view.interfaces.by_index(BY_NETWORK, network))
