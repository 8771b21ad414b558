"""The embedded API's front door without a socket: a request in, a status and a body out, on a new cluster.

Everything from the URL and the headers on is the server's own code; only aiohttp's reading of bytes from a
connection is left out. A watch is answered by its first lines: the client hangs up as soon as it gets any.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote, urlencode

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from conformance.fuzz.parsers.subject import as_bytes
from multinet.apiserver import cluster
from multinet.apiserver.dispatch import Dispatcher
from multinet.apiserver.kubelet_proxy import KubeletProxy
from multinet.apiserver.operations import Operations
from multinet.model.objects import Obj

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_LIMIT = 3 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` 0: a watch was begun."""

    status: int
    body: Any


class ApiHost:
    """One cluster's API in this process; make it inside a running event loop.

    ``custom``: with the project's own kinds, which take most of the time it takes.
    """

    def __init__(self, *, custom: bool = False) -> None:
        self.operations: Operations
        self.operations, lifecycle = cluster.assemble(crds=None if custom else ())
        kubelets = KubeletProxy(self._node, "token")
        self._dispatcher = Dispatcher(self.operations, lifecycle, "token", kubelets)

    def _node(self, name: str) -> Obj | None:
        entry = self.operations.store.get("nodes", "", name)
        return entry.view() if entry else None

    async def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Answer ``{"method", "path", "query": {..}, "type", "accept", "body", "raw" or "base64"}``."""
        query = urlencode(asked.get("query") or {}, errors="surrogatepass")
        path = quote(asked["path"], safe="/%", errors="surrogatepass")
        body = as_bytes(asked["raw"]) if "raw" in asked else b""
        if "base64" in asked:
            body = base64.b64decode(asked["base64"])
        if "body" in asked:
            body = json.dumps(asked["body"]).encode()
        headers = {
            "Authorization": "Bearer token",
            "Content-Type": asked.get("type", JSON),
            "Accept": asked.get("accept", JSON),
        }
        try:
            answer = await self._dispatcher.handle(
                _request(asked["method"], f"{path}?{query}", headers, body)
            )
        except ConnectionResetError:
            return Answer(0, None)
        if not isinstance(answer, web.Response) or answer.body is None:
            return Answer(0, None)
        text = bytes(cast(bytes, answer.body))
        return Answer(answer.status, json.loads(text) if text[:1] == b"{" else text)


class _GoneWriter:
    """The connection of a client that hangs up when the answer begins."""

    transport = None
    length = 0
    output_size = 0

    async def write_headers(self, *_: object) -> None:
        raise ConnectionResetError

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kinds: None


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    sent = CIMultiDictProxy(CIMultiDict(headers))
    raw = tuple((name.encode(), value.encode(errors="replace")) for name, value in headers.items())
    url = URL(target, encoded=True)
    message = RawRequestMessage(method, target, HttpVersion11, sent, raw, False, None, False, False, url)
    protocol = cast(Any, SimpleNamespace(ssl_context=None, peername=None, sockname=None, transport=None))
    payload = StreamReader(BaseProtocol(loop), _LIMIT, loop=loop)
    payload.feed_data(body)
    payload.feed_eof()
    return web.BaseRequest(
        message, payload, protocol, cast(Any, _GoneWriter()), cast(Any, None), loop, client_max_size=_LIMIT
    )
