"""The runtime side of CNI against scripted plugins (rows CNI-RT-* of the specification's runtime rules)."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from multinet.cni import spec
from multinet.cni.runtime import Attachment, Runtime
from multinet.cni.runtime_config import load_network, parse_network
from multinet.cni.runtime_errors import PluginError
from multinet.cni.spec import CNIError
from multinet.errors import InputError
from multinet.waits import pause

pytestmark = pytest.mark.programs

PLUGIN = """#!/bin/sh
name=${0##*/}
count=$(($(cat STATE/count 2>/dev/null || echo 0) + 1)); echo $count > STATE/count
cat > STATE/$count.$name.$CNI_COMMAND.stdin
env > STATE/$count.$name.$CNI_COMMAND.env
echo "$name $CNI_COMMAND" >> STATE/calls
if [ -e STATE/$name.$CNI_COMMAND.sh ]; then . STATE/$name.$CNI_COMMAND.sh; exit; fi
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.'$count'/24"}]}' ;;
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
esac
"""
ATTACHMENT = Attachment("c1", "/run/netns/x", "eth0", (("IgnoreUnknown", "1"), ("K8S_POD_NAME", "web")))


class Plugins:
    """Two scripted plugins, ``one`` and ``two``, and what they saw."""

    def __init__(self, directory):
        self.state = directory / "state"
        self.bin = directory / "bin"
        self.cache = directory / "cache"
        self.state.mkdir()
        self.bin.mkdir()
        for name in ("one", "two"):
            path = self.bin / name
            path.write_text(PLUGIN.replace("STATE", str(self.state)))
            path.chmod(0o755)
        self.runtime = Runtime([self.bin], self.cache, limit_s=60)

    def script(self, name, command, text):
        (self.state / f"{name}.{command}.sh").write_text(text)

    def fail(self, name, command, message):
        error = json.dumps({"cniVersion": "1.1.0", "code": 11, "msg": message, "details": "more"})
        self.script(name, command, f"echo '{error}'; echo noise >&2; exit 1\n")

    def mend(self, name, command):
        (self.state / f"{name}.{command}.sh").unlink()

    @property
    def calls(self):
        path = self.state / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def stdin(self, name, command):
        """What the last such call got."""
        found = sorted(self.state.glob(f"*.{name}.{command}.stdin"), key=lambda p: int(p.name.split(".")[0]))
        return json.loads(found[-1].read_text())

    def env(self, name, command):
        text = next(self.state.glob(f"*.{name}.{command}.env")).read_text()
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.fixture
def plugins(tmp_path):
    return Plugins(tmp_path)


def network(version="1.1.0", **more):
    config = {
        "cniVersion": version,
        "name": "net",
        "plugins": [{"type": "one", "strange": {"key": [1]}}, {"type": "two"}],
        **more,
    }
    return parse_network(json.dumps(config).encode(), where="test")


async def test_add_goes_in_order_and_delete_in_reverse(plugins):
    await plugins.runtime.add(network(), ATTACHMENT)
    await plugins.runtime.check(network(), ATTACHMENT)
    await plugins.runtime.delete(network(), ATTACHMENT)
    assert plugins.calls == ["one ADD", "two ADD", "one CHECK", "two CHECK", "two DEL", "one DEL"]


async def test_results_are_chained_and_the_final_one_reaches_check_and_delete(plugins):
    result = await plugins.runtime.add(network(), ATTACHMENT)
    await plugins.runtime.check(network(), ATTACHMENT)
    await plugins.runtime.delete(network(), ATTACHMENT)
    assert "prevResult" not in plugins.stdin("one", "ADD")
    assert plugins.stdin("two", "ADD")["prevResult"]["ips"] == [{"address": "10.0.0.1/24"}]
    assert result["ips"] == [{"address": "10.0.0.2/24"}]
    for name in ("one", "two"):
        assert plugins.stdin(name, "CHECK")["prevResult"] == result
        assert plugins.stdin(name, "DEL")["prevResult"] == result


async def test_name_and_version_are_injected_and_unknown_keys_kept(plugins):
    await plugins.runtime.add(network(), ATTACHMENT)
    await plugins.runtime.delete(network(), ATTACHMENT)
    for command in ("ADD", "DEL"):
        config = plugins.stdin("one", command)
        assert (config["name"], config["cniVersion"], config["strange"]) == ("net", "1.1.0", {"key": [1]})
    env = plugins.env("one", "ADD")
    assert env["CNI_ARGS"] == "IgnoreUnknown=1;K8S_POD_NAME=web"
    assert (env["CNI_CONTAINERID"], env["CNI_NETNS"], env["CNI_IFNAME"]) == ("c1", "/run/netns/x", "eth0")
    assert env["CNI_PATH"] == str(plugins.bin)


@pytest.mark.parametrize(("version", "key_seen"), [("0.4.0", True), ("1.0.0", False), ("1.1.0", False)])
async def test_capabilities_become_runtime_config(plugins, version, key_seen):
    listed = [{"type": "one", "capabilities": {"portMappings": True, "bandwidth": False}}]
    attachment = Attachment(
        "c1",
        "/x",
        "eth0",
        capability_args={"portMappings": [{"hostPort": 1}], "bandwidth": {"r": 1}, "mac": "x"},
    )
    await plugins.runtime.add(network(version, plugins=listed), attachment)
    config = plugins.stdin("one", "ADD")
    assert config["runtimeConfig"] == {"portMappings": [{"hostPort": 1}]}
    assert ("capabilities" in config) is key_seen


async def test_delete_uses_the_configuration_and_parameters_of_add(plugins):
    await plugins.runtime.add(network(), ATTACHMENT)
    changed = network(plugins=[{"type": "two", "changed": True}])
    await plugins.runtime.delete(changed, Attachment("c1", "", "eth0"))
    assert plugins.calls[-2:] == ["two DEL", "one DEL"]
    assert plugins.env("one", "DEL")["CNI_NETNS"] == "/run/netns/x"
    assert not list((plugins.cache / "results").iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: b"\0" * len(text),
        lambda _: b"\x93garbage\xff",
        lambda _: b"",
        lambda _: b"[]",
        lambda text: text.replace(b'"c1"', b'"c2"'),
        lambda text: text.replace(b'"capabilityArgs": {}', b'"capabilityArgs": [1]'),
    ],
    ids=["cut", "zeroed", "garbage", "empty", "list", "of-another", "wrong-type"],
)
async def test_a_damaged_cache_file_does_not_hinder_delete(plugins, damage):
    await plugins.runtime.add(network(), ATTACHMENT)
    (entry,) = (plugins.cache / "results").iterdir()
    text = entry.read_bytes()
    assert json.loads(text)["kind"] == "cniCacheV1"
    entry.write_bytes(damage(text))
    assert entry.read_bytes() != text
    await plugins.runtime.delete(network(), ATTACHMENT)
    assert plugins.calls[-2:] == ["two DEL", "one DEL"]
    assert "prevResult" not in plugins.stdin("one", "DEL")
    assert not entry.exists()


async def test_a_cache_file_of_libcni_is_read(plugins):
    await plugins.runtime.add(network(), Attachment("c1", "/run/netns/x", "eth0"))
    (entry,) = (plugins.cache / "results").iterdir()
    content = json.loads(entry.read_bytes())
    entry.write_text(json.dumps({**content, "cniArgs": None, "capabilityArgs": None}))
    await plugins.runtime.delete(network(), Attachment("c1", "", "eth0"))
    assert plugins.env("one", "DEL")["CNI_NETNS"] == "/run/netns/x"


async def test_a_result_that_cannot_be_kept_is_an_error(plugins):
    plugins.cache.write_text("in the way")
    with pytest.raises(CNIError) as caught:
        await plugins.runtime.add(network(), ATTACHMENT)
    assert caught.value.code == spec.IO_FAILURE
    await plugins.runtime.delete(network(), ATTACHMENT)
    assert plugins.calls == ["one ADD", "two ADD", "two DEL", "one DEL"]


async def test_an_answer_in_another_version_is_put_into_the_one_asked_for(plugins):
    plugins.script("one", "ADD", """echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.9/24"}}'""")
    plugins.script("two", "ADD", """echo '{"ips":[{"address":"10.0.0.9/24","version":"4"}]}'""")
    result = await plugins.runtime.add(network("1.0.0"), ATTACHMENT)
    previous = plugins.stdin("two", "ADD")["prevResult"]
    assert (previous["cniVersion"], previous["ips"]) == ("1.0.0", [{"address": "10.0.0.9/24"}])
    assert result["cniVersion"] == "1.0.0"


async def test_an_error_stops_the_list_and_names_plugin_command_and_stderr(plugins):
    plugins.fail("one", "ADD", "no address left")
    with pytest.raises(PluginError) as caught:
        await plugins.runtime.add(network(), ATTACHMENT)
    assert plugins.calls == ["one ADD"]
    assert isinstance(caught.value, CNIError)
    assert (caught.value.code, caught.value.msg, caught.value.details) == (11, "no address left", "more")
    assert (caught.value.plugin, caught.value.command, caught.value.stderr) == ("one", "ADD", "noise")
    assert str(caught.value) == 'plugin type="one" failed (add): no address left: more; stderr: noise'


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '{} {}'", "stdout is not one JSON object"),
        ("echo '[]'", "it is a list"),
        ("echo oops", "stdout is not one JSON object"),
        ("true", "printed no result"),
        ("""echo '{"cniVersion":"9.9.9"}'""", "unknown cniVersion '9.9.9'"),
        ("echo words; exit 3", 'exit status 3 without an error object, stdout "words"'),
        ("kill -9 $$", "killed by signal 9"),
        ("""echo '{"code":7,"msg":"bad config"}'""", "bad config"),
    ],
)
async def test_answers_that_break_the_protocol_are_errors(plugins, script, message):
    plugins.script("one", "ADD", script)
    with pytest.raises(PluginError) as caught:
        await plugins.runtime.add(network(), ATTACHMENT)
    assert message in caught.value.msg
    assert not plugins.cache.exists()


async def test_a_missing_plugin_is_named_with_the_searched_path(plugins):
    with pytest.raises(PluginError, match='failed to find plugin "three" in path'):
        await plugins.runtime.add(network(plugins=[{"type": "three"}]), ATTACHMENT)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_a_plugin_that_hangs_is_killed_with_its_children(plugins):
    pid_file = plugins.state / "child"
    plugins.script("one", "ADD", f"sleep 1000 & echo $! > {pid_file}; wait\n")
    for limit_s in (0.5, 5.0, 50.0):
        runtime = Runtime([plugins.bin], plugins.cache, limit_s=limit_s)
        with pytest.raises(PluginError, match=rf"timed out after {limit_s:g} s"):
            await runtime.add(network(), ATTACHMENT)
        if pid_file.exists():
            break  # on a busy machine it may be killed before it comes to that
    deadline = time.monotonic() + 30
    while runs(int(pid_file.read_text())):
        # It was sent its end; a busy machine lets it die a moment later.
        assert time.monotonic() < deadline, "the plugin's child lives on"
        await pause("the end of a killed process", 0.01)


async def test_check_is_not_asked_where_it_is_not_allowed(plugins):
    await plugins.runtime.add(network(), ATTACHMENT)
    await plugins.runtime.check(network(disableCheck=True), ATTACHMENT)
    await plugins.runtime.check(network("0.3.1"), ATTACHMENT)
    assert plugins.calls == ["one ADD", "two ADD"]
    with pytest.raises(PluginError, match="no result of an ADD"):
        await plugins.runtime.check(network(), Attachment("other", "/x", "eth0"))


async def test_status_since_1_1_and_version_before(plugins):
    await plugins.runtime.status(network("1.1.0"))
    await plugins.runtime.status(network("1.0.0"))
    assert plugins.calls == ["one STATUS", "two STATUS", "one VERSION", "two VERSION"]
    plugins.fail("two", "STATUS", "agent away")
    with pytest.raises(PluginError, match="agent away"):
        await plugins.runtime.status(network("1.1.0"))
    with pytest.raises(PluginError, match=r"does not speak version 0\.4\.0"):
        await plugins.runtime.status(network("0.4.0"))


async def test_gc_takes_down_what_is_not_valid_and_goes_on_after_an_error(plugins):
    other = Attachment("c2", "/run/netns/y", "eth0")
    await plugins.runtime.add(network(), ATTACHMENT)
    await plugins.runtime.add(network(), other)
    plugins.fail("one", "GC", "cannot collect")
    with pytest.raises(PluginError, match="cannot collect"):
        await plugins.runtime.gc(network(), lambda: [ATTACHMENT])
    assert plugins.calls[4:] == ["two DEL", "one DEL", "one GC", "two GC"]
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        assert plugins.stdin("two", "GC")[key] == [{"containerID": "c1", "ifname": "eth0"}]
    assert len(list((plugins.cache / "results").iterdir())) == 1


async def test_gc_does_nothing_where_it_is_disabled_and_asks_no_plugin_of_before_it(plugins):
    await plugins.runtime.add(network("1.0.0"), ATTACHMENT)
    await plugins.runtime.gc(network("1.0.0", disableGC=True), list)
    assert plugins.calls == ["one ADD", "two ADD"]
    await plugins.runtime.gc(network("1.0.0"), list)
    assert plugins.calls[2:] == ["two DEL", "one DEL"]


async def test_gc_waits_for_what_runs_and_asks_then_what_is_valid(plugins):
    plugins.script("one", "ADD", """sleep 0.2; echo '{"cniVersion":"1.1.0"}'""")
    single, made = network(plugins=[{"type": "one"}]), []

    async def add():
        await plugins.runtime.add(single, ATTACHMENT)
        made.append(ATTACHMENT)

    adding = asyncio.create_task(add())
    await asyncio.sleep(0)
    await plugins.runtime.gc(single, lambda: list(made))
    await adding
    assert plugins.calls == ["one ADD", "one GC"]


async def test_operations_on_one_container_do_not_overlap(plugins):
    plugins.script(
        "one",
        "ADD",
        f"""echo start >> {plugins.state}/order; sleep 0.2
        echo end >> {plugins.state}/order; echo '{{"cniVersion":"1.1.0"}}'""",
    )
    single = network(plugins=[{"type": "one"}])
    await asyncio.gather(*(plugins.runtime.add(single, ATTACHMENT) for _ in range(2)))
    assert (plugins.state / "order").read_text().split() == ["start", "end", "start", "end"]


def test_the_first_usable_file_in_lexical_order_is_loaded(tmp_path):
    plugin = {"type": "one"}
    (tmp_path / "10-broken.conflist").write_text("{")
    (tmp_path / "15-directory.conf").mkdir()
    (tmp_path / "20-same.conf").write_text(json.dumps({"cniVersion": "1.0.0", "name": "conf", **plugin}))
    listed = {"cniVersion": "1.0.0", "name": "list", "plugins": [plugin]}
    (tmp_path / "20-same.conflist").write_text(json.dumps(listed))
    (tmp_path / "05-ignored.txt").write_text("{}")
    found = load_network(tmp_path)
    assert (found.name, found.plugins[0]["type"]) == ("conf", "one")
    (tmp_path / "20-same.conf").unlink()
    assert load_network(tmp_path).name == "list"
    (tmp_path / "20-same.conflist").rename(tmp_path / "20-same.json")
    with pytest.raises(InputError, match=r"10-broken.conflist: not JSON.*rename it to \*.conflist"):
        load_network(tmp_path)


def test_a_list_takes_plugins_from_the_directory_of_its_name(tmp_path):
    listed = {"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "one"}]}
    path = tmp_path / "10-net.conflist"
    path.write_text(json.dumps(listed))
    beside = tmp_path / "net"
    beside.mkdir()
    for name in ("20-three", "10-two"):
        (beside / f"{name}.conf").write_text(json.dumps({"type": name[3:]}))
    found = load_network(tmp_path)
    assert [plugin["type"] for plugin in found.plugins] == ["one", "two", "three"]
    assert parse_network(found.source, where="cache") == found
    path.write_text(json.dumps({**listed, "loadOnlyInlinedPlugins": True}))
    assert [plugin["type"] for plugin in load_network(tmp_path).plugins] == ["one"]


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"cniVersion": "1.0.0"}, "1.0.0"),
        ({}, "0.1.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0", "2.0.0"]}, "1.1.0"),
        ({"cniVersions": ["0.3.1"]}, "0.3.1"),
    ],
)
def test_the_highest_common_version_is_chosen(versions, chosen):
    config = {"name": "net", "plugins": [{"type": "one"}], **versions}
    assert parse_network(json.dumps(config).encode(), where="x").cni_version == chosen


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "n", "plugins": []}, "at least one plugin"),
        ({"name": "n", "plugins": [{"name": "x"}]}, r"plugins\[0\]: a plugin needs a type"),
        ({"plugins": [{"type": "one"}]}, "needs a name"),
        ({"name": "../n", "plugins": [{"type": "one"}]}, "invalid network name"),
        ({"name": "n", "cniVersions": 1, "plugins": [{"type": "one"}]}, "cniVersions must be a list"),
        (
            {"name": "n", "cniVersion": "7.0.0", "plugins": [{"type": "one"}]},
            "no usable cniVersion among 7.0.0",
        ),
        ({"name": "n", "disableCheck": 3, "plugins": [{"type": "one"}]}, "disableCheck must be a boolean"),
        ([], "not a JSON object"),
    ],
)
def test_bad_configurations_say_what_is_wrong(config, message):
    with pytest.raises(InputError, match=message):
        parse_network(json.dumps(config).encode(), where="x.conflist")
