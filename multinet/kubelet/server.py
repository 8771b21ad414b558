"""The kubelet's HTTPS server on port 10250: logs, exec, the pods of this node.

Whoever has the cluster's bearer token may use it; the API server forwards ``kubectl logs`` and ``exec``
with it. The certificate is made at each start: nothing in a lab lives longer.
"""

from __future__ import annotations

import hmac
import logging
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import trustme
from aiohttp import web

from multinet.errors import InputError
from multinet.kubelet.attendant import sources_of
from multinet.kubelet.containers import Container
from multinet.kubelet.context import NodeContext
from multinet.kubelet.environment import environment_of
from multinet.kubelet.execstream import PROTOCOLS, ExecRequest, serve
from multinet.kubelet.logs import LogOptions, stream
from multinet.kubelet.pods import PodWorker
from multinet.kubelet.podspec import containers_of, working_dir
from multinet.kubelet.sandbox import Sandbox
from multinet.model.objects import Obj

_log = logging.getLogger(__name__)
_LINE_LIMIT = 128 * 1024
FindWorker = Callable[[str, str], PodWorker | None]


@dataclass(frozen=True, slots=True)
class KubeletServer:
    """Answers for one node. ``find`` looks a pod up by namespace and name; ``pods`` lists them."""

    context: NodeContext
    token: str
    find: FindWorker
    pods: Callable[[], Iterable[Obj]]

    async def start(self, address: str, port: int) -> web.AppRunner:
        """Listen; the caller cleans the runner up. ``OSError`` when the address is taken."""
        application = web.Application(middlewares=[self._authenticate])
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/pods", self._pods),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
                web.get("/exec/{namespace}/{pod}/{container}", self._exec),
            ]
        )
        # A client that went away ends its log or exec at once, also while there is nothing to send; and an
        # exec's command line is in the URL, which the API server takes up to the same length.
        runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=1.0,
            handler_cancellation=True,
            max_line_size=_LINE_LIMIT,
        )
        await runner.setup()
        context = certificate(address, self.context.node)
        await web.TCPSite(runner, address, port, ssl_context=context).start()
        return runner

    @web.middleware
    async def _authenticate(
        self, request: web.Request, handler: Callable[[web.Request], object]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        # A header may hold any bytes, which aiohttp hands over as surrogates.
        sent = given.encode(errors="surrogateescape")
        if not self.token or not hmac.compare_digest(sent, f"Bearer {self.token}".encode()):
            raise web.HTTPUnauthorized(text="Unauthorized")
        response = await handler(request)  # type: ignore[misc]
        assert isinstance(response, web.StreamResponse)
        return response

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _pods(self, _request: web.Request) -> web.Response:
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "items": list(self.pods())})

    def _find(self, request: web.Request) -> tuple[PodWorker, Container]:
        namespace, pod = request.match_info["namespace"], request.match_info["pod"]
        name = request.match_info["container"]
        worker = self.find(namespace, pod)
        if worker is None:
            raise web.HTTPNotFound(text=f'pod "{namespace}/{pod}" is not on node {self.context.node}')
        container = worker.containers.by_name(name)
        if container is None:
            raise web.HTTPNotFound(text=f'container "{name}" is not in pod "{namespace}/{pod}"')
        return worker, container

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        _, container = self._find(request)
        try:
            options = LogOptions.from_query(request.query, datetime.now(UTC))
        except InputError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if container.attempts <= int(options.previous):
            which = "previous terminated container" if options.previous else "container"
            raise web.HTTPBadRequest(text=f'{which} "{container.name}" has not been started yet')
        path = container.log_path(previous=options.previous)
        path.touch()
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        attempt = container.attempts

        def running() -> bool:
            return not options.previous and container.running and container.attempts == attempt

        async for chunk in stream(path, options, running):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        worker, container = self._find(request)
        sandbox = worker.sandbox
        if sandbox is None or container.run is None or not container.running:
            raise web.HTTPBadRequest(text=f'container "{container.name}" is not running')
        wanted = _exec_request(request, self.context, worker.pod, sandbox, container)
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
        if not socket.can_prepare(request):
            raise web.HTTPBadRequest(text="exec is spoken over WebSocket only")
        await socket.prepare(request)
        await serve(socket, wanted)
        await socket.close()
        return socket


def _exec_request(
    request: web.Request, context: NodeContext, pod: Obj, sandbox: Sandbox, container: Container
) -> ExecRequest:
    def flag(*names: str) -> bool:
        return any(request.query.get(name, "").lower() in ("1", "true") for name in names)

    command = request.query.getall("command", [])
    if not command:
        raise web.HTTPBadRequest(text="exec needs at least one command=")
    tty = flag("tty")
    specs = (*containers_of(pod), *containers_of(pod, "initContainers"))
    spec = next(item for item in specs if item["name"] == container.name)
    try:
        env = environment_of(pod, spec, sources_of(context, sandbox))
    except InputError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    # The command's process, not the sandbox: the container may have mounts of its own.
    target = container.run.pid if container.run is not None else sandbox.pid
    if tty:
        env.setdefault("TERM", "xterm")
    return ExecRequest(
        argv=context.launcher.exec_argv(target, working_dir(spec), command, tty=tty),
        env=env,
        stdin=flag("input", "stdin"),
        stdout=flag("output", "stdout"),
        stderr=flag("error", "stderr") and not tty,
        tty=tty,
    )


def certificate(address: str, node: str) -> ssl.SSLContext:
    """A server context with a new self-signed EC certificate for the node."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(address, node, key_type=trustme.KeyType.ECDSA).configure_cert(context)
    return context
