"""Where a run took place: what a reader needs to know before comparing two reports."""

from __future__ import annotations

import asyncio
import hashlib
import platform

from conformance.target import ClusterTarget, PluginTarget, Target
from multinet.errors import MultinetError
from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig


def describe(target: Target) -> dict[str, str]:
    """Kernel, interpreter, and what the target runs on; a part that can't be read says so."""
    found = {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if isinstance(target, ClusterTarget):
        try:
            found |= asyncio.run(_cluster(target))
        except MultinetError as error:
            found["kubernetes"] = f"could not be read: {error}"
    if isinstance(target, PluginTarget):
        content = hashlib.sha256(target.binary.read_bytes()).hexdigest()
        found["plugin"] = f"{target.binary.name} sha256:{content}"
    return found


async def _cluster(target: ClusterTarget) -> dict[str, str]:
    async with Client(load_kubeconfig(target.kubeconfig)) as client:
        version = await client.get_path("/version")
        nodes = (await client.list(resources.NODES)).items
    infos = [node.get("status", {}).get("nodeInfo", {}) for node in nodes]
    runtimes = sorted({str(info.get("containerRuntimeVersion", "unknown")) for info in infos})
    return {
        "kubernetes": str(version.get("gitVersion", "unknown")),
        "nodes": str(len(nodes)),
        "containerRuntime": ", ".join(runtimes),
    }
