"""A whole kubelet in the test's process: embedded API, one node, a scripted CNI plugin."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from multinet.apiserver.server import ApiServer
from multinet.kube.backoff import Backoff
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.resources import EVENTS, NODES, PODS
from multinet.kubelet.context import Timing
from multinet.kubelet.main import Options, run
from multinet.waits import pause, wait_for

PLUGIN = """#!/bin/sh
cat > {state}/stdin.$CNI_COMMAND
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS" >> {state}/calls
if [ -e {state}/fail.$CNI_COMMAND ]; then
  cat {state}/fail.$CNI_COMMAND; echo "the plugin's own words" >&2; exit 1
fi
case $CNI_COMMAND in
VERSION) echo '{{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}}' ;;
ADD)
  nsenter --net="$CNI_NETNS" ip link add eth0 type veth peer name peer0 || exit 1
  cat <<END
{{"cniVersion":"1.1.0",
 "interfaces":[{{"name":"eth0","sandbox":"$CNI_NETNS"}},{{"name":"eth1","sandbox":"$CNI_NETNS"}}],
 "ips":[{{"address":"10.32.0.7/12","interface":0}},{{"address":"10.1.0.7/24","interface":1}}]}}
END
  ;;
esac
"""


@dataclass
class KubeletLab:
    """One node named n1 at 127.0.0.1. ``plugin`` holds the scripted plugin's calls and failures."""

    api: ApiServer
    client: Client
    options: Options
    plugin: Path
    timing: Timing
    pods: Informer
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def start_kubelet(self) -> asyncio.Task[int]:
        task = asyncio.create_task(run(self.options, timing=self.timing))
        self.tasks.append(task)
        return task

    async def stop_kubelet(self, task: asyncio.Task[int]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def calls(self, command: str = "") -> list[str]:
        path = self.plugin / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(command) and not line.startswith("STATUS")]

    async def called(self, command: str, limit: float = 30.0) -> None:
        """Wait for the plugin's first such call to have begun."""

        async def look() -> None:
            while not self.calls(command):
                await pause(f"a call of {command}", 0.02)

        await wait_for(f"the plugin's {command}", look(), limit)

    def fail(self, command: str, code: int, message: str) -> None:
        body = {"cniVersion": "1.1.0", "code": code, "msg": message}
        (self.plugin / f"fail.{command}").write_text(json.dumps(body))

    def mend(self, command: str) -> None:
        (self.plugin / f"fail.{command}").unlink()

    def sandbox(self, pod: dict[str, Any]) -> dict[str, Any]:
        path = self.options.root_dir / "kubelet" / "sandboxes" / f"{pod['metadata']['uid']}.json"
        return json.loads(path.read_text())

    async def pod(self, name: str, *commands: list[str], **spec: Any) -> dict[str, Any]:
        containers = [
            {"name": f"c{index}", "image": "none", "command": command}
            for index, command in enumerate(commands or (["sleep", "1000"],))
        ]
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": containers, **spec},
        }
        return await self.client.create(PODS, manifest)

    async def until(
        self, name: str, what: str, holds: Callable[[dict[str, Any]], Any], limit: float = 30.0
    ) -> Any:
        def check(store: Any) -> Any:
            pod = store.get(f"default/{name}")
            return pod if pod is not None and holds(pod) else None

        return await self.pods.wait_until(f"{name} {what}", check, limit)

    async def running(self, name: str) -> dict[str, Any]:
        return await self.until(name, "Running", lambda pod: pod["status"].get("phase") == "Running")

    async def vanished(self, name: str, limit: float = 30.0) -> None:
        await self.pods.wait_until(f"{name} gone", lambda store: f"default/{name}" not in store, limit)

    async def event(self, reason: str) -> dict[str, Any]:
        informer = Informer(self.client, EVENTS)
        task = asyncio.create_task(informer.run())
        try:
            return await informer.wait_until(
                f"event {reason}",
                lambda store: next((e for e in store.values() if e["reason"] == reason), None),
                30.0,
            )
        finally:
            task.cancel()


@pytest.fixture
async def lab(tmp_path: Path, pki: Path, free_port: int) -> AsyncIterator[KubeletLab]:
    plugin = tmp_path / "plugin"
    root = tmp_path / "node"
    for directory in (plugin, root / "cni" / "bin", root / "cni" / "net.d"):
        directory.mkdir(parents=True)
    executable = root / "cni" / "bin" / "scripted"
    executable.write_text(PLUGIN.format(state=plugin))
    executable.chmod(0o755)
    config = {"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "scripted"}]}
    (root / "cni" / "net.d" / "10-net.conflist").write_text(json.dumps(config))
    timing = replace(
        Timing.default(), sandbox=Backoff(0.05, 0.2), teardown=Backoff(0.05, 0.2), restart=Backoff(0.05, 0.2)
    )
    async with (
        ApiServer.start(workdir=tmp_path / "api", pki_dir=pki) as api,
        Client(load_kubeconfig(api.kubeconfig)) as client,
    ):
        options = Options(
            kubeconfig=api.kubeconfig,
            node_name="n1",
            node_ip="127.0.0.1",
            root_dir=root,
            cni_conf_dir=root / "cni" / "net.d",
            cni_bin_dirs=(root / "cni" / "bin",),
            watch_dirs=(plugin,),
            port=free_port,
        )
        pods = Informer(client, PODS)
        found = KubeletLab(api, client, options, plugin, timing, pods)
        watch = asyncio.create_task(pods.run())
        yield found
        for task in (*found.tasks, watch):
            task.cancel()
        await asyncio.gather(*found.tasks, watch, return_exceptions=True)


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def node_condition() -> Callable[[KubeletLab, str], Awaitable[dict[str, Any]]]:
    async def wait(lab: KubeletLab, status: str) -> dict[str, Any]:
        informer = Informer(lab.client, NODES)
        task = asyncio.create_task(informer.run())

        def check(store: Any) -> dict[str, Any] | None:
            node = store.get("n1")
            conditions = node["status"]["conditions"] if node else []
            return next((c for c in conditions if c["type"] == "Ready" and c["status"] == status), None)

        try:
            return await informer.wait_until(f"node Ready={status}", check, 30.0)
        finally:
            task.cancel()

    return wait
