"""What processes of ours find: administrators' programs for ordinary users too; the checkout of ./lab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.launch import _Relay, _Requests
from topology import capabilities

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]


def test_the_administrators_programs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    assert capabilities.environment()["PATH"] == "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def test_a_path_that_has_them_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/sbin:/usr/sbin:/bin")
    assert capabilities.environment()["PATH"] == "/sbin:/usr/sbin:/bin"


def test_the_worker_gets_that_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "logs").mkdir()
    code = "import os; print(os.environ['PATH'])"
    assert _Relay(tmp_path, lambda _: None, _Requests()).run([sys.executable, "-c", code]) == 0
    assert (tmp_path / "logs" / "worker.log").read_text() == "/usr/bin:/bin:/usr/sbin:/sbin\n"


def test_doctor_looks_for_what_mininet_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (found,) = (one for one in capabilities._programs() if one.name == "ifconfig")
    assert found.required
    assert found.available == (shutil.which("ifconfig", path="/usr/bin:/bin:/usr/sbin:/sbin") is not None)


@pytest.mark.parametrize("readlink", [True, False], ids=["readlink", "without readlink"])
def test_lab_finds_its_checkout_through_links(tmp_path: Path, readlink: bool) -> None:
    checkout, elsewhere = tmp_path / "check out", tmp_path / "bin"
    checkout.mkdir()
    elsewhere.mkdir()
    # Up to where it knows its directory; the rest would set a virtual environment up.
    head = (ROOT / "lab").read_text().split("venv=", 1)[0]
    script = checkout / "lab"
    script.write_text(head + 'printf "%s\\n" "$here"\n')
    script.chmod(0o755)
    (elsewhere / "one").symlink_to("../check out/lab")
    (elsewhere / "two").symlink_to(elsewhere / "one")
    path = os.environ["PATH"]
    if not readlink:
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("dirname", "ls"):
            (tools / name).symlink_to(str(shutil.which(name)))
        path = str(tools)
    done = subprocess.run(
        ["/bin/sh", str(elsewhere / "two")], capture_output=True, text=True, check=True, env={"PATH": path}
    )
    assert done.stdout.strip() == str(checkout.resolve())
