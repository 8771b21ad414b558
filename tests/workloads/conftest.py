"""The workload controllers in the test's process: embedded API, scheduler, and nodes that play kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from multinet.apiserver.server import ApiServer
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import ConflictError, NotFoundError
from multinet.kube.informer import Informer
from multinet.kube.resources import NODES, PODS, Resource
from multinet.kubelet.scheduler import Scheduler
from multinet.workloads.controllers import Workloads

NODE_NAMES = ("node1", "node2")
LIMIT_S = 60.0


@dataclass
class Stage:
    """What a test sees. ``broken`` are images whose pods never get ready, ``ends`` images whose pods end."""

    api: ApiServer
    client: Client
    workloads: Workloads
    broken: set[str] = field(default_factory=set)
    ends: dict[str, str] = field(default_factory=dict)

    async def kubectl(self, *argv: str, status: int = 0) -> str:
        env = {**os.environ, "KUBECONFIG": str(self.api.kubeconfig)}
        process = await asyncio.create_subprocess_exec(
            "kubectl", *argv, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
        assert process.returncode == status, out.decode()
        return out.decode()

    def owned(self, kind: str, name: str) -> list[dict[str, Any]]:
        """The pods whose controller is of that kind and has a name that begins so."""
        found = []
        for pod in self.workloads.cluster.all(PODS):
            owner = next(iter(pod["metadata"].get("ownerReferences") or ()), {})
            if owner.get("kind") == kind and owner["name"].startswith(name):
                found.append(pod)
        return sorted(found, key=lambda pod: pod["metadata"]["name"])

    async def until(self, what: str, resource: Resource, holds: Any) -> Any:
        """Wait until ``holds()`` is true; it is asked at each change of the collection."""
        informer = self.workloads.cluster._informers[resource]
        return await informer.wait_until(what, lambda _: holds(), LIMIT_S)


async def _nodes(client: Client) -> None:
    for name in NODE_NAMES:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        await client.create(NODES, {"metadata": {"name": name}, "status": {"conditions": [ready]}})


class Kubelets:
    """Makes bound pods Ready, or ends them, and lets deleted ones go."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._tasks: set[asyncio.Task[None]] = set()
        self.pods = Informer(stage.client, PODS)
        self.pods.on_change(self._changed)

    def _changed(self, _old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if new is None or not new["spec"].get("nodeName"):
            return
        deleted = bool(new["metadata"].get("deletionTimestamp"))
        if deleted or new["status"]["phase"] == "Pending":
            task = asyncio.get_running_loop().create_task(self._serve(new, deleted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, pod: dict[str, Any], deleted: bool) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        image = pod["spec"]["containers"][0]["image"]
        ready = image not in self._stage.broken and image not in self._stage.ends
        stamp = pod["metadata"]["creationTimestamp"]
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": stamp}
        status = {"phase": self._stage.ends.get(image, "Running"), "conditions": [condition]}
        with contextlib.suppress(NotFoundError, ConflictError):
            if deleted:
                await self._stage.client.delete(PODS, name, namespace, grace_seconds=0)
            else:
                await self._stage.client.patch(
                    PODS, name, {"status": status}, namespace, subresource="status"
                )


@pytest.fixture
async def stage(tmp_path: Path, pki: Path) -> AsyncIterator[Stage]:
    async with (
        ApiServer.start(workdir=tmp_path, pki_dir=pki) as api,
        Client(load_kubeconfig(api.kubeconfig)) as client,
    ):
        await _nodes(client)
        made = Stage(api, client, Workloads(client))
        kubelets = Kubelets(made)
        tasks = [
            asyncio.create_task(work)
            for work in (made.workloads.run(asyncio.Event()), Scheduler(client).run(), kubelets.pods.run())
        ]
        yield made
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
