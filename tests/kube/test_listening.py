"""Where a server listens: the port it was given, or why it has none."""

import pytest
from aiohttp import web

from multinet.errors import LabError
from multinet.kube.listening import listen


async def _refuse(_request):
    return web.Response(status=404)


async def test_the_kernel_chooses_a_port_and_nobody_else_gets_it():
    first, second = web.ServerRunner(web.Server(_refuse)), web.ServerRunner(web.Server(_refuse))
    await first.setup()
    await second.setup()
    try:
        port = await listen(first, "127.0.0.1", 0, None, what="the first")
        assert port > 0
        with pytest.raises(LabError, match="the second can't listen") as caught:
            await listen(second, "127.0.0.1", port, None, what="the second")
        assert caught.value.where == f"127.0.0.1:{port}"
        assert "--listen" in caught.value.next_step
    finally:
        await first.cleanup()
        await second.cleanup()
