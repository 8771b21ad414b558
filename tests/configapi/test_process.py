"""The config API as a process: options, readiness, a clean stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from multinet.apiserver.server import ApiServer
from multinet.configapi.main import main
from multinet.waits import wait_for

pytestmark = pytest.mark.programs


async def test_it_tells_when_it_is_ready_and_stops_on_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(path))
        notified.setblocking(False)
        async with ApiServer.start(workdir=tmp_path) as api:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "multinet.configapi.main", "--kubeconfig", str(api.kubeconfig)),
                *("--listen", "127.0.0.1:0"),
                env={**os.environ, "NOTIFY_SOCKET": str(path)},
                stderr=asyncio.subprocess.PIPE,
            )
            loop = asyncio.get_running_loop()
            said = await wait_for("READY", loop.sock_recv(notified, 100), 20)
            process.send_signal(signal.SIGTERM)
            _, log = await wait_for("the end", process.communicate(), 10)
    assert said == b"READY=1"
    assert process.returncode == 0, log.decode()
    assert b"console at http://127.0.0.1:" in log


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "nowhere"],
        ["--listen", "127.0.0.1:99999"],
        ["--tls-cert", "/nonexistent"],
        ["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"],
        [],
    ],
)
def test_options_that_can_not_be_used_end_with_2(tmp_path: Path, words: list[str]) -> None:
    assert main(["--kubeconfig", str(tmp_path / "missing"), *words]) == 2
