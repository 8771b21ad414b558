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

from multinet.apiserver import pki
from multinet.apiserver.builtins import BUILTINS
from multinet.apiserver.codec import copied
from multinet.apiserver.dispatch import Dispatcher
from multinet.apiserver.errors import StatusError
from multinet.apiserver.kubelet_proxy import KubeletProxy
from multinet.apiserver.lifecycle import CRDS, Lifecycle
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.resources import Types
from multinet.apiserver.service_kinds import API_ADDRESS, api_service
from multinet.apiserver.store import Store
from multinet.errors import LabError
from multinet.model.crds import crd_manifests
from multinet.model.objects import Obj

_log = logging.getLogger("multinet.apiserver")
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
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
    ) -> AsyncIterator[ApiServer]:
        """Serve on ``host``:``port`` (0: a free one) until the block is left.

        ``workdir`` takes what ``kubeconfig`` (file) and ``pki_dir`` don't name. ``advertise`` is the URL for
        clients. Raises ``LabError`` if the address can't be used.
        """
        names = [host, urlsplit(advertise).hostname or "", API_ADDRESS]
        credentials = pki.issue(pki_dir or workdir / "pki", names)
        operations = Operations(Store(), Types(BUILTINS))
        kubelets = KubeletProxy(lambda name: _node(operations, name), credentials.token)
        lifecycle = Lifecycle(operations, lambda name: _furnish(operations, name, credentials.ca_pem))
        _populate(operations, crd_manifests() if crds is None else crds)
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
        try:
            bound = await _listen(runner, host, port, credentials)
            url = advertise or f"https://{host}:{bound}"
            path = kubeconfig or workdir / "kubeconfig"
            pki.write_kubeconfig(path, url, credentials)
            for group, plural, obj in api_service(url):
                _create(operations, group, plural, "default", obj)
            _log.info("serving %s", url)
            yield ApiServer(url, path, credentials.token, credentials.ca_pem, operations)
        finally:
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


async def _listen(runner: web.ServerRunner, host: str, port: int, credentials: pki.Credentials) -> int:
    site = web.TCPSite(runner, host, port, ssl_context=credentials.tls(), backlog=1024)
    try:
        await site.start()
    except OSError as error:
        raise LabError(
            "the API server can't listen",
            where=f"{host}:{port}",
            why=str(error.strerror or error),
            next_step="choose another address with --listen, or stop what uses it",
        ) from error
    address = runner.addresses[0]
    return int(address[1])


def _node(operations: Operations, name: str) -> Obj | None:
    entry = operations.store.get("nodes", "", name)
    return entry.view() if entry else None


def _populate(operations: Operations, crds: Iterable[Obj]) -> None:
    for name in NAMESPACES:
        _create(operations, "", "namespaces", "", {"metadata": {"name": name}})
    for crd in crds:
        _create(operations, "apiextensions.k8s.io", CRDS.partition(".")[0], "", copied(crd))


def _furnish(operations: Operations, namespace: str, ca_pem: str) -> None:
    """Give a new namespace what every namespace has."""
    _create(operations, "", "serviceaccounts", namespace, {"metadata": {"name": "default"}})
    authority = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ca_pem}}
    _create(operations, "", "configmaps", namespace, authority)


def _create(operations: Operations, group: str, plural: str, namespace: str, obj: Obj) -> None:
    resource_type = operations.types.find(group, plural)
    if resource_type is None:
        raise LabError(f"the API server doesn't serve {plural}")
    target = Target(resource_type, resource_type.versions[0], namespace)
    try:
        operations.create(target, obj, Options())
    except StatusError as error:
        raise LabError(
            f"the API server can't create its own {plural}", where=obj["metadata"]["name"], why=error.message
        ) from error
