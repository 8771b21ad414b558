"""``pods/log`` and ``pods/exec``: passed on to the kubelet of the pod's node, byte by byte.

The kubelet is found as Kubernetes finds it: the node's InternalIP and ``daemonEndpoints.kubeletEndpoint``
(10250 if unset), over HTTPS; its certificate isn't verified, as a kube-apiserver without
``--kubelet-certificate-authority`` doesn't either. exec speaks WebSocket (kubectl 1.31 and newer); SPDY is
refused with a Status that says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence

import aiohttp
from aiohttp import web

from multinet.apiserver.codec import encode
from multinet.apiserver.errors import StatusError, bad_request, internal, not_found
from multinet.model.objects import Obj

CHANNEL_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_ERROR_CHANNEL = b"\x03"
_PORT = 10250
_LOG_OPTIONS = (
    "follow",
    "tailLines",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "limitBytes",
    "previous",
    "stream",
)
_CONNECT_S = 5.0
_MESSAGE_LIMIT = 32 * 1024 * 1024


class KubeletProxy:
    """Talks to kubelets on behalf of clients. ``node`` returns a Node by name, or None."""

    def __init__(self, node: Callable[[str], Obj | None], token: str) -> None:
        self._node = node
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None
        # Trust on the node's address alone, as a kube-apiserver does by default.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def close(self) -> None:
        """Close the connections to kubelets."""
        if self._session is not None:
            await self._session.close()

    async def log(self, request: web.BaseRequest, pod: Obj, query: Mapping[str, str]) -> web.StreamResponse:
        """Stream a container's log."""
        container = _container(pod, query.get("container", ""))
        url = self._url(pod, "containerLogs", container)
        options = {name: query[name] for name in _LOG_OPTIONS if name in query}
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        try:
            async with self._client().get(url, params=options) as answer:
                if answer.status != 200:
                    raise _kubelet_said(answer.status, await answer.text())
                response.enable_chunked_encoding()
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientError as error:
            if response.prepared and request.transport is not None:
                # An error's text would be taken for a part of the log: the client sees an end too early.
                request.transport.abort()
                return response
            raise internal(f'Get "{url}": {error}') from error

    async def exec(self, request: web.BaseRequest, pod: Obj) -> web.StreamResponse:
        """Join a client's WebSocket to a kubelet's."""
        query = request.query
        url = self._url(pod, "exec", _container(pod, query.get("container", "")))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request(
                "exec needs a WebSocket upgrade (kubectl 1.31 or newer); SPDY is not served here"
            )
        streams = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
        options = [("command", word) for word in query.getall("command", [])]
        options += [(to, "1") for from_, to in streams.items() if query.get(from_, "") in ("true", "1")]
        asked = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        protocols = [p for p in asked if p in CHANNEL_PROTOCOLS]
        if not protocols:
            raise bad_request(f"no WebSocket subprotocol in common; served: {', '.join(CHANNEL_PROTOCOLS)}")
        try:
            async with self._client().ws_connect(
                url, params=options, protocols=protocols, max_msg_size=_MESSAGE_LIMIT
            ) as upstream:
                return await _join(request, upstream)
        except aiohttp.WSServerHandshakeError as error:
            why = await self._why_refused(url, options) or error.message
            return await _refuse(request, protocols, _kubelet_said(error.status, why))
        except aiohttp.ClientError as error:
            return await _refuse(request, protocols, internal(f'Get "{url}": {error}'))

    async def _why_refused(self, url: str, options: list[tuple[str, str]]) -> str:
        """The kubelet's words: those of a refused upgrade are lost, so it is asked again without one."""
        try:
            async with asyncio.timeout(_CONNECT_S), self._client().get(url, params=options) as answer:
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            )
        return self._session

    def _url(self, pod: Obj, verb: str, container: str) -> str:
        metadata = pod["metadata"]
        node_name = pod["spec"].get("nodeName")
        if not node_name:
            raise bad_request(f"pod {metadata['name']} does not have a host assigned")
        node = self._node(node_name)
        if node is None:
            raise not_found("nodes", "", node_name)
        status = node.get("status") or {}
        address = next(
            (a["address"] for a in status.get("addresses") or () if a.get("type") == "InternalIP"), None
        )
        if address is None:
            raise internal(f"no InternalIP in the addresses of node {node_name}")
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _PORT
        host = f"[{address}]" if ":" in address else address
        return f"https://{host}:{port}/{verb}/{metadata['namespace']}/{metadata['name']}/{container}"


def _container(pod: Obj, asked: str) -> str:
    spec = pod["spec"]
    names = [c["name"] for field in ("containers", "initContainers") for c in spec.get(field) or ()]
    name = pod["metadata"]["name"]
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    main: Sequence[Obj] = spec.get("containers") or ()
    if len(main) != 1:
        choices = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")
    return str(main[0]["name"])


def _kubelet_said(status: int, text: str) -> StatusError:
    reasons = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}
    if status in reasons:
        return StatusError(status, reasons[status], text.strip() or reasons[status])
    return internal(f"the kubelet answered {status}: {text.strip()}")


async def _refuse(
    request: web.BaseRequest, protocols: Sequence[str], error: StatusError
) -> web.StreamResponse:
    """Say on the error channel why the kubelet can't serve.

    A refused upgrade would make kubectl try SPDY and show that error instead.
    """
    downstream = web.WebSocketResponse(protocols=protocols)
    await downstream.prepare(request)
    await downstream.send_bytes(_ERROR_CHANNEL + encode(error.status()))
    await downstream.close()
    return downstream


async def _join(request: web.BaseRequest, upstream: aiohttp.ClientWebSocketResponse) -> web.StreamResponse:
    """Copy messages both ways until either side closes; then close both."""
    protocols = [upstream.protocol] if upstream.protocol else []
    downstream = web.WebSocketResponse(protocols=protocols, max_msg_size=_MESSAGE_LIMIT)
    await downstream.prepare(request)
    out = asyncio.create_task(_copy(upstream, downstream), name="exec output")
    into = asyncio.create_task(_copy(downstream, upstream), name="exec input")
    try:
        await asyncio.wait((out, into), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (out, into):
            task.cancel()
        await asyncio.gather(out, into, return_exceptions=True)
        await upstream.close()
        await downstream.close()
    return downstream


async def _copy(
    source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    sink: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
