"""The config API over HTTP on an embedded cluster in this process: a new one for each input.

Who asks is not what is tried here, so every token is the one of the cluster's owner.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
from aiohttp import web
from yarl import URL

from conformance.fuzz.localapi import Line, LocalApi
from conformance.fuzz.parsers.subject import as_bytes
from multinet.configapi.auth import Authenticator
from multinet.configapi.catalog import Catalogs
from multinet.configapi.rest import Rest
from multinet.configapi.service import Service
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.model.naming import DEFAULT_CLUSTER
from multinet.waits import wait_for

_SYNC_S = 30.0


@dataclass(frozen=True, slots=True)
class _Everyone:
    client: Client

    async def client_of(self, _token: str) -> Client:
        return self.client


@dataclass(frozen=True, slots=True)
class ConfigHost:
    """A running config API."""

    url: str
    session: aiohttp.ClientSession

    @staticmethod
    @asynccontextmanager
    async def start() -> AsyncIterator[ConfigHost]:
        """Serve on a free port of loopback until the block is left."""
        client = LocalApi().client(Line("config API"))
        view = View(client, cluster=DEFAULT_CLUSTER)
        synced = asyncio.Event()
        watching = asyncio.create_task(view.run(synced.set))
        rest = Rest(Service(view, Catalogs(view)), cast(Authenticator, _Everyone(client)))
        application = web.Application(middlewares=[rest.middleware])
        application.add_routes(rest.routes())
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        try:
            await wait_for("the config API's view", synced.wait(), _SYNC_S)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            async with aiohttp.ClientSession() as session:
                yield ConfigHost(f"http://127.0.0.1:{runner.addresses[0][1]}", session)
        finally:
            await runner.cleanup()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def ask(self, asked: Mapping[str, Any]) -> tuple[int, Any]:
        """Status and body (JSON or text) of ``{"method", "path", "query", "body" or "raw"}``."""
        data = as_bytes(asked["raw"]) if "raw" in asked else json.dumps(asked.get("body")).encode()
        url = URL(self.url + asked["path"]).with_query(asked.get("query") or {})
        async with self.session.request(asked["method"], url, data=data) as answer:
            body = await answer.read()
            if answer.content_type != "application/json":
                return answer.status, body.decode(errors="replace")
            return answer.status, json.loads(body)
