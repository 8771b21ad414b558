"""One simulated node: the real agent on a simulated kernel, and a kubelet reduced to its CNI calls.

The kubelet does what a real one does to a plugin: ADD with a new container ID for each sandbox, DEL for each
that ends, failed ADDs undone and tried again, a new sandbox for every pod after a reboot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import orjson

from conformance.fuzz import simdisk
from conformance.fuzz.kernel import Kernel, SimulatedDatapath
from conformance.fuzz.localapi import Line, LocalApi
from multinet.cni.wire import Call
from multinet.kube.client import Client
from multinet.kube.errors import KubeError
from multinet.kube.informer import Callback, Informer
from multinet.kube.queue import KeyedQueue
from multinet.kube.resources import (
    NODES,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model.dialect import Dialect
from multinet.model.objects import Obj, key_of, metadata_of, name_of, namespace_of, section, uid_of
from multinet.vrouter.agent import Agent
from multinet.vrouter.reporter import KubeReporter
from multinet.vrouter.states import StateFiles
from multinet.vrouter.view import ClusterView
from multinet.waits import pause

_CONFIG = {"cniVersion": "1.0.0", "name": "multinet", "type": "multinet-cni"}
_RETRY_S = 1.0
_ADD_LIMIT_S = 30.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sandbox:
    """One sandbox of a pod; ``result`` is what ADD answered, None before it did."""

    container_id: str
    pod: str
    uid: str
    result: Obj | None = None


class News:
    """Tells whoever waits for a pod that its world has changed: the node's, or what is the pod's alone."""

    def __init__(self) -> None:
        self._everywhere = 0
        self._of_pod: dict[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def stir(self, *_what: object) -> None:
        """Something that may concern every pod has changed."""
        self._everywhere += 1
        for pod in list(self._waiting):
            self._wake(pod)

    def network(self, old: Obj | None, new: Obj | None) -> None:
        """A network has changed; its status concerns nobody here."""
        if old is None or new is None or old["spec"] != new["spec"]:
            self.stir()

    def owned(self, old: Obj | None, new: Obj | None) -> None:
        """An object that belongs to one pod has changed."""
        of = section(new or old or {}, "spec").get("pod") or {}
        self._stir_pod(f"{of.get('namespace')}/{of.get('name')}")

    def pod(self, old: Obj | None, new: Obj | None) -> None:
        """A pod itself has changed."""
        self._stir_pod(key_of(new or old or {}))

    def count(self, pod: str) -> tuple[int, int]:
        """How often the world of a pod has changed so far."""
        return self._everywhere, self._of_pod.get(pod, 0)

    async def since(self, pod: str, count: tuple[int, int]) -> None:
        """Wait, without a limit, for a change that is not counted in ``count``."""
        while self.count(pod) == count:
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(pod, []).append(future)
            await future

    def _stir_pod(self, pod: str) -> None:
        self._of_pod[pod] = self._of_pod.get(pod, 0) + 1
        self._wake(pod)

    def _wake(self, pod: str) -> None:
        for future in self._waiting.pop(pod, ()):
            if not future.done():
                future.set_result(None)


class SimulatedNode:
    """A node. ``state_dir`` survives everything, the kernel everything but a reboot."""

    def __init__(self, api: LocalApi, name: str, address: str, dialect: Dialect) -> None:
        self.name, self.address = name, address
        self.kernel = Kernel(name)
        self.line = Line(name)
        self.sandboxes: dict[str, Sandbox] = {}
        self.agent: Agent | None = None
        self.news = News()
        self._api, self._dialect, self.state_dir = api, dialect, simdisk.directory()
        self._client = api.client(self.line)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._made = 0
        self._kubelet: Informer | None = None

    def start(self) -> None:
        """Start agent and kubelet."""
        self.start_agent()
        kubelet = self._kubelet = Informer(self._client, PODS, field_selector=f"spec.nodeName={self.name}")
        kubelet.on_change(self._pod_changed)
        kubelet.on_change(self.news.pod)
        self._spawn(kubelet.run(), "kubelet")

    def start_agent(self) -> None:
        """Start the agent with nothing but its files and the kernel."""
        view = ClusterView(self.name)
        datapath = SimulatedDatapath(self.kernel, view.remotes)
        states = StateFiles(self.state_dir)
        agent = self.agent = Agent(
            view, datapath, states, KubeReporter(self._client), limit_s=_ADD_LIMIT_S, dialect=self._dialect
        )
        agent.open()
        self._spawn(_follow(self._client, view, agent, self.news), "agent")

    def stop_agent(self) -> None:
        """End the agent in the middle of whatever it does."""
        self.agent = None
        for task in [each for each in self._running if each.get_name() == "agent"]:
            task.cancel()
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def resume(self) -> None:
        """After the agent's end: every pod is looked at again."""
        for pod in self._pods():
            self._look_at(pod)

    def refuse(self, why: str) -> None:
        """The kernel refuses devices from now on; empty: no longer."""
        self.kernel.refusing = why
        self.news.stir()

    def reconnect(self) -> None:
        """The API can be reached again."""
        self.line.mend()
        self.news.stir()

    def reboot(self) -> None:
        """Kernel, agent and sandboxes are gone; the files stay."""
        self.stop_agent()
        self.kernel.reboot()
        for sandbox in self.sandboxes.values():
            sandbox.result = None
        self.start_agent()
        self.resume()

    def stop(self) -> None:
        """End everything of the node."""
        self.stop_agent()
        for task in tuple(self._running):
            task.cancel()

    async def call(self, command: str, sandbox: Sandbox) -> tuple[int, Obj]:
        """One CNI call, as the plugin hands it to the agent."""
        if self.agent is None:
            return 1, {"code": 11, "msg": "the node agent can't be reached"}
        namespace, _, pod = sandbox.pod.partition("/")
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sandbox.container_id,
            "CNI_NETNS": f"/run/netns/{sandbox.container_id}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod};K8S_POD_UID={sandbox.uid}",
        }
        reply = await self.agent.handle(Call(environment, _STDIN))
        return reply.code, orjson.loads(reply.stdout or b"{}")

    async def repeat(self, verb: str, sandbox: Sandbox) -> None:
        """A call that a runtime in doubt makes once more; a second DEL is followed by a new sandbox."""
        await self.call(verb, sandbox)
        if verb == "DEL":
            sandbox.result = None
            self.resume()

    def _pods(self) -> list[Obj]:
        return list(self._kubelet.store.values()) if self._kubelet is not None else []

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None:
            self._end_of(old or {})
        elif old is None or uid_of(old) != uid_of(new) or _ends(old) != _ends(new):
            self._look_at(new)

    def _look_at(self, pod: Obj) -> None:
        uid = uid_of(pod)
        if section(pod, "spec").get("hostNetwork"):
            return
        running = self._tasks.get(uid)
        if running is not None:
            running.cancel()
        work = self._end(pod) if _ends(pod) else self._run(pod)
        self._tasks[uid] = self._spawn(work, f"pod {key_of(pod)}")

    def _end_of(self, pod: Obj) -> None:
        """A pod that vanished without the kubelet: its sandbox still has to go."""
        if uid_of(pod) in self.sandboxes:
            self._look_at({**pod, "metadata": {**metadata_of(pod), "deletionTimestamp": "now"}})
        elif (running := self._tasks.pop(uid_of(pod), None)) is not None:
            running.cancel()  # between two sandboxes

    async def _run(self, pod: Obj) -> None:
        """Bring one pod up: ADD until it succeeds, each failure followed by a DEL."""
        uid = uid_of(pod)
        known = self.sandboxes.get(uid)
        if known is not None and known.result is not None:
            return
        if known is not None:
            await self._delete(known)
        while True:
            seen = self.news.count(key_of(pod))
            self._made += 1
            sandbox = self.sandboxes[uid] = Sandbox(f"{self.name}-{self._made}", key_of(pod), uid)
            code, answer = await self.call("ADD", sandbox)
            if code == 0:
                sandbox.result = answer
                await self._publish(pod, answer)
                return
            await self._delete(sandbox)
            # Another try in the same world takes the same course; it would only cost time.
            await self.news.since(key_of(pod), seen)
            await pause(f"sandbox of {key_of(pod)}: back-off", _RETRY_S)

    async def _end(self, pod: Obj) -> None:
        sandbox = self.sandboxes.get(uid_of(pod))
        if sandbox is not None:
            await self._delete(sandbox)
        with contextlib.suppress(KubeError):
            await self._client.delete(PODS, name_of(pod), namespace_of(pod), grace_seconds=0, uid=uid_of(pod))

    async def _delete(self, sandbox: Sandbox) -> None:
        while (answer := await self.call("DEL", sandbox))[0] != 0:
            _log.warning("DEL of %s: %s", sandbox.pod, answer[1])
            await pause(f"DEL of {sandbox.pod}: back-off", _RETRY_S)
        self.kernel.end(sandbox.container_id)
        if self.sandboxes.get(sandbox.uid) is sandbox:
            del self.sandboxes[sandbox.uid]

    async def _publish(self, pod: Obj, result: Obj) -> None:
        """Phase and addresses, as a kubelet takes them from the result: interface 0's only."""
        first = [item["name"] for item in result["interfaces"]].index("eth0")
        addresses = [
            {"ip": item["address"].partition("/")[0]}
            for item in result.get("ips", ())
            if item.get("interface") == first
        ]
        status = {"phase": "Running", "podIP": addresses[0]["ip"], "podIPs": addresses}
        patch = {"metadata": {"uid": uid_of(pod)}, "status": status}
        with contextlib.suppress(KubeError):
            await self._client.patch(PODS, name_of(pod), patch, namespace_of(pod), subresource="status")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


_STDIN = json.dumps(_CONFIG).encode()


async def _follow(client: Client, view: ClusterView, agent: Agent, news: News) -> None:
    """Keep the agent's view current, as its own main program does."""
    informers: list[tuple[Informer, Callback, Callback]] = [
        (Informer(client, NODES), view.node_changed, news.stir),
        (Informer(client, VIRTUAL_NETWORKS), view.network_changed, news.network),
        (Informer(client, VIRTUAL_MACHINE_INTERFACES), view.interface_changed, news.owned),
        (Informer(client, VIRTUAL_MACHINES), view.machine_changed, news.owned),
    ]
    queue = KeyedQueue(lambda key: agent.reconcile(int(key)), workers=1, name="networks")
    view.on_network(lambda vni: queue.add(str(vni)))
    async with asyncio.TaskGroup() as group:
        for informer, changed, told in informers:
            informer.on_change(changed)
            informer.on_change(told)
            group.create_task(informer.run())
        for informer, _, _ in informers:
            await informer.synced.wait()
        await agent.synced()
        group.create_task(queue.run())


def _ends(pod: Obj) -> bool:
    return bool(metadata_of(pod).get("deletionTimestamp"))
