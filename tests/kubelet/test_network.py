"""A node's network says that it is ready only after what was left over has been taken down."""

from __future__ import annotations

import json

import pytest

from multinet.cni.runtime import Attachment, PluginError
from multinet.kubelet.network import NodeNetwork

HELD = Attachment("c1", "/run/netns/a", "eth0")


class NotedRuntime:
    def __init__(self):
        self.log, self.away, self.stuck, self.seen = [], True, False, None

    async def status(self, net):
        if self.away:
            raise PluginError("one", "STATUS", "agent away")
        self.log.append(("status", net.name))

    async def gc(self, net, valid):
        self.log.append(("gc", net.name, list(valid()), self.seen.ready))
        if self.stuck:
            raise PluginError("one", "GC", "cannot collect")


@pytest.fixture
def runtime():
    return NotedRuntime()


@pytest.fixture
def network(runtime, tmp_path):
    config = {"cniVersion": "1.1.0", "name": "net", "type": "one"}
    (tmp_path / "10-net.conf").write_text(json.dumps(config))
    runtime.seen = NodeNetwork(runtime, tmp_path, (), lambda: [HELD])
    return runtime.seen


async def test_leftovers_are_collected_once_and_before_the_network_is_ready(runtime, network):
    await network.refresh()
    assert (runtime.log, network.ready) == ([], False)
    assert "agent away" in network.message
    runtime.away = False
    await network.refresh()
    await network.refresh()
    assert network.ready
    assert runtime.log == [("status", "net"), ("gc", "net", [HELD], False), ("status", "net")]


async def test_a_collection_that_fails_does_not_keep_the_node_from_being_ready(runtime, network, caplog):
    runtime.away, runtime.stuck = False, True
    await network.refresh()
    assert network.ready
    assert "cannot collect" in caplog.text


async def test_a_collection_that_fails_is_tried_again_a_few_times(runtime, network, caplog):
    runtime.away, runtime.stuck = False, True
    await network.refresh()
    runtime.stuck = False
    for _ in range(3):
        await network.refresh()
    assert [each[0] for each in runtime.log].count("gc") == 2


async def test_one_that_always_fails_is_left_in_the_end(runtime, network, caplog):
    runtime.away, runtime.stuck = False, True
    for _ in range(9):
        await network.refresh()
    assert [each[0] for each in runtime.log].count("gc") == 6
    assert "not all taken down: " in caplog.text
    assert not caplog.messages[-1].endswith("it is tried again")
