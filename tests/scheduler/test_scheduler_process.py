"""The scheduler as the process a lab starts: ready, working, stopped by SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

import pytest

from multinet.apiserver.server import ApiServer
from multinet.waits import wait_for

pytestmark = pytest.mark.programs


async def test_ready_then_a_clean_stop(tmp_path):
    async with ApiServer.start(workdir=tmp_path) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(tmp_path / "notify"))
            notified.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "multinet.kubelet.scheduler",
                "--kubeconfig",
                str(server.kubeconfig),
                env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": "/usr/bin:/bin"},
            )
            try:
                message = await wait_for("READY", asyncio.get_running_loop().sock_recv(notified, 100), 15)
                assert message == b"READY=1"
                process.send_signal(signal.SIGTERM)
                assert await wait_for("the end", process.wait(), 30) == 0
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def test_a_bad_kubeconfig_is_one_line_and_status_3(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "multinet.kubelet.scheduler",
        "--kubeconfig",
        str(tmp_path / "absent"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await wait_for("the end", process.communicate(), 15)
    assert process.returncode == 3
    assert b"can't be read" in said
    assert b"Traceback" not in said
