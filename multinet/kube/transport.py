"""HTTP to one API server: pooled connections, TLS, credentials, typed errors, bounded retries.

Two pools: watches hold their connection for long, so they must not eat the places of requests, and
requests are limited to a few connections, since a burst of 500 would else make 500 TLS handshakes.

A request is tried again only where that can't do it twice: refused connections (nothing was sent) for
idempotent methods, 429 (the server says it did nothing) for all, 401 once with renewed credentials.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from multinet.kube.config import ClusterAccess
from multinet.kube.credentials import Credentials, load_client_cert
from multinet.kube.errors import KubeError, UnreachableError, error_from_status
from multinet.waits import pause, turn

Pause = Callable[[str, float], Awaitable[None]]

_REQUEST_CONNECTIONS = 16
_CONNECT_LIMIT_S = 3.0
_REFUSED_DELAYS_S = (0.05, 0.1, 0.2, 0.4)
_THROTTLED_TRIES = 4
_THROTTLED_CAP_S = 5.0
# Closed so, a connection ends at once for the other side, too, whatever either still had to send.
_NO_LINGER = struct.pack("ii", 1, 0)
# From the end of a connection to the pool it takes some turns of the loop.
_TURNS = 10
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})

# A link that swallows packets is noticed by the kernel: first probe after 3 s of silence, then every
# 2 s, dead after 3 lost (9 s); the same limit for sent data that nobody acknowledges.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 9000),
)


class Transport:
    """Sends requests and opens streams; use between :meth:`open` and :meth:`close`."""

    def __init__(self, access: ClusterAccess, *, timeout_s: float, wait: Pause = pause) -> None:
        self._server = access.server
        self._tls_server_name = access.tls_server_name
        self._access = access
        self._pause = wait
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_LIMIT_S)
        self._credentials: Credentials | None = None
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def open(self) -> None:
        """Make the pools; no connection is made yet."""
        context = _tls_context(self._access) if self._server.startswith("https:") else None
        self._credentials = Credentials(self._access, context)
        self._requests = _session(context, _REQUEST_CONNECTIONS, self._socket)
        self._streams = _session(context, 0, self._socket)

    async def close(self) -> None:
        """Close all connections; running requests fail with ``UnreachableError``."""
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        self._requests = self._streams = None

    async def renew(self) -> None:
        """Give up all connections; answers that have begun end with ``UnreachableError``, new ones are made.

        At the sockets, for a session that is closed does not tell those who wait for the rest of an answer.
        """
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                each.shutdown(socket.SHUT_RDWR)
        # Until the pools know, too, and hand out none of them again.
        for _ in range(_TURNS):
            await turn()

    def _socket(self, address: AddrInfoType) -> socket.socket:
        made = _socket(address)
        self._sockets.add(made)
        return made

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Any:
        """Send a request and return the decoded JSON answer.

        Raises the errors of :mod:`multinet.kube.errors`. ``body`` is any JSON value, ``None`` for none.
        """
        data = None if body is None else orjson.dumps(body)
        url = self._url(path, query)
        refused = throttled = 0
        renewed = False
        while True:
            try:
                return await self._once(method, url, data, content_type, may_renew=not renewed)
            except _Renewed:
                renewed = True
            except UnreachableError as error:
                if not error.refused or method not in _IDEMPOTENT or refused >= len(_REFUSED_DELAYS_S):
                    raise
                await self._pause(f"retry of {method} {path}: connection refused", _REFUSED_DELAYS_S[refused])
                refused += 1
            except KubeError as error:
                throttled += 1
                if error.status != 429 or throttled >= _THROTTLED_TRIES:
                    raise
                delay = min(
                    float(error.details.get("retryAfterSeconds") or 0.2 * throttled), _THROTTLED_CAP_S
                )
                await self._pause(f"retry of {method} {path}: server is busy", delay)

    async def _once(
        self, method: str, url: URL, data: bytes | None, content_type: str, *, may_renew: bool
    ) -> Any:
        session, credentials = self._opened(self._requests)
        authorization = await credentials.header()
        headers = _headers(authorization, None if data is None else content_type)
        where = f"{method} {url.path}"
        with _translated(where, self._server):
            async with session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                server_hostname=self._tls_server_name,
            ) as response:
                content = await response.read()
                status = response.status
        if status < 300:
            return _decoded(content, where) if content else {}
        if status == 401 and may_renew and await credentials.renew_after_refusal(authorization):
            raise _Renewed
        raise _refusal(content, status, where)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: dict[str, str], *, silence_limit_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a GET answered in pieces; none for ``silence_limit_s`` seconds is ``UnreachableError``."""
        session, credentials = self._opened(self._streams)
        url = self._url(path, query)
        where = f"GET {url.path} (watch)"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_LIMIT_S, sock_read=silence_limit_s)
        for last_try in (False, True):
            authorization = await credentials.header()
            with _translated(where, self._server):
                async with session.get(
                    url,
                    headers=_headers(authorization, None),
                    timeout=timeout,
                    allow_redirects=False,
                    server_hostname=self._tls_server_name,
                ) as response:
                    if response.status < 300:
                        yield _pieces(response, where, self._server)
                        return
                    content = await response.read()
            renew = response.status == 401 and not last_try
            if not (renew and await credentials.renew_after_refusal(authorization)):
                raise _refusal(content, response.status, where)

    def _opened(self, session: aiohttp.ClientSession | None) -> tuple[aiohttp.ClientSession, Credentials]:
        if session is None or self._credentials is None:
            raise UnreachableError(
                "the client is closed", where=self._server, why="requests go inside 'async with Client(...)'"
            )
        return session, self._credentials

    def _url(self, path: str, query: dict[str, str] | None) -> URL:
        text = f"{self._server}{path}?{urlencode(query)}" if query else f"{self._server}{path}"
        return URL(text, encoded=True)


class _Renewed(Exception):
    """Credentials were renewed after a 401: send the request again (never leaves this module)."""


def _session(
    context: ssl.SSLContext | None, limit: int, socket_factory: aiohttp.SocketFactoryType
) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=limit,
        ssl=context if context is not None else True,
        keepalive_timeout=30.0,
        socket_factory=socket_factory,
        use_dns_cache=True,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        # All that aiohttp would add: told to skip one, it takes a quarter of a request's time to do so.
        headers={"User-Agent": "multinet", "Accept": "application/json", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    for level, option, value in _KEEPALIVE:
        made.setsockopt(level, option, value)
    return made


def _tls_context(access: ClusterAccess) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca)
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.client_cert and access.client_key:
        load_client_cert(context, access.client_cert, access.client_key)
    return context


def _headers(authorization: str | None, content_type: str | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if authorization is not None:
        headers["Authorization"] = authorization
    if content_type is not None:
        headers["Content-Type"] = content_type
    return headers


async def _pieces(response: aiohttp.ClientResponse, where: str, server: str) -> AsyncIterator[bytes]:
    with _translated(where, server):
        async for piece in response.content.iter_any():
            yield piece


def _decoded(content: bytes, where: str) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise KubeError(
            "the answer is not JSON",
            where=where,
            why=repr(content[:200]),
            next_step="is this a Kubernetes API?",
        ) from error


def _refusal(content: bytes, status: int, where: str) -> KubeError:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = {"message": content[:200].decode(errors="replace").strip(), "code": status}
    return error_from_status(body, status, where)


@contextlib.contextmanager
def _translated(where: str, server: str) -> Any:
    """Turn aiohttp's errors into ours."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise UnreachableError(
            f"the certificate of {server} is not trusted",
            where=where,
            why=str(error.certificate_error),
            next_step="check certificate-authority in the kubeconfig",
        ) from error
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        raise UnreachableError(
            f"can't connect to {server}", where=where, why=str(error.os_error), refused=refused
        ) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise UnreachableError(f"lost the connection to {server}", where=where, why=why) from error
