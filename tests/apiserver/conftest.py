"""A server per test, and a client that shows status codes and bodies as they are."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from multinet import waits
from multinet.apiserver.server import ApiServer

KUBECTL = Path(sys.executable).with_name("kubectl")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Any


class Api:
    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.session.request(method, self.server.url + path, data=data, headers=sent) as answer:
            text = await answer.text()
            parsed = json.loads(text) if text[:1] in "{[" and text else text
            return Answer(answer.status, parsed, answer.headers)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any) -> Answer:
        return await self.call("POST", path, body)

    async def merge(self, path: str, body: Any) -> Answer:
        return await self.call("PATCH", path, body, Content_Type="application/merge-patch+json")

    async def watch(self, path: str, count: int) -> list[dict[str, Any]]:
        """Return the first ``count`` events of a watch."""

        async def read() -> list[dict[str, Any]]:
            events: list[dict[str, Any]] = []
            async with self.session.get(self.server.url + path) as answer:
                assert answer.status == 200
                while len(events) < count:
                    line = await answer.content.readline()
                    assert line, f"the watch ended after {events}"
                    events.append(json.loads(line))
            return events

        return await waits.wait_for("watch events", read(), 30)


@pytest.fixture
async def server(tmp_path: Path, pki: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer.start(workdir=tmp_path, pki_dir=pki) as started:
        yield started


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    context = ssl.create_default_context(cadata=server.ca_pem)
    headers = {"Authorization": f"Bearer {server.token}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        yield Api(server, session)


class Kubectl:
    """Runs the real kubectl against the server."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.kubeconfig = kubeconfig
        self.home = home
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    async def start(self, *words: str, stdin: int | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *words,
            env=self.environment,
            stdin=stdin or asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        process = await self.start(*words)
        out, err = await waits.wait_for(f"kubectl {words}", process.communicate(stdin.encode()), 60)
        return process.returncode or 0, out.decode(), err.decode()

    async def ok(self, *words: str, stdin: str = "") -> str:
        code, out, err = await self.run(*words, stdin=stdin)
        assert code == 0, err
        return out

    async def fails(self, *words: str, stdin: str = "") -> str:
        code, out, err = await self.run(*words, stdin=stdin)
        assert code != 0, out
        return err


@pytest.fixture
def kubectl(server: ApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(server.kubeconfig, tmp_path / "home")
