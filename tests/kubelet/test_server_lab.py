"""logs and exec as a client of the kubelet sees them."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import aiohttp
import pytest

from multinet.waits import pause

pytestmark = pytest.mark.lab


@pytest.fixture
async def kubelet(lab):
    """A session with the token, and the base URL."""
    await lab.start_kubelet()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    base = f"https://127.0.0.1:{lab.options.port}"
    headers = {"Authorization": f"Bearer {lab.api.token}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(base, headers=headers, connector=connector) as session:
        yield session


async def started(lab, *command):
    await lab.pod("web", list(command))
    await lab.running("web")


def inotify_descriptors():
    links = (str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sum(link == "anon_inode:inotify" for link in links)


async def receive(socket, until=None):
    """All messages per channel until the server closes, or ``until`` is on stdout."""
    got = {}
    async for message in socket:
        got.setdefault(message.data[0], b"")
        got[message.data[0]] += message.data[1:]
        if until is not None and until in got.get(1, b""):
            break
    return got


async def test_a_wrong_token_is_refused(lab, kubelet):
    await started(lab, "sleep", "1000")
    async with kubelet.get("/healthz", headers={"Authorization": "Bearer wrong"}) as answer:
        assert answer.status == 401
    async with kubelet.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok")
    async with kubelet.get("/pods") as answer:
        assert [pod["metadata"]["name"] for pod in (await answer.json())["items"]] == ["web"]


async def test_credentials_of_any_bytes_are_refused(lab, kubelet):
    await started(lab, "sleep", "1000")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.options.port, ssl=context)
    writer.write(b"GET /pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert await asyncio.wait_for(reader.readline(), 30) == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()
    await writer.wait_closed()


async def test_logs_with_their_options(lab, kubelet):
    await started(lab, "sh", "-c", "echo one; echo two; echo three; sleep 1000")
    path = "/containerLogs/default/web/c0"
    async with kubelet.get(path, params={"follow": "true", "limitBytes": "14"}) as answer:
        assert await answer.text() == "one\ntwo\nthree\n"
    async with kubelet.get(path, params={"tailLines": "1", "timestamps": "true"}) as answer:
        stamp, text = (await answer.text()).split()
        assert (stamp[-1], text) == ("Z", "three")
    async with kubelet.get(path, params={"previous": "true"}) as answer:
        assert answer.status == 400
        assert "previous terminated container" in await answer.text()
    async with kubelet.get(path, params={"tailLines": "few"}) as answer:
        assert answer.status == 400
    async with kubelet.get("/containerLogs/default/web/nosuch") as answer:
        assert answer.status == 404


async def test_following_a_log_ends_with_the_container(lab, kubelet, tmp_path):
    gate = tmp_path / "gate"
    await lab.pod(
        "web", ["sh", "-c", f"mkfifo {gate}; echo first; read x < {gate}; echo last"], restartPolicy="Never"
    )
    await lab.running("web")
    async with kubelet.get("/containerLogs/default/web/c0", params={"follow": "true"}) as answer:
        assert await answer.content.readline() == b"first\n"
        await asyncio.to_thread(gate.write_text, "go\n")
        assert await asyncio.wait_for(answer.content.read(), 30) == b"last\n"


async def test_a_client_that_goes_away_ends_its_log_though_nothing_is_written(lab, kubelet):
    await started(lab, "sleep", "1000")
    before = inotify_descriptors()
    answers = [
        await kubelet.get("/containerLogs/default/web/c0", params={"follow": "true"}) for _ in range(3)
    ]
    assert inotify_descriptors() == before + 3
    for answer in answers:
        answer.close()
    for _ in range(400):
        if inotify_descriptors() == before:
            break
        await pause("the kubelet to notice", 0.05)
    assert inotify_descriptors() == before


async def test_exec_takes_a_long_command_line(lab, kubelet):
    await started(lab, "sleep", "1000")
    query = [("command", "echo"), ("command", "x" * 20_000), ("output", "1")]
    async with kubelet.ws_connect(
        "/exec/default/web/c0", params=query, protocols=["v5.channel.k8s.io"]
    ) as socket:
        got = await receive(socket)
    assert got[1] == b"x" * 20_000 + b"\n"


async def test_exec_returns_output_and_exit_code(lab, kubelet):
    await started(lab, "sleep", "1000")
    query = [("command", "sh"), ("command", "-c"), ("command", "hostname; echo oops >&2; exit 5")]
    query += [("output", "1"), ("error", "1")]
    async with kubelet.ws_connect(
        "/exec/default/web/c0", params=query, protocols=["v5.channel.k8s.io"]
    ) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        got = await receive(socket)
    assert (got[1], got[2]) == (b"web\n", b"oops\n")
    status = json.loads(got[3])
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "5"}]


async def test_exec_stdin_ends_with_the_close_signal(lab, kubelet):
    await started(lab, "sleep", "1000")
    query = {"command": "cat", "input": "1", "output": "1"}
    async with kubelet.ws_connect(
        "/exec/default/web/c0", params=query, protocols=["v5.channel.k8s.io"]
    ) as socket:
        await socket.send_bytes(b"\x00" + b"x" * 200_000)
        await socket.send_bytes(b"\xff\x00")
        got = await receive(socket)
    assert got[1] == b"x" * 200_000
    assert json.loads(got[3])["status"] == "Success"


async def test_exec_with_a_terminal_knows_its_size(lab, kubelet):
    await started(lab, "sleep", "1000")
    query = {"command": "sh", "input": "1", "output": "1", "tty": "1"}
    async with kubelet.ws_connect(
        "/exec/default/web/c0", params=query, protocols=["v4.channel.k8s.io"]
    ) as socket:
        await socket.send_bytes(b"\x04" + json.dumps({"Width": 123, "Height": 45}).encode())
        await socket.send_bytes(b"\x00tty && stty size\n")
        got = await receive(socket, until=b"45 123")
        assert b"/dev/" in got[1]
        await socket.send_bytes(b"\x00exit 6\n")
        got = await receive(socket)
    assert json.loads(got[3])["details"]["causes"][0]["message"] == "6"


async def test_exec_into_a_missing_program_says_so(lab, kubelet):
    await started(lab, "sleep", "1000")
    query = {"command": "/no/such", "output": "1", "error": "1"}
    async with kubelet.ws_connect(
        "/exec/default/web/c0", params=query, protocols=["v5.channel.k8s.io"]
    ) as socket:
        got = await receive(socket)
    assert b"/no/such: No such file or directory" in got[2]
    assert json.loads(got[3])["details"]["causes"][0]["message"] == "127"
