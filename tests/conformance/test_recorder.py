"""The recorder as a plugin: what it logs, and that it answers as it was told."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from conformance.recorder import Answer, Recorder, environment
from multinet.cni.spec import SUPPORTED_VERSIONS

pytestmark = pytest.mark.programs


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    made = Recorder(tmp_path)
    made.install(["delegate", "other"])
    return made


def call(recorder: Recorder, command: str = "ADD", *, plugin: str = "delegate", **config):
    env = environment([recorder.bin]) | {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/ns",
        "CNI_IFNAME": "net1",
    }
    text = json.dumps({"cniVersion": "1.0.0", "name": "net", "type": plugin, **config})
    return subprocess.run(
        [str(recorder.bin / plugin)], input=text, env=env, text=True, capture_output=True, check=False
    )


def test_a_call_is_logged_with_all_that_came(recorder):
    done = call(recorder, key={"nested": [1]})
    (seen,) = recorder.calls()
    assert (seen.plugin, seen.command, seen.attachment) == ("delegate", "ADD", ("c1", "net", "net1"))
    assert seen.config["key"] == {"nested": [1]}
    assert seen.ended > seen.began > 0
    assert (seen.stdout, seen.status) == (done.stdout, 0)


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
def test_a_made_up_result_has_the_shape_of_its_version(recorder, version):
    result = json.loads(call(recorder, cniVersion=version).stdout)
    assert result["cniVersion"] == version
    if version < "0.3":
        assert set(result["ip4"]) == {"ip"}
    else:
        assert result["interfaces"][0]["sandbox"] == "/ns"
        assert ("version" in result["ips"][0]) == (version < "1")


def test_wishes_are_met_and_equal_calls_answered_alike(recorder):
    wishes = {"ips": ["192.0.2.7/25", "2001:db8::7"], "mac": "02:00:00:00:00:07"}
    result = json.loads(call(recorder, runtimeConfig=wishes).stdout)
    assert [item["address"] for item in result["ips"]] == ["192.0.2.7/25", "2001:db8::7/64"]
    assert result["interfaces"][0]["mac"] == "02:00:00:00:00:07"
    assert call(recorder).stdout == call(recorder).stdout


def test_the_first_answer_that_matches_counts_as_often_as_it_says(recorder):
    recorder.answer(
        Answer(command="ADD", network="net", error={"code": 11, "msg": "later"}, times=1),
        Answer(command="ADD", result={"cniVersion": "1.0.0", "ips": []}, stderr="noise", status=3),
    )
    first, second = call(recorder), call(recorder)
    assert (first.returncode, json.loads(first.stdout)["code"]) == (1, 11)
    assert (second.returncode, json.loads(second.stdout)["ips"], second.stderr) == (3, [], "noise")
    assert call(recorder, "DEL").stdout == ""


def test_a_crash_is_in_the_log(recorder):
    recorder.answer(Answer(plugin="other", signal=signal.SIGSEGV))
    assert call(recorder, plugin="other").returncode == -signal.SIGSEGV
    (seen,) = recorder.calls(plugin_name="other")
    assert seen.ended == 0


def test_raw_output_and_a_chain(recorder):
    recorder.answer(Answer(command="CHECK", stdout="no JSON"))
    assert call(recorder, "CHECK").stdout == "no JSON"
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "x"}]}
    assert json.loads(call(recorder, prevResult=previous).stdout) == previous
    recorder.clear()
    assert recorder.calls() == []
    assert any(recorder.bin.iterdir())


def test_device_information_is_written_where_it_was_told(recorder, tmp_path):
    path = tmp_path / "device.json"
    recorder.answer(Answer(command="ADD", device_info={"type": "pci"}))
    call(recorder)
    assert not path.exists()
    call(recorder, runtimeConfig={"CNIDeviceInfoFile": str(path)})
    assert json.loads(path.read_text()) == {"type": "pci"}
