"""The beginning of a server: its socket, or an error that names the address."""

from __future__ import annotations

import ssl

from aiohttp import web

from multinet.errors import LabError


async def listen(
    runner: web.BaseRunner,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    *,
    what: str,
    backlog: int = 128,
) -> int:
    """Serve at an address and return the port, which the kernel chooses for 0; ``LabError`` if it can't be.

    ``what`` is the server's name for people.
    """
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=backlog)
    try:
        await site.start()
    except OSError as error:
        raise LabError(
            f"{what} can't listen",
            where=f"{host}:{port}",
            why=str(error.strerror or error),
            next_step="choose another address with --listen, or stop what uses it",
        ) from error
    address = runner.addresses[0]
    return int(address[1])
