"""The API server as an object: start it in any event loop, use it, leave the block to stop it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from multinet.apiserver import cluster, pki
from multinet.apiserver.dispatch import Dispatcher
from multinet.apiserver.expiry import EventExpiry
from multinet.apiserver.kubelet_proxy import KubeletProxy
from multinet.apiserver.operations import Operations
from multinet.apiserver.service_kinds import API_ADDRESS, api_service
from multinet.kube.listening import listen
from multinet.model.objects import Obj

_log = logging.getLogger("multinet.apiserver")
_STOP_S = 1.0
_BODY_LIMIT = 3 * 1024 * 1024
_LINE_LIMIT = 128 * 1024


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running server. ``operations`` is for tests that look behind the protocol."""

    url: str
    kubeconfig: Path
    token: str
    ca_pem: str
    operations: Operations

    @staticmethod
    @asynccontextmanager
    async def start(
        *,
        workdir: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        advertise: str = "",
        kubeconfig: Path | None = None,
        pki_dir: Path | None = None,
        crds: Iterable[Obj] | None = None,
        service_block6: str = "",
    ) -> AsyncIterator[ApiServer]:
        """Serve on ``host``:``port`` (0: a free one) until the block is left.

        ``workdir`` takes what ``kubeconfig`` (file) and ``pki_dir`` don't name. ``advertise`` is the URL for
        clients. Services may have IPv6 addresses of ``service_block6``. Raises ``LabError`` if the address
        can't be used.
        """
        names = [host, urlsplit(advertise).hostname or "", API_ADDRESS]
        credentials = pki.issue(pki_dir or workdir / "pki", names)
        operations, lifecycle = cluster.assemble(
            ca_pem=credentials.ca_pem, crds=crds, service_block6=service_block6
        )
        kubelets = KubeletProxy(lambda name: _node(operations, name), credentials.token)
        dispatcher = Dispatcher(operations, lifecycle, credentials.token, kubelets)
        # A client that went away must end its watch at once, so handlers are cancelled on disconnect.
        # An exec's command line is in the URL, so lines may be long.
        server = web.Server(
            dispatcher.handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,  # Writing one took a sixth of the server's time.
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
        await runner.setup()
        expiring = asyncio.create_task(EventExpiry(operations.store).run())
        try:
            bound = await listen(runner, host, port, credentials.tls(), what="the API server", backlog=1024)
            url = advertise or f"https://{host}:{bound}"
            path = kubeconfig or workdir / "kubeconfig"
            pki.write_kubeconfig(path, url, credentials)
            for group, plural, obj in api_service(url):
                cluster.create(operations, group, plural, "default", obj)
            _log.info("serving %s", url)
            yield ApiServer(url, path, credentials.token, credentials.ca_pem, operations)
        finally:
            expiring.cancel()
            operations.store.close_watchers()
            await kubelets.close()
            await runner.cleanup()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY_LIMIT)


def _node(operations: Operations, name: str) -> Obj | None:
    entry = operations.store.get("nodes", "", name)
    return entry.view() if entry else None
