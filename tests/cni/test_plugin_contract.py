"""One contract for both plugin executables: the C program and the Python script."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multinet.cni import install, spec, wire
from multinet.cni.wire import Call, Reply

pytestmark = pytest.mark.programs

CONFIG = b'{"cniVersion":"0.4.0","name":"multinet","type":"multinet-cni"}'


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler on this machine")
    built = install.build(tmp_path_factory.mktemp("libexec"))
    return next(path for path in built if path.name == install.PLUGIN)


@pytest.fixture(scope="session", params=["c", "python"])
def plugin(request):
    if request.param == "c":
        return [str(request.getfixturevalue("compiled"))]
    return [sys.executable, "-ISE", str(install.fallback_path())]


@pytest.fixture
def socket_path(tmp_path_factory):
    return tmp_path_factory.mktemp("s") / "agent.sock"


def run(plugin, socket_path, stdin=CONFIG, **environment):
    return subprocess.run(
        plugin,
        input=stdin,
        env={"MULTINET_AGENT_SOCKET": str(socket_path), **environment},
        capture_output=True,
        timeout=20,
        check=False,
    )


class FakeAgent(threading.Thread):
    """Takes one connection at a time: notes the call, sends the bytes it was given."""

    def __init__(self, path, answer):
        super().__init__(daemon=True)
        self.path, self.answer, self.calls = path, answer, []
        self.up = threading.Event()

    def run(self):
        asyncio.run(self._run())

    async def _run(self):
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()

        async def serve(reader, writer):
            data = bytearray()
            while (call := wire.decode_call(data)) is None:
                data += await reader.read(1 << 18)
            self.calls.append(call)
            writer.write(self.answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(serve, self.path)
        self.up.set()
        await self.stop.wait()
        server.close()

    def __enter__(self):
        self.start()
        assert self.up.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.join(10)


def test_the_call_arrives_as_it_was_made_and_the_answer_comes_back(plugin, socket_path):
    environment = {"CNI_COMMAND": "ADD", "CNI_ARGS": "A=b;C=d=e", "CNI_NETNS": "", "OTHER": "x"}
    stdin = CONFIG + b" " * 300_000
    with FakeAgent(socket_path, wire.encode_reply(Reply(0, b'{"x":1}\n'))) as agent:
        done = run(plugin, socket_path, stdin, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"x":1}\n', b"")
    del environment["OTHER"]
    assert agent.calls == [Call(environment, stdin)]


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_status_is_the_agents(plugin, socket_path, code):
    with FakeAgent(socket_path, wire.encode_reply(Reply(code, b""))):
        done = run(plugin, socket_path, CNI_COMMAND="DEL")
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_without_an_agent_it_says_try_again_later(plugin, socket_path, command):
    done = run(plugin, socket_path, CNI_COMMAND=command)
    error = json.loads(done.stdout)
    assert done.returncode == 1
    assert error["code"] == (50 if command == "STATUS" else 11)
    assert error["cniVersion"] == "0.4.0"
    assert "can't be reached" in error["msg"]
    assert str(socket_path) in error["details"]


@pytest.mark.parametrize(
    ("stdin", "version"),
    [(CONFIG, "0.4.0"), (b'{"cniVersion":"9.9.9"}', "1.1.0"), (b"", "1.1.0"), (b'{"cniVersion":', "1.1.0")],
)
def test_without_an_agent_it_knows_its_versions(plugin, socket_path, stdin, version):
    done = run(plugin, socket_path, stdin, CNI_COMMAND="VERSION")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "cniVersion": version,
        "supportedVersions": list(spec.SUPPORTED_VERSIONS),
    }


@pytest.mark.parametrize(
    "answer", [b"", b"1:0,", b"1:0,5:ab,", b"x", b"1:0,0:,extra", b"3:999,0:,", b"0:,0:,"]
)
def test_a_broken_answer_counts_as_none(plugin, socket_path, answer):
    with FakeAgent(socket_path, answer):
        done = run(plugin, socket_path, CNI_COMMAND="ADD")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 11)


def test_a_path_with_quotes_still_gives_json(plugin, socket_path):
    for path in ('/no/"where\\', "/" + "x" * 200, "/a\nb"):
        done = run(plugin, path, CNI_COMMAND="ADD")
        assert json.loads(done.stdout)["code"] == 11


@pytest.mark.parametrize(
    ("stdin", "version"),
    [
        (b'{"plugins":[{"cniVersion":"0.3.1"}],"cniVersion":"1.0.0"}', "1.0.0"),
        (b'{"name":"cniVersion","x":"0.3.1","cniVersion" : "0.4.0" }', "0.4.0"),
        (b'{"a":"\\"cniVersion\\":\\"0.3.0\\"","cniVersion":"0.3.1"}', "0.3.1"),
        (b'{"cniVersion":["0.3.1"]}', "1.1.0"),
    ],
)
def test_the_version_is_echoed_from_the_outermost_object(plugin, socket_path, stdin, version):
    done = run(plugin, socket_path, stdin, CNI_COMMAND="ADD")
    assert json.loads(done.stdout)["cniVersion"] == version


WORDS = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b'"cniVersion"', b'"1.0.0"', b" ", b"1"]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=30).map(b"".join) | st.binary(max_size=300))
def test_both_say_the_same_about_any_input(compiled, socket_path, stdin):
    script = [sys.executable, "-ISE", str(install.fallback_path())]
    for command in ("ADD", "VERSION"):
        answers = [run(each, socket_path, stdin, CNI_COMMAND=command) for each in ([str(compiled)], script)]
        assert answers[0].stdout == answers[1].stdout
        assert answers[0].returncode == answers[1].returncode
        assert json.loads(answers[0].stdout)


def test_the_script_is_used_where_there_is_no_compiled_program(tmp_path, compiled):
    assert install.plugin_path(tmp_path) == install.fallback_path()
    assert install.plugin_path(compiled.parent) == compiled
    broken = tmp_path / install.PLUGIN
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o755)
    assert install.plugin_path(tmp_path) == install.fallback_path()


def test_a_plugin_that_an_installer_left_unexecutable_is_copied(tmp_path, monkeypatch):
    installed = tmp_path / "plugin.py"
    installed.write_bytes(install.fallback_path().read_bytes())
    monkeypatch.setattr(install, "plugin_path", lambda: installed)
    put = tmp_path / install.PLUGIN
    install.put(put)
    assert not put.is_symlink()
    assert put.stat().st_mode & 0o777 == 0o755
    assert put.read_bytes() == installed.read_bytes()


def test_a_plugin_that_runs_is_linked_and_what_is_there_stays(tmp_path):
    put = tmp_path / install.PLUGIN
    install.put(put)
    assert put.readlink() == install.plugin_path()
    put.unlink()
    put.write_text("another's")
    install.put(put)
    assert put.read_text() == "another's"


def test_a_link_to_what_an_upgrade_took_away_is_made_anew(tmp_path):
    put = tmp_path / install.PLUGIN
    put.symlink_to(tmp_path / "gone")
    install.put(put)
    assert put.readlink() == install.plugin_path()


def test_a_machine_without_a_compiler_is_no_error(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.build(tmp_path / "libexec") == []
    assert "no C compiler" in caplog.text


def test_a_compiler_that_fails_is_followed_by_the_next(tmp_path, monkeypatch, caplog):
    made = 'while [ "$1" != -o ]; do shift; done; : > "$2"'
    for name, script in {"musl-gcc": "echo no headers >&2; exit 1", "cc": made}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    built = install.build(tmp_path / "libexec")
    assert [path.name for path in built] == [install.PLUGIN, install.PAUSE]
    assert all(path.is_file() for path in built)
    assert caplog.text.count("no headers") == 2
