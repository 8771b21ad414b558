"""A list of plugins behind one executable: called as a runtime calls them, and nothing added."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from conformance import chained
from conformance.recorder import Answer, Recorder, environment
from conformance.target import PluginTarget, make

pytestmark = pytest.mark.programs
PLUGINS = [
    {"type": "first", "capabilities": {"mac": True}, "ipam": {"type": "x"}},
    {"type": "second", "capabilities": {"mac": False}},
]
CONFIG = {"cniVersion": "1.0.0", "name": "n", "plugins": PLUGINS}


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    made = Recorder(tmp_path)
    made.install(["first", "second"])
    chained.install(str(tmp_path / "list"), [str(made.bin / name) for name in ("first", "second")])
    return made


def call(recorder: Recorder, command: str, stdin: object) -> subprocess.CompletedProcess[str]:
    env = environment([recorder.bin]) | {"CNI_COMMAND": command, "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0"}
    text = stdin if isinstance(stdin, str) else json.dumps(stdin)
    argv = [str(recorder.folder / "list")]
    return subprocess.run(argv, input=text, env=env, capture_output=True, text=True, check=False)


def test_add_goes_on_with_the_result_and_del_goes_back(recorder: Recorder) -> None:
    wishes = {"runtimeConfig": {"mac": "02:00:00:00:00:01"}, "ipam": {"type": "y"}, "x": 1}
    done = call(recorder, "ADD", CONFIG | wishes)
    first, second = recorder.calls("ADD")
    assert (first.plugin, second.plugin, done.stdout) == ("first", "second", second.stdout)
    assert second.config["prevResult"] == json.loads(first.stdout)
    assert [one.config["x"] for one in (first, second)] == [1, 1]
    assert (first.config["ipam"], first.config["runtimeConfig"]) == ({"type": "y"}, wishes["runtimeConfig"])
    assert not {"ipam", "runtimeConfig", "capabilities"} & set(second.config)
    assert call(recorder, "DEL", CONFIG).returncode == 0
    assert [one.plugin for one in recorder.calls("DEL")] == ["second", "first"]


def test_the_first_failure_has_the_last_word_but_for_gc(recorder: Recorder) -> None:
    recorder.answer(Answer(plugin="first", error={"code": 7, "msg": "no"}))
    for command in ("ADD", "CHECK", "STATUS", "GC"):
        done = call(recorder, command, CONFIG)
        assert (done.returncode, json.loads(done.stdout)["msg"]) == (1, "no")
        assert len(recorder.calls(command)) == (2 if command == "GC" else 1)


def test_what_is_no_list_is_the_first_plugins(recorder: Recorder) -> None:
    call(recorder, "ADD", "{")
    call(recorder, "NONSENSE", CONFIG)
    assert [(one.plugin, one.stdin[:1]) for one in recorder.calls()] == [("first", "{"), ("first", "{")]
    spoken = json.loads(call(recorder, "VERSION", {"cniVersion": "1.0.0"}).stdout)
    assert spoken["supportedVersions"][-1] == "1.1.0"


def test_a_list_is_a_target(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNI_PATH", str(recorder.bin))
    file = recorder.folder / "c.conflist"
    file.write_text(json.dumps(CONFIG))
    target = make(f"cni:{file}")
    assert isinstance(target, PluginTarget)
    (recorder.folder / "target").mkdir()
    target.attach(target.start(recorder.folder / "target"))
    assert target.call().capabilities == {"mac"}
    assert target.binary.stat().st_mode & 0o100
