"""Live counters on a network's page: asked of the agents, shown where they answer, never in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, web

from multinet.configapi.console import counters
from multinet.kube.informer import Informer
from multinet.kube.resources import VIRTUAL_MACHINE_INTERFACES, VIRTUAL_NETWORKS


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a node agent at 127.0.0.1 says of its interfaces."""
    answer: dict[str, Any] = {}
    application = web.Application()

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response(answer)

    application.router.add_get("/counters", tell)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(counters, "AGENT_PORT", runner.addresses[0][1])
    yield answer
    await runner.cleanup()


async def interface_of(cluster: Any, nad: str) -> Any:
    """The interface that the controller makes in a NAD's network, as soon as it is there."""
    informer = Informer(cluster.kube, VIRTUAL_MACHINE_INTERFACES)
    running = asyncio.create_task(informer.run())

    def made(store: Any) -> Any:
        return next((vmi for vmi in store.values() if vmi["spec"]["nad"] == nad), None)

    try:
        return await informer.wait_until(f"an interface in {nad}", made, 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_agents_say_is_joined_and_a_silent_one_is_left_out(agent: Any) -> None:
    agent["7/02:00:00:00:00:01"] = {"sentPackets": 3}
    # Nothing listens at 127.0.0.2 on this port.
    found = await counters.fetch(["127.0.0.1", "127.0.0.2"])
    assert found == {"7/02:00:00:00:00:01": {"sentPackets": 3}}


async def test_a_networks_page_shows_them(cluster: Any, agent: Any) -> None:
    await cluster.node("node1", "127.0.0.1")
    await cluster.nad("blue", {"opencontrail.org/cidr": "10.20.0.0/24"})
    await cluster.pod("web", "blue")
    vmi = await interface_of(cluster, "default/blue")
    agent[f"{vmi['spec']['vni']}/{vmi['spec']['mac']}"] = {"receivedPackets": 4711, "sentBytes": 815}
    vn = await cluster.kube.get(VIRTUAL_NETWORKS, vmi["spec"]["network"])
    page = f"{cluster.config.url}/console/networks/{vn['metadata']['uid']}"
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        await browser.post(f"{cluster.config.url}/console/login", data={"token": cluster.token})
        text = await (await browser.get(page)).text()
        assert "Packets in" in text
        assert '<td class="number">4711</td>' in text
        assert '<td class="number">815</td>' in text
        agent.clear()
        answer = await browser.get(page)
        assert answer.status == 200
        assert "Packets in" not in await answer.text()
