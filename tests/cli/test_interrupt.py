"""A Ctrl-C at any moment: one line and exit status 3, never a traceback or silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
# Interrupts itself at the import of the module named first; sitecustomize would come before the command.
AT_IMPORT = """\
import builtins, os, runpy, signal, sys
real, where = builtins.__import__, sys.argv.pop(1)
def interrupting(name, *rest, **named):
    if name == where:
        builtins.__import__ = real
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest, **named)
builtins.__import__ = interrupting
signal.signal(signal.SIGINT, signal.SIG_IGN)
runpy.run_module("multinet.cli", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module",
    ["multinet.cli.main", "multinet.cli.verbs", "typer", "reports.verdicts", "scenarios.launch", "yaml"],
)
def test_while_something_is_imported(module: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", AT_IMPORT, module, "run", "no-such.yaml", "--runs-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (3, "multinet: interrupted\n")


def test_lab_itself_says_so(tmp_path: Path) -> None:
    head = (ROOT / "lab").read_text().split("# Called through", 1)[0]
    script = tmp_path / "lab"
    script.write_text(head + "kill -INT $$\necho still here\n")
    done = subprocess.run(["/bin/sh", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "lab: interrupted\n")


def test_lab_gives_the_signal_back(tmp_path: Path) -> None:
    """Started with SIGINT ignored, the command still ends by it."""
    code = (
        "import os, signal, sys; import multinet.cli.verbs as v; "
        "from multinet.cli import main as m; "
        "v.app = lambda **_: os.kill(os.getpid(), signal.SIGINT); m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (3, "multinet: interrupted\n")


def test_a_fuzzers_campaign_of_hours_ends_after_a_step_and_is_reported(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "multinet.cli", "fuzz", "--budget", "300", "--export", str(tmp_path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as fuzzer:
        assert fuzzer.stdout is not None
        assert " steps/s, " in fuzzer.stdout.readline()  # of the first batch
        fuzzer.send_signal(signal.SIGINT)
        told = fuzzer.stdout.read()
    assert fuzzer.returncode == 3
    assert told.endswith("exit status 3: could not run\n")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["interrupted"]
    assert report["figures"]["steps"] == sum(report["coverage"]["kinds"].values()) > 0
