"""A cluster in this process: embedded API, controller and config API; clients are processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from multinet.apiserver.server import ApiServer
from multinet.configapi.server import ConfigApi
from multinet.controller.controller import Controller
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import NADS, NODES, PODS
from multinet.waits import wait_for

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cluster:
    """``api`` is the Kubernetes API, ``config`` the config API on it."""

    api: ApiServer
    config: ConfigApi
    kube: Client
    session: aiohttp.ClientSession

    @property
    def token(self) -> str:
        return self.api.token

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"X-Auth-Token": self.token} | {name.replace("_", "-"): v for name, v in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        url = self.config.url + path
        async with self.session.request(method, url, json=body, headers=sent) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def script(self, name: str, *words: str) -> Any:
        """Run ``scripts/<name>.py`` with the original's client; returns what it prints as JSON."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "scripts" / f"{name}.py"),
            self.config.url,
            self.token,
            *words,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await wait_for(f"client script {name}", process.communicate(), 60)
        assert process.returncode == 0, f"{name}.py failed:\n{err.decode()}\n{out.decode()}"
        return json.loads(out.decode().splitlines()[-1])

    async def node(self, name: str, address: str) -> None:
        made = await self.kube.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        await self.kube.patch(NODES, made["metadata"]["name"], {"status": status}, subresource="status")

    async def nad(self, name: str, annotations: dict[str, str]) -> None:
        config = json.dumps({"cniVersion": "0.3.1", "type": "contrail-k8s-cni"})
        await self.kube.create(
            NADS,
            {
                "apiVersion": NADS.api_version,
                "kind": NADS.kind,
                "metadata": {"name": name, "namespace": "default", "annotations": annotations},
                "spec": {"config": config},
            },
        )

    async def nad_mapped_to(self, name: str, *fq_name: str) -> None:
        domain, project, network = fq_name
        target = json.dumps({"domain": domain, "project": project, "name": network})
        await self.nad(name, {"opencontrail.org/network": target})

    async def pod(self, name: str, networks: str, node: str = "node1") -> None:
        await self.kube.create(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "annotations": {"k8s.v1.cni.cncf.io/networks": networks},
                },
                "spec": {"nodeName": node, "containers": [{"name": "main", "image": "any"}]},
            },
        )


@pytest.fixture
async def cluster(tmp_path: Path, pki: Path) -> AsyncIterator[Cluster]:
    async with ApiServer.start(workdir=tmp_path, pki_dir=pki) as api:
        access = load_kubeconfig(api.kubeconfig)
        async with Client(access) as kube:
            controller = Controller(kube, EventRecorder(kube, "test"))
            ready = asyncio.Event()
            working = asyncio.create_task(controller.run(ready.set))
            async with ConfigApi.start(access) as config, aiohttp.ClientSession() as session:
                await wait_for("controller", ready.wait(), 30)
                yield Cluster(api, config, kube, session)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
