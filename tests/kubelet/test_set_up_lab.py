"""A set-up that is interrupted, wherever: nothing of the sandbox is left, each ADD was followed by a DEL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from types import SimpleNamespace

import pytest

from multinet import waits
from multinet.cni.runtime import PluginError
from multinet.cni.runtime_config import parse_network
from multinet.kube.errors import NotFoundError
from multinet.kubelet import netns, podnetwork
from multinet.kubelet.context import NodeContext, Timing
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.pods import PodWorker
from multinet.kubelet.processes import marked
from multinet.kubelet.references import References
from multinet.kubelet.sandbox import SandboxStore

pytestmark = pytest.mark.lab
POD = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": []},
}
POINTS = ("before the sandbox", "after the sandbox", "ADD", "DEL")
CONFIG = b'{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "scripted"}]}'
RESULT = {
    "interfaces": [{"name": "eth0", "sandbox": "x"}],
    "ips": [{"address": "10.0.0.2/8", "interface": 0}],
}


class Stage:
    """Launcher and runtime at once; stops at ``point`` until told to go on."""

    def __init__(self, point, *, failing_add=False, failing_dels=0):
        self.calls, self.ids, self.failing_add = [], [], failing_add
        self.failing_dels = failing_dels
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self._point = point

    async def _at(self, point):
        if point == self._point and not self.arrived.is_set():
            self.arrived.set()
            await self.go_on.wait()

    async def sandbox(self, hostname, identity, **options):
        self.ids.append(identity)
        await self._at("before the sandbox")
        pid = await Launcher.default().sandbox(hostname, identity, **options)
        await self._at("after the sandbox")
        return pid

    async def add(self, _net, attachment):
        self.calls.append(("ADD", attachment.container_id))
        await self._at("ADD")
        if self.failing_add:
            raise PluginError("scripted", "ADD", "no address left")
        return RESULT

    async def delete(self, _net, attachment):
        self.calls.append(("DEL", attachment.container_id))
        await self._at("DEL")
        if self.failing_dels:
            self.failing_dels -= 1
            raise PluginError("scripted", "DEL", "not now")

    def added(self):
        return {identity for call, identity in self.calls if call == "ADD"}

    def deleted(self):
        return {identity for call, identity in self.calls if call == "DEL"}


class NoApi:
    async def delete(self, *_args, **_options):
        raise NotFoundError("it is gone")

    async def patch(self, *_args, **_options):
        return POD


@pytest.fixture
def stage_of(tmp_path):
    def make(point, **options):
        netns.prepare()
        stage = Stage(point, **options)
        config = parse_network(CONFIG, where="here")
        context = NodeContext(
            node="n1",
            node_ip="127.0.0.1",
            client=NoApi(),
            recorder=SimpleNamespace(record=lambda *_args: None),
            runtime=stage,
            network=SimpleNamespace(ready=True, message="", problem="", config=config),
            sandboxes=SandboxStore(tmp_path / "sandboxes", "n1", stage),
            launcher=stage,
            references=References(NoApi()),
            pods_dir=tmp_path / "pods",
            timing=Timing.default(),
        )
        return stage, context

    return make


def left_over(stage, tmp_path):
    """Processes, files and published namespaces of all sandboxes that were begun."""
    found = [pid for identity in stage.ids for pid in marked(identity)]
    found += [str(path) for path in (tmp_path / "sandboxes").iterdir()]
    found += [str(path) for path in netns.DIRECTORY.iterdir() if path.name[4:] in stage.ids]
    return found


async def ended(task):
    return await waits.wait_for("end of the task", asyncio.wait({task}), 30.0)


async def arrived(stage):
    await waits.wait_for("arrival at the point", stage.arrived.wait(), 30.0)


@pytest.mark.parametrize("cancellations", [1, 3])
@pytest.mark.parametrize("point", POINTS)
async def test_a_cancelled_set_up_leaves_nothing(stage_of, tmp_path, point, cancellations):
    stage, context = stage_of(point, failing_add=point == "DEL")
    task = asyncio.create_task(podnetwork.set_up(context, POD))
    await arrived(stage)
    for _ in range(cancellations):
        task.cancel()
        await asyncio.wait({task}, timeout=0.02)
    stage.go_on.set()
    await ended(task)
    assert task.cancelled()
    assert left_over(stage, tmp_path) == []
    assert stage.deleted() == stage.added() == (set(stage.ids) if point in ("ADD", "DEL") else set())


async def test_a_set_up_cancelled_after_any_number_of_steps_leaves_nothing(stage_of, tmp_path):
    """Where no point was thought of: one step of the event loop more each time."""
    steps = 0
    while True:
        stage, context = stage_of("", failing_add=True)
        task = asyncio.create_task(podnetwork.set_up(context, POD))
        for _ in range(steps):
            # A step may be a wait for a process: then it is waited for, not spun through.
            await asyncio.wait({task}, timeout=0.0005)
        reached = task.done()
        task.cancel()
        await ended(task)
        assert left_over(stage, tmp_path) == [], steps
        assert stage.deleted() == stage.added(), steps
        if reached:
            break
        steps += 1
    assert steps > 2


@pytest.mark.parametrize("point", POINTS)
async def test_a_pod_deleted_during_its_set_up_leaves_nothing(stage_of, tmp_path, point):
    stage, context = stage_of(point, failing_add=point == "DEL")
    worker = PodWorker(context, POD)
    task = asyncio.create_task(worker.run())
    await arrived(stage)
    worker.gone()
    await asyncio.wait({task}, timeout=0.05)
    stage.go_on.set()
    await ended(task)
    assert task.exception() is None
    assert left_over(stage, tmp_path) == []
    assert stage.deleted() == stage.added()


async def test_a_record_which_the_worker_does_not_remember_is_torn_down_at_the_end(stage_of, tmp_path):
    stage, context = stage_of("")
    sandbox = await context.sandboxes.create(POD)
    worker = PodWorker(context, POD)
    worker.gone()
    await worker.run()
    assert left_over(stage, tmp_path) == []
    assert stage.deleted() == {sandbox.container_id}


async def test_a_record_which_the_worker_does_not_remember_is_not_overwritten(stage_of, tmp_path):
    stage, context = stage_of("ADD", failing_dels=1)
    first = await context.sandboxes.create(POD)
    worker = PodWorker(context, POD)
    task = asyncio.create_task(worker.run())
    await arrived(stage)
    assert not first.is_alive()
    assert stage.calls[:3] == [("DEL", stage.ids[0])] * 2 + [("ADD", stage.ids[1])]
    stage.go_on.set()
    worker.gone()
    await ended(task)
    assert left_over(stage, tmp_path) == []


async def test_a_kubelet_that_stops_finishes_the_tear_down_it_began(stage_of, tmp_path):
    stage, context = stage_of("DEL")
    sandbox = await podnetwork.set_up(context, POD)
    worker = PodWorker(context, POD, sandbox)
    worker.gone()
    task = asyncio.create_task(worker.run())
    await arrived(stage)
    task.cancel()
    await asyncio.wait({task}, timeout=0.02)
    assert not task.done()
    stage.go_on.set()
    await ended(task)
    assert left_over(stage, tmp_path) == []
    with contextlib.suppress(asyncio.CancelledError):
        assert task.exception() is None


def test_a_mount_hidden_under_a_newer_one_is_no_mount_point(tmp_path):
    """A machine whose user ever called `ip netns add` has such a mount on /run/netns, below the lab's own."""
    directory = tmp_path / "run" / "netns"
    directory.mkdir(parents=True)
    netns.prepare(directory)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "run")], check=True)
    netns.prepare(directory)
    path = directory / "one"
    assert netns.publish(os.getpid(), path) == str(path)
    subprocess.run(["umount", "-R", str(tmp_path / "run")], check=True)
