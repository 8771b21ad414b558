"""The contract of both sandbox helpers: the C program and the Python one behave alike."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from multinet.cni import install
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.mounts import Mount, plan

pytestmark = pytest.mark.lab


@pytest.fixture(params=["c", "python"], scope="module")
def helper(request, tmp_path_factory):
    if request.param == "python":
        return list(Launcher.fallback().helper)
    built = {path.name: path for path in install.build(tmp_path_factory.mktemp("libexec"))}
    if install.PAUSE not in built:
        pytest.skip("no C compiler on this machine")
    return [str(built[install.PAUSE])]


def call(helper, *arguments, **options):
    return subprocess.run([*helper, *arguments], capture_output=True, text=True, timeout=60, **options)


def wait_end(pid):
    """Return when the process has ended; where an init reaps it, it may be gone already."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([process], [], [], 30)
    finally:
        os.close(process)
    assert ready


@pytest.fixture
def sandbox(helper):
    pid = int(call(helper, "sandbox", "mypod", "some-id").stdout)
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_sandbox_has_its_own_namespaces_hostname_and_proc(helper, sandbox):
    for kind in ("net", "pid", "mnt", "uts", "ipc"):
        assert Path(f"/proc/{sandbox}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
    seen = call(helper, "exec", str(sandbox), "/", "--", "sh", "-c", "hostname; echo /proc/[0-9]*; pwd")
    hostname, processes, directory = seen.stdout.splitlines()
    assert hostname == "mypod"
    assert processes.split()[0] == "/proc/1"
    assert len(processes.split()) == 2
    assert directory == "/"
    assert b"some-id" in Path(f"/proc/{sandbox}/cmdline").read_bytes().split(b"\0")


def test_files_given_cover_those_in_etc_of_the_sandbox_only(helper, tmp_path):
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    (tmp_path / "shadow").write_text("not one of those")
    before = Path("/etc/hosts").read_text()
    pid = call(helper, "sandbox", "--etc", str(tmp_path), "mypod", "id").stdout.strip()
    try:
        with (tmp_path / "hosts").open("a") as hosts:
            hosts.write("10.0.0.2 mypod\n")
        seen = call(helper, "exec", pid, "/", "--", "cat", "/etc/hosts", "/etc/hostname")
        assert seen.stdout == "127.0.0.1 localhost\n10.0.0.2 mypod\n" + Path("/etc/hostname").read_text()
        assert call(helper, "exec", pid, "/", "--", "cat", "/etc/shadow").stdout != "not one of those"
        assert Path("/etc/hosts").read_text() == before
        assert b"id" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    finally:
        os.kill(int(pid), signal.SIGKILL)


def test_host_network_sandbox_shares_network_and_hostname(helper):
    pid = int(call(helper, "sandbox", "--host-network", "other", "id").stdout)
    try:
        assert Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
        assert Path(f"/proc/{pid}/ns/uts").readlink() == Path("/proc/self/ns/uts").readlink()
    finally:
        os.kill(pid, signal.SIGKILL)


def test_pid_1_reaps_orphans_and_ends_on_sigterm(helper, sandbox):
    call(helper, "exec", str(sandbox), "/", "--", "sh", "-c", "(true &) ; (true &)")
    deadline = time.monotonic() + 30.0
    while " Z " in call(helper, "exec", str(sandbox), "/", "--", "sh", "-c", "cat /proc/[0-9]*/stat").stdout:
        assert time.monotonic() < deadline, "an orphan is still a zombie"
    os.kill(sandbox, signal.SIGTERM)
    wait_end(sandbox)


@pytest.mark.parametrize(
    ("command", "status"), [("exit 7", 7), ("exit 0", 0), ("kill -9 $$", 137), ("echo in; cat", 0)]
)
def test_exec_passes_streams_and_exit_status(helper, sandbox, command, status):
    done = call(helper, "exec", str(sandbox), "/tmp", "--", "sh", "-c", command, input="hello")
    assert done.returncode == status
    assert done.stdout == ("in\nhello" if "cat" in command else "")


def test_exec_of_a_missing_program_or_sandbox_says_so(helper, sandbox):
    missing = call(helper, "exec", str(sandbox), "/", "--", "nosuch")
    assert (missing.returncode, missing.stderr) == (127, "nosuch: No such file or directory\n")
    gone = call(helper, "exec", "999999", "/", "--", "true")
    assert gone.returncode == 128
    assert gone.stderr == "/proc/999999/ns/net: No such file or directory\n"


def test_run_logs_in_cri_format_and_leaves_the_exit_status(helper, sandbox, tmp_path):
    prefix = tmp_path / "1"
    script = "echo out; echo err >&2; echo $FOO; printf part; exit 3"
    started = call(
        helper,
        "run",
        str(sandbox),
        str(prefix),
        "/",
        "--",
        "sh",
        "-c",
        script,
        env={"FOO": "bar", "PATH": os.environ["PATH"]},
    )
    monitor, pid = map(int, started.stdout.split())
    wait_end(monitor)
    lines = (tmp_path / "1.log").read_text().splitlines()
    parsed = [
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (std\w+) ([FP]) (.*)", line) for line in lines
    ]
    texts = {(found[1], found[2], found[3]) for found in parsed}
    assert texts == {
        ("stdout", "F", "out"),
        ("stderr", "F", "err"),
        ("stdout", "F", "bar"),
        ("stdout", "P", "part"),
    }
    code, number, _ = (tmp_path / "1.exit").read_text().split()
    assert (code, number) == ("3", "0")
    assert (tmp_path / "1.started").read_text().split()[:2] == [str(monitor), str(pid)]


def test_log_that_has_grown_large_makes_room_for_a_new_one(helper, sandbox, tmp_path):
    script = "seq -f %0999.0f 34000; echo end"
    started = call(helper, "run", str(sandbox), str(tmp_path / "1"), "/", "--", "sh", "-c", script)
    wait_end(int(started.stdout.split()[0]))
    old, log = (tmp_path / "1.old").read_bytes(), (tmp_path / "1.log").read_bytes()
    limit = 10 << 20
    assert limit <= len(old) < limit + 20_000
    assert len(log) < limit
    *numbers, end = (line.split(b" ", 3)[3] for line in (old + log).splitlines())
    assert end == b"end"
    assert [int(number) for number in numbers] == list(range(34_001 - len(numbers), 34_001))


def test_run_ends_with_the_container_even_if_an_orphan_keeps_the_output(helper, sandbox, tmp_path):
    started = call(
        helper, "run", str(sandbox), str(tmp_path / "1"), "/", "--", "sh", "-c", "sleep 1000 & echo x"
    )
    wait_end(int(started.stdout.split()[0]))
    assert (tmp_path / "1.exit").read_text().startswith("0 0 ")
    assert (tmp_path / "1.log").read_text().endswith("stdout F x\n")


def test_run_ends_with_the_container_even_if_an_orphan_writes_without_end(helper, sandbox, tmp_path):
    command = "setsid yes & exec sleep 0.2"
    started = call(helper, "run", str(sandbox), str(tmp_path / "1"), "/", "--", "sh", "-c", command)
    wait_end(int(started.stdout.split()[0]))
    assert (tmp_path / "1.exit").read_text().startswith("0 0 ")


def test_run_of_a_missing_program_fails_at_once(helper, sandbox, tmp_path):
    done = call(helper, "run", str(sandbox), str(tmp_path / "1"), "/", "--", "nosuch")
    assert (done.returncode, done.stdout) == (128, "")
    assert done.stderr == "nosuch: No such file or directory\n"
    assert not (tmp_path / "1.started").exists()


def test_death_of_the_sandbox_is_recorded_by_the_monitor(helper, tmp_path):
    pid = int(call(helper, "sandbox", "mypod", "id").stdout)
    started = call(helper, "run", str(pid), str(tmp_path / "1"), "/", "--", "sleep", "1000")
    os.kill(pid, signal.SIGKILL)
    wait_end(int(started.stdout.split()[0]))
    assert (tmp_path / "1.exit").read_text().startswith("137 9 ")


def test_idle_waits_for_sigterm(helper, sandbox, tmp_path):
    started = call(helper, "run", str(sandbox), str(tmp_path / "1"), "/", "--", *helper, "idle")
    monitor, pid = map(int, started.stdout.split())
    os.kill(pid, signal.SIGTERM)
    wait_end(monitor)
    assert (tmp_path / "1.exit").read_text().startswith(("0 0 ", "143 15 "))


def test_wrong_use_shows_usage(helper):
    done = call(helper, "fly")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pause sandbox")
    assert call(helper, "run", "1", "2").returncode == 2
    assert call(helper, "sandbox", "--etc", "name", "id").returncode == 2
    assert sys.executable  # the Python helper needs it


def steps_file(path, *steps):
    path.write_bytes(b"".join(os.fsencode(text) + b"\0" for step in steps for text in step))
    return str(path)


def test_a_container_with_mounts_has_a_root_of_its_own(helper, sandbox, tmp_path):
    volume, root = tmp_path / "volume", tmp_path / "root"
    volume.mkdir()
    root.mkdir()
    (volume / "file").write_text("content\n")
    wanted = (
        Mount(volume, "/nowhere/deep", read_only=True),
        Mount(volume, "/data"),
        Mount(volume / "file", "/etc/hostname"),
        Mount(volume / "file", "/etc/no-such-file"),
    )
    steps = steps_file(tmp_path / "steps", *plan(root, wanted), ("same", "/gone", "/data"))
    script = (
        "cat file /etc/hostname /etc/no-such-file; touch /nowhere/deep/x || touch /data/y; exec sleep 100"
    )
    command = ("run", "--mounts", steps, str(sandbox), str(tmp_path / "1"), "/data", "--", "sh", "-c", script)
    done = call(helper, *command)
    assert done.returncode == 0, done.stderr
    _monitor, pid = done.stdout.split()
    while len(log := (tmp_path / "1.log").read_text().splitlines()) < 4 or not (volume / "y").exists():
        assert Path(f"/proc/{pid}").exists(), log
    assert [line.split(" ", 3)[3] for line in log[:3]] == ["content"] * 3
    assert "Read-only file system" in log[3]
    # exec finds the container's own view by its process; the sandbox and the machine have nothing of it.
    assert call(helper, "exec", pid, "/", "--", "cat", "/data/file").stdout == "content\n"
    assert call(helper, "exec", str(sandbox), "/", "--", "ls", "/data").returncode != 0
    assert not Path("/data").exists()
    assert not list(root.iterdir())


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (("bind", "/no/such", "/tmp"), "bind /no/such /tmp: No such file or directory"),
        (("fly", "a", "b"), "fly a b: Invalid argument"),
    ],
)
def test_a_mount_that_fails_is_named_and_the_command_does_not_run(helper, sandbox, tmp_path, step, told):
    steps = steps_file(tmp_path / "steps", step)
    done = call(helper, "run", "--mounts", steps, str(sandbox), str(tmp_path / "1"), "/", "--", "true")
    assert (done.returncode, done.stderr.strip()) == (128, told)
    missing = str(tmp_path / "none")
    done = call(helper, "run", "--mounts", missing, str(sandbox), str(tmp_path / "1"), "/", "--", "true")
    assert (done.returncode, done.stderr.strip()) == (128, f"{missing}: No such file or directory")
