"""The zygote needs no privilege as long as its roles stay where they are."""

import json

import pytest

pytestmark = pytest.mark.programs
PROLOGUE = """
import os, select, signal, sys
from pathlib import Path
from topology.zygote import RoleSpec, Zygote

scratch = Path(sys.argv[1])
sys.path.insert(0, str(scratch))
(scratch / "some_role.py").write_text(ROLE)

def spec(name, *argv, **env):
    env = {"PATH": os.environ["PATH"], **env}
    return RoleSpec(name, "some_role:main", argv, None, env, scratch / f"{name}.log")

def next_exit(zygote):
    got = []
    zygote.on_exit = got.append
    while not got:
        assert select.select([zygote], [], [], 10)[0], "no exit within 10 s"
        zygote.process_events()
    return got[0]
"""
ROLE = """
import json, os, random, signal, sys
def main(argv):
    if argv == ["wait"]:
        print("waiting", flush=True)
        signal.pause()
    if argv == ["raise"]:
        raise ValueError("a role that breaks")
    if argv == ["exit"]:
        raise SystemExit(6)
    print(json.dumps({
        "argv": argv, "env": dict(os.environ), "warm": "colorsys" in sys.modules,
        "session": os.getsid(0) == os.getpid(), "random": random.random(),
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "files": sorted(os.listdir("/proc/self/fd")), "comm": open("/proc/self/comm").read().strip(),
    }))
    return 5
"""


@pytest.fixture
def zygote_script(run_script, tmp_path):
    def run(body):
        done = run_script(f"ROLE = {ROLE!r}\n{PROLOGUE}\n{body}", tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_a_role_is_a_warm_fork_with_its_own_world_and_its_end_is_told(zygote_script, tmp_path):
    out = zygote_script("""
zygote = Zygote.start(["colorsys"])
os.pipe()
one = zygote.spawn(spec("role-one", "a", "b", COLOUR="blue"))
end = next_exit(zygote)
print(end.id, end.pid == one.pid, end.status)
zygote.spawn(spec("role-two"))
next_exit(zygote)
zygote.close()
""")
    assert out == "role-one True 5\n"
    one, two = (json.loads((tmp_path / f"role-{name}.log").read_text()) for name in ("one", "two"))
    assert one["argv"] == ["a", "b"]
    assert one["env"].pop("COLOUR") == "blue"
    assert set(one["env"]) <= {"PATH", "LC_CTYPE"}
    assert one["warm"]
    assert one["session"]
    assert one["sigterm"]
    assert one["comm"] == "role-one"
    # 0, 1, 2 and the directory being listed: nothing of the runner's.
    assert one["files"] == ["0", "1", "2", "3"]
    assert one["random"] != two["random"]


def test_ends_by_signal_exception_and_exit_have_a_shells_status(zygote_script, tmp_path):
    out = zygote_script("""
zygote = Zygote.start(["nothing_of_this_name"], log=scratch / "zygote.log")
waiting = zygote.spawn(spec("waiting", "wait"))
os.kill(waiting.pid, signal.SIGKILL)
print(next_exit(zygote).status)
for name in ("raise", "exit"):
    zygote.spawn(spec(name, name))
    print(next_exit(zygote).status)
zygote.close()
""")
    assert out.split() == ["137", "1", "6"]
    assert "ValueError: a role that breaks" in (tmp_path / "raise.log").read_text()
    assert "No module named 'nothing_of_this_name'" in (tmp_path / "zygote.log").read_text()


def test_a_module_that_is_missing_ends_the_role_and_its_log_says_so(zygote_script, tmp_path):
    out = zygote_script("""
zygote = Zygote.start([])
zygote.spawn(RoleSpec("lost", "no_such_module:main", (), None, {}, scratch / "lost.log"))
print(next_exit(zygote).status)
zygote.close()
""")
    assert out == "1\n"
    assert "no_such_module" in (tmp_path / "lost.log").read_text()


def test_roles_die_with_the_zygote_and_the_runner_is_told(zygote_script):
    out = zygote_script("""
from multinet.errors import LabError
zygote = Zygote.start([])
role = zygote.spawn(spec("role", "wait"))
handle = os.pidfd_open(role.pid)
os.kill(zygote.pid, signal.SIGKILL)
print(bool(select.select([handle], [], [], 10)[0]))
try:
    zygote.spawn(spec("other"))
except LabError as error:
    print(error)
zygote.close()
zygote.close()
""")
    assert out.startswith("True\nthe process that starts the lab's roles is gone")


def test_a_role_starts_as_soon_as_its_module_is_imported(zygote_script, tmp_path):
    # The second module's import lasts until somebody writes into the gate.
    gate = tmp_path / "gate"
    (tmp_path / "lasting.py").write_text(f"open({str(gate)!r}).read()\n")
    out = zygote_script("""
os.mkfifo(scratch / "gate")
os.mkfifo(scratch / "go")
(scratch / "first.py").write_text(f"open({str(scratch / 'go')!r}).read()")
zygote = Zygote.start(["first", "some_role", "lasting"])
zygote.request(spec("early", "a"))
(scratch / "go").write_text("the request is there")
zygote.started("early")
(scratch / "gate").write_text("go on")
print(next_exit(zygote).status)
zygote.close()
""")
    assert out == "5\n"
