"""The API resources this project reads and writes, as values.

A :class:`Resource` is all a request needs to build its path. Nothing is discovered at run time: a role
knows its resources, and discovery would cost each start a round trip per group.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from multinet.model.objects import API_GROUP, API_VERSION

NPWG_GROUP = "k8s.cni.cncf.io"


class Resource(NamedTuple):
    """One kind of object served by the API; a tuple, since it is a key wherever objects are kept by kind.

    ``group`` is empty for the core group. ``path`` and ``collection_path`` follow the API's layout:
    ``/api/v1/...`` for core, ``/apis/<group>/<version>/...`` else.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """``v1`` for the core group, ``group/version`` else: the ``apiVersion`` field of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection_path(self, namespace: str | None) -> str:
        """Path of the collection; ``namespace=None`` on a namespaced resource is all namespaces."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace and self.namespaced:
            return f"{base}/namespaces/{quote(namespace, safe='')}/{self.plural}"
        return f"{base}/{self.plural}"

    def path(self, name: str, namespace: str | None, subresource: str = "") -> str:
        """Path of one object, or of a subresource of it.

        Raises ``ValueError`` where a namespaced object is named without its namespace: such a path would
        address something else.
        """
        if not name or (self.namespaced and not namespace):
            raise ValueError(f"{self.kind} needs a name and a namespace: {name!r} in {namespace!r}")
        path = f"{self.collection_path(namespace)}/{quote(name, safe=':')}"
        return f"{path}/{subresource}" if subresource else path


def _core(plural: str, kind: str, *, namespaced: bool = True) -> Resource:
    return Resource("", "v1", plural, kind, namespaced)


def _ours(plural: str, kind: str, *, namespaced: bool) -> Resource:
    return Resource(API_GROUP, API_VERSION.removeprefix(f"{API_GROUP}/"), plural, kind, namespaced)


PODS = _core("pods", "Pod")
NODES = _core("nodes", "Node", namespaced=False)
NAMESPACES = _core("namespaces", "Namespace", namespaced=False)
EVENTS = _core("events", "Event")
CONFIGMAPS = _core("configmaps", "ConfigMap")
SECRETS = _core("secrets", "Secret")
SERVICES = _core("services", "Service")
ENDPOINTS = _core("endpoints", "Endpoints")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", True)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", True)
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet", True)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet", True)
JOBS = Resource("batch", "v1", "jobs", "Job", True)
NADS = Resource(NPWG_GROUP, "v1", "network-attachment-definitions", "NetworkAttachmentDefinition", True)
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True)
MULTI_NETWORK_POLICIES = Resource(NPWG_GROUP, "v1beta2", "multi-networkpolicies", "MultiNetworkPolicy", True)
VIRTUAL_NETWORKS = _ours("virtualnetworks", "VirtualNetwork", namespaced=False)
VIRTUAL_MACHINES = _ours("virtualmachines", "VirtualMachine", namespaced=True)
VIRTUAL_MACHINE_INTERFACES = _ours("virtualmachineinterfaces", "VirtualMachineInterface", namespaced=True)
BUNDLES = _ours("bundles", "Bundle", namespaced=False)
INSTANCE_IPS = _ours("instanceips", "InstanceIP", namespaced=False)
