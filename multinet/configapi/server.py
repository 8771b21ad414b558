"""The config API as an object: start it in any event loop, use it, leave the block to stop it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from multinet.configapi.auth import Authenticator
from multinet.configapi.catalog import Catalogs
from multinet.configapi.console.pages import Console
from multinet.configapi.rest import Rest
from multinet.configapi.service import Service
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.kube.config import ClusterAccess
from multinet.kube.listening import listen
from multinet.model.naming import DEFAULT_CLUSTER
from multinet.waits import wait_for

_log = logging.getLogger(__name__)
_BODY_LIMIT = 3 * 1024 * 1024
_STOP_S = 1.0
_SYNC_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class ConfigApi:
    """A running server; ``failed`` is done when it can't go on."""

    url: str
    service: Service
    failed: asyncio.Task[None]

    @staticmethod
    @asynccontextmanager
    async def start(
        access: ClusterAccess,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        cluster: str = DEFAULT_CLUSTER,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[ConfigApi]:
        """Serve on ``host``:``port`` (0: a free one) until the block is left.

        Returns when the view of the cluster is complete. Raises ``LabError`` if the address can't be used.
        """
        async with Client(access) as client:
            view = View(client, cluster=cluster)
            service = Service(view, Catalogs(view))
            authenticator = Authenticator(access)
            synced = asyncio.Event()
            watching = asyncio.create_task(view.run(synced.set), name="configapi-view")
            runner = web.AppRunner(
                _application(service, authenticator, tls is not None),
                access_log=None,
                shutdown_timeout=_STOP_S,
            )
            try:
                hint = "is the Kubernetes API reachable, with our CRDs installed?"
                await wait_for("the config API's view", synced.wait(), _SYNC_LIMIT_S, hint=hint)
                await runner.setup()
                bound = await listen(runner, host, port, tls, what="the config API")
                url = f"{'https' if tls else 'http'}://{host}:{bound}"
                _log.info("serving %s, console at %s/console/", url, url)
                yield ConfigApi(url, service, watching)
            finally:
                await runner.cleanup()
                await authenticator.close()
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)


def _application(service: Service, authenticator: Authenticator, secure: bool) -> web.Application:
    rest = Rest(service, authenticator)
    console = Console(service, authenticator, secure=secure)
    application = web.Application(
        middlewares=[rest.middleware, console.middleware], client_max_size=_BODY_LIMIT
    )
    application.add_routes(rest.routes())
    application.add_routes(console.routes())
    return application
