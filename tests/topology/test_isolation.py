"""Going into namespaces of one's own, what is there, and the ways out."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from topology import isolation

HERE = Path(__file__).parent

FACTS = """
import json, os, socket, sys
from topology import isolation
isolation.enter(hostname="inside")
print(json.dumps({
    "uid": os.getuid(),
    "pid": os.getpid(),
    "parent": os.getppid(),
    "hostname": socket.gethostname(),
    "links": [name for _, name in socket.if_nameindex()],
    "lo": open("/sys/class/net/lo/flags").read().strip(),
    "run": sorted(os.listdir("/run")),
    "sys_links": os.listdir("/sys/class/net"),
    "netns": os.readlink("/proc/self/ns/net"),
}))
sys.stdout.flush()
os._exit(7)
"""


def test_exit_status_is_what_a_shell_would_say():
    assert isolation.exit_status(7 << 8) == 7
    assert isolation.exit_status(signal.SIGKILL) == 137


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces="),
        ("kernel/unprivileged_userns_clone", "1", "run as root"),
    ],
)
def test_remedy_names_the_sysctl_that_forbids(tmp_path, name, value, expected):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(value + "\n")
    assert expected in isolation.namespace_remedy(tmp_path)


@pytest.mark.programs
def test_a_process_with_threads_is_refused_before_anything_happens(run_script):
    done = run_script("""
import threading
from multinet.errors import LabError
from topology import isolation
stop = threading.Event()
threading.Thread(target=stop.wait).start()
try:
    isolation.enter()
except LabError as error:
    print(error)
finally:
    stop.set()
""")
    assert "one thread" in done.stdout
    assert "has 2" in done.stdout


@pytest.mark.lab
def test_inside_is_root_in_an_empty_world_of_its_own(run_script, prefix):
    done = run_script(FACTS, prefix=prefix)
    assert done.returncode == 7, done.stderr
    facts = json.loads(done.stdout)
    assert facts["uid"] == 0
    assert (facts["parent"], facts["hostname"]) == (1, "inside")
    assert facts["links"] == facts["sys_links"] == ["lo"]
    assert int(facts["lo"], 16) & 1, "lo is up"
    assert facts["run"] == ["lock", "multinet", "netns"]
    assert facts["netns"] != str(Path("/proc/self/ns/net").readlink())


@pytest.mark.lab
def test_labs_nest(run_script, prefix):
    done = run_script(
        f"""
import subprocess, sys
from topology import isolation
isolation.enter()
inner = subprocess.run([sys.executable, "-c", {FACTS!r}], capture_output=True, text=True)
print(inner.stdout, inner.stderr)
sys.exit(inner.returncode)
""",
        prefix=prefix,
    )
    assert done.returncode == 7, done.stdout + done.stderr
    assert json.loads(done.stdout)["hostname"] == "inside"


@pytest.mark.lab
def test_orphans_are_reaped_and_die_with_the_runner(run_script):
    done = run_script("""
import os, select, subprocess, sys
from topology import isolation
isolation.enter()
middle = subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!; (exit 3) & exec true"], stdout=subprocess.PIPE)
orphan = int(middle.stdout.readline())
middle.wait()
with open(f"/proc/{orphan}/stat") as stat:
    print("adopted by", stat.read().split()[3])
def others():
    return sorted({int(p) for p in os.listdir("/proc") if p.isdigit()} - {1, os.getpid(), orphan})
for _ in range(500):
    if not others():
        break
    select.select([], [], [], 0.01)
print("dead or alive beside these", others())
""")
    assert "adopted by 1" in done.stdout, done.stderr
    assert "dead or alive beside these []" in done.stdout
    assert done.returncode == 0


@pytest.mark.lab
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_outer_reaches_the_runner_once(python_env, number):
    source = """
import signal, sys
from topology import isolation
isolation.enter()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
print("ready", flush=True)
got = signal.sigwait({signal.SIGINT, signal.SIGTERM})
print(int(got), signal.sigtimedwait({signal.SIGINT, signal.SIGTERM}, 0.1), flush=True)
sys.exit(9)
"""
    with subprocess.Popen(
        [sys.executable, "-c", source], env=python_env, stdout=subprocess.PIPE, text=True
    ) as outer:
        assert outer.stdout.readline() == "ready\n"
        # The terminal and the front may both deliver one Ctrl-C.
        os.kill(outer.pid, number)
        os.kill(outer.pid, number)
        assert outer.stdout.readline() == f"{int(number)} None\n"
        assert outer.wait(timeout=10) == 9


@pytest.mark.lab
def test_a_second_signal_ends_a_runner_that_does_not_stop(python_env):
    source = """
import signal
from topology import isolation
isolation.enter()
signal.signal(signal.SIGINT, lambda *_: print("ignored", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", source], env=python_env, stdout=subprocess.PIPE, text=True
    ) as outer:
        assert outer.stdout.readline() == "ready\n"
        os.kill(outer.pid, signal.SIGINT)
        assert outer.stdout.readline() == "ignored\n"
        with pytest.raises(subprocess.TimeoutExpired):
            outer.wait(timeout=0.4)
        os.kill(outer.pid, signal.SIGINT)
        assert outer.wait(timeout=10) == 137


@pytest.mark.lab
def test_a_worker_whose_front_is_gone_ends_at_once(run_script):
    done = run_script("""
from topology import isolation
isolation.enter(parent_pid=1 << 21)
print("entered")
""")
    assert done.returncode == 137
    assert done.stdout == ""


@pytest.mark.lab
def test_ctrl_c_stops_the_lab_gracefully_and_ends_with_130(python_env, tmp_path):
    command = [sys.executable, str(HERE / "lab_script.py"), str(os.getpid()), str(tmp_path)]
    with subprocess.Popen(command, env=python_env, stdout=subprocess.PIPE, text=True) as outer:
        kinds = []
        for line in outer.stdout:
            kinds.append(json.loads(line)["kind"])
            if kinds[-1] == "ready":
                os.kill(outer.pid, signal.SIGINT)
        assert outer.wait(timeout=10) == 130
    assert kinds.index("interrupted") > kinds.index("ready")
    assert kinds[-1] == "lab-stopped"
    assert (tmp_path / "logs" / "kubelet-node1.log").read_text().endswith("bye\n")


@pytest.mark.lab
def test_probe_tries_everything_and_says_how_to_mend_what_is_missing(prefix, run_script):
    done = run_script(
        """
import json
from dataclasses import asdict
from topology import isolation
print(json.dumps([asdict(one) for one in isolation.probe()]))
""",
        prefix=prefix,
    )
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert found["namespaces"]["available"], found["namespaces"]
    detail = found["namespaces"]["detail"]
    assert "ordinary user" in detail if prefix else "as root" in detail
    for name in ("link veth", "link bridge", "link vxlan", "packet capture", "Mininet", "mnexec"):
        assert found[name]["available"], found[name]
        assert found[name]["required"], name
    assert {"tc netem", "nft", "BPF", "bridge VLAN filtering", "C compiler", "kubectl"} <= set(found)
    assert all(one["remedy"] for one in found.values() if not one["available"])
