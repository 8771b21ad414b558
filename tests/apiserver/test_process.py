"""The server as a process: ready notification, kubeconfig, a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys

import pytest
import yaml

from multinet import waits

pytestmark = pytest.mark.programs


async def test_ready_then_clean_stop(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.setblocking(False)
        kubeconfig = tmp_path / "out" / "kubeconfig"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "multinet.apiserver.main", "--listen", "127.0.0.1:0"),
            *("--advertise", "https://127.0.0.1:6443", "--pki-dir", str(tmp_path / "pki")),
            *("--kubeconfig", str(kubeconfig)),
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            loop = asyncio.get_running_loop()
            said = await waits.wait_for("the server", loop.sock_recv(notify, 64), 10)
            assert said == b"READY=1"
            assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
            config = yaml.safe_load(kubeconfig.read_text())
            assert config["current-context"] == "multinet"
            assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
            assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "pki").iterdir()} == {0o600}
            process.send_signal(signal.SIGTERM)
            assert await waits.wait_for("the end", process.wait(), 30) == 0
        finally:
            if process.returncode is None:
                process.kill()


async def test_an_address_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "multinet.apiserver.main"),
            *("--listen", f"127.0.0.1:{taken.getsockname()[1]}"),
            *("--pki-dir", str(tmp_path / "pki"), "--kubeconfig", str(tmp_path / "k")),
            stderr=asyncio.subprocess.PIPE,
        )
        _out, err = await waits.wait_for("the end", process.communicate(), 10)
    assert process.returncode == 3
    assert b"the API server can't listen" in err
    assert b"Traceback" not in err
