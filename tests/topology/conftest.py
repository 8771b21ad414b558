"""Running scripts in processes of their own, as root and as an ordinary user."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# An ordinary user, as far as the kernel's checks go: no capability, and a UID that is not 0.
AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


@pytest.fixture
def python_env():
    """The environment for scripts that import the project and the stand-ins."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def run_script(python_env, tmp_path):
    """Run Python source, or a script of this folder, in a process of its own; return the finished process."""

    def run(source, *arguments, prefix=(), limit_s=60, env=None):
        script = HERE / source
        if not source.endswith(".py"):
            script = tmp_path / "script.py"
            script.write_text(source)
        argv = [*prefix, sys.executable, str(script), *map(str, arguments)]
        return subprocess.run(
            argv, env=python_env | (env or {}), capture_output=True, text=True, timeout=limit_s, cwd=ROOT
        )

    return run


@pytest.fixture(params=["as root", "as an ordinary user"])
def prefix(request):
    """How to start a command: as we are, or as an ordinary user."""
    if request.param == "as root":
        return ()
    assert shutil.which("unshare"), "util-linux is part of the base system"
    return AS_USER
