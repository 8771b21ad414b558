"""The Node object of this machine: registration, conditions, and the heartbeat lease.

Registration is one request at the moment the network is known to be ready or not; after that a status
patch goes out only when readiness changes, and heartbeats are renewals of a Lease in kube-node-lease.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from multinet import __version__
from multinet.kube.backoff import Backoff
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from multinet.kube.resources import LEASES, NODES
from multinet.kubelet.network import NodeNetwork
from multinet.kubelet.status import timestamp
from multinet.model.objects import Obj, section, uid_of

_log = logging.getLogger(__name__)
LEASE_NAMESPACE = "kube-node-lease"
LEASE_S = 40
RENEW_S = 10.0
KUBELET_PORT = 10250
POD_CAPACITY = "110"


class NodeStatus:
    """Keeps the Node and its Lease current."""

    def __init__(self, client: Client, name: str, addresses: Sequence[str], network: NodeNetwork) -> None:
        self._client = client
        self._name = name
        self._addresses = tuple(addresses)
        self._network = network
        self._backoff = Backoff(first_s=0.1, cap_s=3.0)
        self._published: tuple[bool, str] | None = None
        self._since = timestamp(time.time())

    async def register(self) -> None:
        """Create the Node with its status, or bring an existing one up to date; tries until it works."""
        failures = 0
        while True:
            try:
                await self._register()
                return
            except KubeError as error:
                failures += 1
                _log.warning("node %s is not registered yet: %s", self._name, error)
                await self._client.pause("node registration back-off", self._backoff.delay(failures))

    async def publish(self) -> None:
        """Write readiness if it changed since the last time."""
        state = (self._network.ready, self._network.message)
        failures = 0
        while self._published != state:
            try:
                await self._client.patch(NODES, self._name, {"status": self._status()}, subresource="status")
                self._published = state
            except NotFoundError:
                await self.register()
            except KubeError as error:
                failures += 1
                _log.warning("status of node %s is written later: %s", self._name, error)
                await self._client.pause("node status back-off", self._backoff.delay(failures))
            state = (self._network.ready, self._network.message)

    async def heartbeat(self) -> None:
        """Renew the lease until cancelled."""
        lease: Obj | None = None
        while True:
            try:
                lease = await self._renew(lease)
            except KubeError as error:
                lease = None
                _log.warning("lease of node %s is not renewed: %s", self._name, error)
            await self._client.pause("node lease interval", RENEW_S if lease else RENEW_S / 5)

    async def _register(self) -> None:
        state = (self._network.ready, self._network.message)
        node: Obj = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._name, "labels": self._labels()},
            "spec": {},
            "status": self._status(),
        }
        try:
            made = await self._client.create(NODES, node)
        except AlreadyExistsError:
            made = await self._client.patch(NODES, self._name, {"metadata": {"labels": self._labels()}})
        if section(made, "status").get("conditions") != node["status"]["conditions"]:
            # An API server may drop the status of a created object.
            await self._client.patch(NODES, self._name, {"status": node["status"]}, subresource="status")
        self._published = state

    async def _renew(self, lease: Obj | None) -> Obj:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if lease is not None:
            renewal = {"spec": {"renewTime": now}}
            with contextlib.suppress(NotFoundError):
                return await self._client.patch(LEASES, self._name, renewal, LEASE_NAMESPACE)
        try:
            node = await self._client.get(NODES, self._name)
        except NotFoundError:
            # Deleted, or the API came back with an empty store: without a Node nothing is scheduled here.
            _log.warning("node %s is gone from the API: it is registered again", self._name)
            await self._register()
            node = await self._client.get(NODES, self._name)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": uid_of(node)}
        body: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": {"holderIdentity": self._name, "leaseDurationSeconds": LEASE_S, "renewTime": now},
        }
        try:
            return await self._client.create(LEASES, body)
        except AlreadyExistsError:
            return await self._client.patch(LEASES, self._name, {"spec": body["spec"]}, LEASE_NAMESPACE)

    def _labels(self) -> dict[str, str]:
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return {
            "kubernetes.io/hostname": self._name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
        }

    def _status(self) -> Obj:
        now = timestamp(time.time())
        ready = self._network.ready
        if self._published is None or self._published[0] != ready:
            self._since = now
        reason = "KubeletReady" if ready else "KubeletNotReady"
        message = "kubelet is posting ready status" if ready else self._network.message
        conditions = [
            _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "", now, now),
            _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "", now, now),
            _condition("PIDPressure", "False", "KubeletHasSufficientPID", "", now, now),
            _condition("Ready", "True" if ready else "False", reason, message, now, self._since),
        ]
        resources = {"cpu": str(os.cpu_count() or 1), "memory": f"{_memory_kib()}Ki", "pods": POD_CAPACITY}
        return {
            "addresses": [
                *({"type": "InternalIP", "address": each} for each in self._addresses),
                {"type": "Hostname", "address": self._name},
            ],
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "nodeInfo": self._info(),
        }

    def _info(self) -> Obj:
        return {
            "architecture": self._labels()["kubernetes.io/arch"],
            "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "containerRuntimeVersion": f"multinet://{__version__}",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": f"v{__version__}-multinet",
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "multinet emulated node",
            "systemUUID": "",
        }


def _condition(kind: str, status: str, reason: str, message: str, now: str, since: str) -> Obj:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    }


def _memory_kib() -> int:
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        return int(file.readline().split()[1])
