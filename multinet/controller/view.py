"""The controller's view of the cluster: one informer per kind, with the indexes that the reconcilers ask.

All of it is a copy of what the API holds; nothing here is a truth of its own.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multinet.errors import InputError
from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.resources import (
    INSTANCE_IPS,
    NADS,
    NAMESPACES,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model import nad as nads
from multinet.model.attachments import pool_of
from multinet.model.naming import FqName
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import (
    ANNOTATION_NAD,
    ANNOTATION_POD,
    Obj,
    annotations_of,
    metadata_of,
    name_of,
    section,
)

BY_POD = "pod"
BY_NETWORK = "network"
BY_FQ_NAME = "fq-name"
BY_NAD = "nad"
BY_MAC = "mac"
BY_VNI = "vni"
BY_TARGET = "target"
BY_POOL = "pool"
BY_LAST_NAME = "last-name"


def now() -> str:
    """The time as Kubernetes writes it (RFC 3339, whole seconds, UTC)."""
    return _written(int(time.time()))


@functools.lru_cache(maxsize=4)
def _written(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class View:
    """Informers and look-ups; :meth:`run` keeps them current until cancelled."""

    def __init__(self, client: Client, *, cluster: str, project: str = "") -> None:
        self.client = client
        self._read: dict[str, tuple[Obj, VirtualNetwork | None]] = {}
        self.namespaces = Informer(client, NAMESPACES)
        self.nads = Informer(client, NADS)
        self.networks = Informer(client, VIRTUAL_NETWORKS)
        self.pods = Informer(client, PODS)
        self.networks.on_change(self._forget)
        self.machines = Informer(client, VIRTUAL_MACHINES)
        self.interfaces = Informer(client, VIRTUAL_MACHINE_INTERFACES)
        self.instance_ips = Informer(client, INSTANCE_IPS)
        self.nads.add_index(BY_TARGET, lambda o: _present(":".join(target_of(o, cluster, project) or ())))
        self.networks.add_index(BY_VNI, lambda o: _present(section(o, "spec").get("vni")))
        self.networks.add_index(BY_FQ_NAME, _fq_name_of)
        self.networks.add_index(BY_LAST_NAME, lambda o: (name[-1] for name in _fq_name_parts(o)))
        self.networks.add_index(BY_NAD, lambda o: _present(annotations_of(o).get(ANNOTATION_NAD)))
        self.machines.add_index(BY_POD, _pod_of_spec)
        self.interfaces.add_index(BY_POD, _pod_of_spec)
        self.interfaces.add_index(BY_NETWORK, lambda o: _present(section(o, "spec").get("network")))
        self.interfaces.add_index(BY_NAD, lambda o: _present(section(o, "spec").get("nad")))
        self.interfaces.add_index(BY_MAC, lambda o: [mac_key(section(o, "spec"))])
        self.instance_ips.add_index(BY_POD, lambda o: _present(annotations_of(o).get(ANNOTATION_POD)))
        self.instance_ips.add_index(BY_POOL, lambda o: _present(pool_of(o)))

    @property
    def informers(self) -> tuple[Informer, ...]:
        """All informers."""
        return (
            self.namespaces,
            self.nads,
            self.networks,
            self.pods,
            self.machines,
            self.interfaces,
            self.instance_ips,
        )

    async def synced(self) -> None:
        """Return when every informer has its first list."""
        await asyncio.gather(*(informer.synced.wait() for informer in self.informers))

    def network_named(self, fq_name: FqName) -> Obj | None:
        """The network with that fq name; of several the oldest, which is the one that counts."""
        found = self.networks.by_index(BY_FQ_NAME, ":".join(fq_name))
        return min(found, key=_age, default=None)

    def read(self, vn: Obj) -> VirtualNetwork | None:
        """:func:`read_network` of an object of the store, read once per version."""
        known = self._read.get(name_of(vn))
        if known is None or known[0] is not vn:
            known = self._read[name_of(vn)] = (vn, read_network(vn))
        return known[1]

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is None:
            self._read.pop(name_of(old), None)

    def network_with_last_name(self, name: str) -> Obj | None:
        """The oldest network whose fq name ends so, wherever it is (N31)."""
        return min(self.networks.by_index(BY_LAST_NAME, name), key=_age, default=None)

    def is_wanted_by_nad(self, network: VirtualNetwork, target_of: Callable[[Obj], FqName | None]) -> bool:
        """Whether the NAD that a network was made of still asks for it."""
        nad = self.nads.store.get(network.nad)
        return nad is not None and target_of(nad) == network.fq_name


def target_of(nad: Obj, cluster: str, project: str = "") -> FqName | None:
    """The network a NAD makes or maps to; None for a foreign one and for one that can't be used."""
    try:
        return nads.parse(nad, cluster=cluster, project=project).target
    except nads.NadError:
        return None


def mac_key(spec: Mapping[str, Any]) -> str:
    """The index value of an interface's MAC within its network."""
    return f"{spec.get('network')} {spec.get('mac')}"


def read_network(vn: Obj) -> VirtualNetwork | None:
    """The network, or None when its spec can't be used (its Ready condition says why)."""
    try:
        return VirtualNetwork.from_object(vn)
    except InputError:
        return None


def _age(o: Obj) -> tuple[str, str]:
    return (str(metadata_of(o).get("creationTimestamp", "")), name_of(o))


def _fq_name_parts(vn: Obj) -> list[list[str]]:
    parts = section(vn, "spec").get("fqName")
    return [[str(part) for part in parts]] if isinstance(parts, list) and parts else []


def _fq_name_of(vn: Obj) -> Iterable[str]:
    return [":".join(parts) for parts in _fq_name_parts(vn)]


def _pod_of_spec(o: Obj) -> Iterable[str]:
    pod = section(o, "spec").get("pod") or {}
    return [f"{pod.get('namespace', '')}/{pod.get('name', '')}"]


def _present(value: Any) -> Iterable[str]:
    return [str(value)] if value else []
