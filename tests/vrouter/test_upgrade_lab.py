"""The agent is replaced by one of another version: it reads older state, refuses newer; traffic goes on."""

from __future__ import annotations

import asyncio
import json
import select
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from multinet.cni import install, wire
from multinet.vrouter import states
from multinet.vrouter.server import listening
from multinet.vrouter.states import StateError
from tests.vrouter.conftest import CONFIG, ip

pytestmark = pytest.mark.lab

# What version 1 did not have: see tests/vrouter/states/version-1.json, which an agent of it wrote.
_NEW_KEYS = ("underlayBlocks",)


def files(lab, node):
    return {path: path.read_bytes() for path in sorted((lab.directory / node.name).iterdir())}


def rewrite(lab, node, change):
    for path in files(lab, node):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))


def as_version_1(content):
    content["version"] = 1
    for port in content["ports"]:
        for key in _NEW_KEYS:
            del port["network"][key]


@contextmanager
def traffic(source, targets):
    """Echo requests to each target, fifty a second, until the block ends; none may be lost."""
    words = ["ip", "netns", "exec", source, "ping", "-n", "-q", "-i", "0.02", "-W", "10"]
    running = [subprocess.Popen([*words, target], stdout=subprocess.PIPE, text=True) for target in targets]
    try:
        for each in running:
            # It says what it does when the first answer is there.
            assert select.select([each.stdout], [], [], 30)[0], "nobody answers"
        yield
    finally:
        said = []
        for each in running:
            each.send_signal(2)  # SIGINT: it waits for what is on its way, and sums up
            said.append(each.communicate(timeout=30)[0])
    for text in said:
        sent, received = (int(word.split()[0]) for word in text.split("---\n")[1].split(", ")[:2])
        assert received, text
        assert sent - received <= 1, text  # the last may be on its way


@pytest.fixture
async def pair(lab):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    await lab.run(one, "a", ["default", "red"])
    _, interfaces = await lab.run(two, "b", ["default", "red"])
    return lab, one, [interface.addresses[0].address for interface in interfaces]


async def test_an_agent_reads_the_state_of_an_older_one_and_traffic_goes_on(pair):
    lab, one, targets = pair
    with traffic("a", targets):
        one.stop()
        rewrite(lab, one, as_version_1)
        old = files(lab, one)
        one.start()
        await one.sync()
        assert files(lab, one) == old  # so that the older agent could come back
        assert [each.pod for each in one.agent.attachments] == ["default/a"]
        assert one.datapath.check(one.agent.attachments[0]) == ()
    await lab.run(one, "c", ["default", "red"])
    assert json.loads((lab.directory / "node1" / "c-c.json").read_text())["version"] == states.VERSION
    for name in "ac":
        assert (await one.call("DEL", f"c-{name}", name))[0] == 0
    assert files(lab, one) == {}
    assert not [name for name in one.links() if name.startswith("tap")]


async def test_an_older_agent_changes_nothing_of_a_newer_ones(pair):
    lab, one, targets = pair
    (lab.directory / "node1" / "damaged.json").write_bytes(b"{")
    with traffic("a", targets):
        one.stop()
        newer = lab.directory / "node1" / "c-a.json"
        content = json.loads(newer.read_text()) | {"version": states.VERSION + 1, "unheardOf": True}
        newer.write_text(json.dumps(content))
        before = files(lab, one), one.links(), ip("rule", netns="node1"), ip("route", netns="node1")
        with pytest.raises(StateError) as refused:
            one.start()
        error = refused.value
        assert "default/a" in error.what
        assert error.where == str(newer)
        assert f"{states.VERSION + 1}, and this agent reads versions up to {states.VERSION}" in error.why
        assert "nothing was changed" in error.next_step
        after = files(lab, one), one.links(), ip("rule", netns="node1"), ip("route", netns="node1")
        assert after == before
    one.stop()
    content |= {"version": states.VERSION}
    newer.write_text(json.dumps(content))
    one.start()
    await one.sync()
    assert (await one.call("DEL", "c-a", "a"))[0] == 0


async def called(plugin, socket_path, command, pod, uid):
    """The plugin as a runtime calls it: its exit code and what it said."""
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": f"c-{pod}",
        "CNI_NETNS": f"/run/netns/{pod}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(plugin.parent),
        "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID={uid}",
        wire.SOCKET_VARIABLE: str(socket_path),
    }
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    child = await asyncio.create_subprocess_exec(plugin, env=environment, **pipes)
    said, _ = await child.communicate(json.dumps(CONFIG).encode())
    return child.returncode, json.loads(said or b"{}")


async def test_agent_and_plugin_are_replaced_under_a_running_pod(pair, tmp_path):
    """What was attached through one executable is removed through another, at another path."""
    lab, one, targets = pair
    link, old = tmp_path / install.PLUGIN, tmp_path / "old"
    old.mkdir()
    source = install.plugin_path()
    shutil.copy(source, old / source.name)
    link.symlink_to(old / source.name)
    machine, interfaces = lab.cluster.pod("node1", "p", ["default", "red"])
    lab.namespace("p")
    asked = tmp_path / "agent.sock", machine.pod.uid
    async with listening(asked[0], one.agent.handle):
        code, said = await called(link, asked[0], "ADD", "p", asked[1])
        assert code == 0, said
    for node in lab.nodes.values():
        for interface in interfaces:
            await node.agent.reconcile(interface.vni)
    with traffic("p", targets):
        one.stop()
        shutil.rmtree(old)
        rewrite(lab, one, as_version_1)
        install.put(link)
        assert link.resolve() == source.resolve()
        one.start()
        await one.sync()
    async with listening(asked[0], one.agent.handle):
        assert await called(link, asked[0], "DEL", "p", asked[1]) == (0, {})
    assert [each.pod for each in one.agent.attachments] == ["default/a"]
