"""A lab to look around in: kubectl, and commands on its nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

SCRIPT = """
kubectl get nodes -o name
cd / && on node1 sh -c 'hostname; pwd; ip -o link show eth0 | wc -l; exit 7'
echo $?
on cp hostname
on node9 true
echo $?
"""


def test_commands_on_nodes(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    argv = [sys.executable, "-m", "scenarios.shell", "--run-dir", str(tmp_path), "--nodes", "1"]
    argv += ["--parent", str(os.getpid()), "--", "sh", "-c", SCRIPT]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["node/node1", "node1", "/", "1", "7", "cp", "2"], done.stderr
    assert "on: no machine 'node9': on NODE COMMAND..., with one of cp, node1" in done.stderr
