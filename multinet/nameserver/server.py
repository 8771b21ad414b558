"""Sockets of the name server: UDP, and TCP for what is too long for it (RFC 7766)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator
from typing import cast

from multinet.errors import LabError
from multinet.nameserver.answers import Answerer

PORT = 53
_IDLE_S = 10.0
_log = logging.getLogger(__name__)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._through: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass of asyncio's.
        self._through = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answerer.answer(data, over_tcp=False)
        if answer and self._through is not None:
            self._through.sendto(answer, addr)


@contextlib.asynccontextmanager
async def serving(answerer: Answerer, address: str, port: int = PORT) -> AsyncIterator[int]:
    """Answer at an address while the context lasts; gives the port. ``LabError`` when it is taken."""
    loop = asyncio.get_running_loop()
    try:
        datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(answerer), local_addr=(address, port)
        )
        where = datagrams.get_extra_info("sockname")[1]
        streams = await asyncio.start_server(lambda r, w: _converse(answerer, r, w), address, where)
    except OSError as error:
        raise LabError(
            "the name server cannot listen", where=f"{address}:{port}", why=str(error.strerror)
        ) from error
    try:
        yield where
    finally:
        datagrams.close()
        streams.close()


async def _converse(answerer: Answerer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one query after the other until the client is silent or gone."""
    try:
        while True:
            async with asyncio.timeout(_IDLE_S):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = await reader.readexactly(length)
            answer = answerer.answer(query, over_tcp=True)
            if not answer:
                return
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()
