"""The agent's introspection: live counters over HTTP, for the console, on the original's port 8085.

``GET /counters`` answers ``{"<vni>/<mac>": {"sentPackets": n, ...}}`` for the interfaces of this node. There
is no token, as in the original, so only numbers are told, and only to neighbours on the underlay: pods reach
a node's address through the routed default network, with addresses of their own, and get 403.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface

from aiohttp import web

from multinet.vrouter import kernelstate, netlink
from multinet.vrouter.counters import read_counters
from multinet.vrouter.datapath import Attachment

PORT = 8085
_log = logging.getLogger(__name__)


@asynccontextmanager
async def introspection(
    node_ip: str, attachments: Callable[[], tuple[Attachment, ...]], *, port: int = PORT
) -> AsyncIterator[None]:
    """Serve on ``node_ip`` while the block runs.

    A port that can't be used is told in the log and stops nothing: pods need their network more than the
    console its numbers.
    """
    through = netlink.Socket()
    neighbours = [
        ip_interface(cidr).network
        for _, cidr in kernelstate.read_addresses(through)
        if cidr.partition("/")[0] == node_ip
    ]

    async def counters(request: web.Request) -> web.Response:
        caller = ip_address(request.remote or "0.0.0.0")
        if not any(caller in network for network in neighbours):
            raise web.HTTPForbidden(text=f"{caller} is not on this node's underlay\n")
        return web.json_response(read_counters(through, attachments()))

    application = web.Application()
    application.router.add_get("/counters", counters)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await _listen(runner, node_ip, port)
        yield
    finally:
        await runner.cleanup()
        through.close()


async def _listen(runner: web.AppRunner, node_ip: str, port: int) -> None:
    try:
        await web.TCPSite(runner, node_ip, port).start()
    except OSError as error:
        _log.error("no live counters: can't listen on %s:%s: %s", node_ip, port, error.strerror or error)
