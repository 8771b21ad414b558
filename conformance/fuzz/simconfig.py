"""The config API's own service on a simulated cluster, without its HTTP: it starts when it is first asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from multinet.configapi import kinds
from multinet.configapi.catalog import Catalogs
from multinet.configapi.errors import RefusedError
from multinet.configapi.kinds import KINDS
from multinet.configapi.service import Service
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.model.naming import DEFAULT_CLUSTER
from multinet.waits import wait_for

_KIND = KINDS[kinds.NETWORK]
_SYNC_S = 10.0


class SimulatedConfigApi:
    """Creates and deletes virtual networks as the config API does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._service: Service | None = None
        self._watching: asyncio.Task[None] | None = None

    async def create_network(self, body: Mapping[str, Any]) -> bool:
        """Create a network; False when it is refused (it exists)."""
        service = await self._started()
        try:
            await service.create(_KIND, body, self._client)
        except RefusedError:
            return False
        return True

    async def remove_network(self, fq_name: tuple[str, ...]) -> bool:
        """Delete a network; False when it is refused (it is used, or not there)."""
        service = await self._started()
        found = next(
            (entry for entry in service.catalog.of_kind(kinds.NETWORK) if tuple(entry.fq_name) == fq_name),
            None,
        )
        if found is None:
            return False
        try:
            await service.delete(found, self._client)
        except RefusedError:
            return False
        return True

    async def _started(self) -> Service:
        if self._service is None:
            view = View(self._client, cluster=DEFAULT_CLUSTER)
            self._service = Service(view, Catalogs(view))
            synced = asyncio.Event()
            self._watching = asyncio.create_task(view.run(synced.set), name="config API")
            await wait_for("the config API's view", synced.wait(), _SYNC_S)
        return self._service
