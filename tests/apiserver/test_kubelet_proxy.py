"""exec and logs through the server to a kubelet; the kubelet here is a small fake with a real TLS socket."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from aiohttp import web

STDIN, STDOUT, STDERR, ERROR = b"\x00", b"\x01", b"\x02", b"\x03"
SUCCESS = b'{"metadata":{},"status":"Success"}'
PODS = "/api/v1/namespaces/default/pods"


class FakeKubelet:
    def __init__(self):
        self.requests = []
        self.port = 0
        self.read = asyncio.Event()

    @asynccontextmanager
    async def serving(self):
        app = web.Application()
        app.router.add_get("/containerLogs/{ns}/{pod}/{container}", self.logs)
        app.router.add_get("/exec/{ns}/{pod}/{container}", self.exec)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def logs(self, request):
        self.requests.append(request)
        if request.match_info["container"] == "broken":
            return web.Response(status=400, text="container is waiting to start")
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(2):
            await response.write(f"line {number}\n".encode())
        if request.match_info["container"] == "dying":
            await self.read.wait()
            request.transport.abort()
        return response

    async def exec(self, request):
        self.requests.append(request)
        if request.match_info["container"] == "broken":
            return web.Response(status=400, text='container "broken" is not running')
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        await socket.send_bytes(STDERR + b"to stderr\n")
        if request.query.get("input"):
            message = await socket.receive()
            await socket.send_bytes(STDOUT + b"got " + message.data[1:])
        else:
            await socket.send_bytes(STDOUT + " ".join(request.query.getall("command")).encode() + b"\n")
        await socket.send_bytes(ERROR + SUCCESS)
        await socket.close()
        return socket


@pytest.fixture
async def kubelet(api):
    async with FakeKubelet().serving() as fake:
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": fake.port}},
        }
        await api.post("/api/v1/nodes", {"metadata": {"name": "n1"}, "status": status})
        for name, containers in (("one", ["c"]), ("two", ["c", "broken", "dying"])):
            spec = {"nodeName": "n1", "containers": [{"name": c, "image": "x"} for c in containers]}
            await api.post(PODS, {"metadata": {"name": name}, "spec": spec})
        await api.post(
            PODS, {"metadata": {"name": "unbound"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
        )
        yield fake


@pytest.mark.programs
async def test_logs_reach_the_kubelet_with_their_options_and_the_token(server, kubelet, kubectl):
    assert await kubectl.ok("logs", "one", "--tail=5", "-f") == "line 0\nline 1\n"
    request = kubelet.requests[-1]
    assert request.path == "/containerLogs/default/one/c"
    assert (request.query["tailLines"], request.query["follow"]) == ("5", "true")
    assert request.headers["Authorization"] == f"Bearer {server.token}"


@pytest.mark.programs
async def test_exec_carries_output_input_and_status(kubelet, kubectl):
    code, out, err = await kubectl.run("exec", "one", "--", "echo", "a b", "c")
    assert (code, out, err) == (0, "echo a b c\n", "to stderr\n")
    assert kubelet.requests[-1].query.getall("command") == ["echo", "a b", "c"]
    code, out, _err = await kubectl.run("exec", "-i", "one", "--", "cat", stdin="hello")
    assert (code, out) == (0, "got hello")


@pytest.mark.programs
async def test_what_can_not_be_reached_is_said(api, kubelet, kubectl):
    no_name = await api.get(f"{PODS}/two/log")
    assert no_name.body["message"] == (
        "a container name must be specified for pod two, choose one of: [c broken dying]"
    )
    assert (await api.get(f"{PODS}/two/log?container=zz")).status == 400
    waiting = await api.get(f"{PODS}/two/log?container=broken")
    assert (waiting.status, waiting.body["message"]) == (400, "container is waiting to start")
    unbound = await api.get(f"{PODS}/unbound/log")
    assert unbound.body["message"] == "pod unbound does not have a host assigned"
    assert "does not have a host assigned" in await kubectl.fails("exec", "unbound", "--", "ls")
    assert 'container "broken" is not running' in await kubectl.fails(
        "exec", "two", "-c", "broken", "--", "ls"
    )


async def test_spdy_is_refused_with_a_reason(api, kubelet):
    answer = await api.call("POST", f"{PODS}/one/exec?command=ls", Upgrade="SPDY/3.1", Connection="Upgrade")
    assert answer.status == 400
    assert "exec needs a WebSocket upgrade" in answer.body["message"]


@pytest.mark.programs
async def test_a_dead_kubelet_is_a_500_with_the_address(api, kubelet, kubectl):
    status = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}}
    await api.merge("/api/v1/nodes/n1/status", status)
    answer = await api.get(f"{PODS}/one/log")
    assert answer.status == 500
    assert "https://127.0.0.1:1/containerLogs/default/one/c" in answer.body["message"]
    assert "https://127.0.0.1:1/exec/default/one/c" in await kubectl.fails("exec", "one", "--", "ls")


async def test_frames_pass_unchanged_and_the_end_of_one_side_ends_the_other(api, kubelet):
    url = f"{api.server.url}{PODS}/one/exec?command=cat&stdin=true&stdout=true"
    async with api.session.ws_connect(url, protocols=("v5.channel.k8s.io",)) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        assert (await socket.receive()).data == STDERR + b"to stderr\n"
        await socket.send_bytes(STDIN + b"x")
        assert (await socket.receive()).data == STDOUT + b"got x"
        assert (await socket.receive()).data == ERROR + SUCCESS
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_log_that_breaks_off_has_no_error_in_its_text(api, server, kubelet):
    text = b""

    async def read() -> None:
        nonlocal text
        async with api.session.get(f"{server.url}{PODS}/two/log?container=dying&follow=true") as answer:
            async for chunk in answer.content.iter_any():
                text += chunk
                kubelet.read.set()

    with pytest.raises(aiohttp.ClientError):
        await asyncio.wait_for(read(), 30)
    assert text in (b"line 0\n", b"line 0\nline 1\n")
