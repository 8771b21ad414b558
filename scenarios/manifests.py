"""Plain Kubernetes objects in scenarios: which resource a kind is, and how an object is named.

Design note: kinds are a table, not discovery. A scenario is checked before a lab exists, so there is no API
to ask; and a kind missing here is told with its line instead of failing in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from multinet.kube import resources
from multinet.kube.resources import Resource
from scenarios.positions import Document, Position, YamlPath

RESOURCES: tuple[Resource, ...] = (
    resources.NAMESPACES,
    resources.NODES,
    resources.PODS,
    resources.CONFIGMAPS,
    resources.SECRETS,
    resources.SERVICES,
    resources.ENDPOINTS,
    resources.ENDPOINT_SLICES,
    resources.DEPLOYMENTS,
    resources.REPLICA_SETS,
    resources.DAEMON_SETS,
    resources.STATEFUL_SETS,
    resources.JOBS,
    resources.LEASES,
    resources.CRDS,
    resources.NADS,
    resources.VIRTUAL_NETWORKS,
    resources.VIRTUAL_MACHINES,
    resources.VIRTUAL_MACHINE_INTERFACES,
    resources.INSTANCE_IPS,
    resources.NETWORK_POLICIES,
    resources.MULTI_NETWORK_POLICIES,
)
_SHORT = {
    "po": resources.PODS,
    "ns": resources.NAMESPACES,
    "no": resources.NODES,
    "cm": resources.CONFIGMAPS,
    "svc": resources.SERVICES,
    "ep": resources.ENDPOINTS,
    "deploy": resources.DEPLOYMENTS,
    "rs": resources.REPLICA_SETS,
    "ds": resources.DAEMON_SETS,
    "sts": resources.STATEFUL_SETS,
    "nad": resources.NADS,
    "net-attach-def": resources.NADS,
    "vn": resources.VIRTUAL_NETWORKS,
    "vm": resources.VIRTUAL_MACHINES,
    "vmi": resources.VIRTUAL_MACHINE_INTERFACES,
    "iip": resources.INSTANCE_IPS,
    "netpol": resources.NETWORK_POLICIES,
    "multi-policy": resources.MULTI_NETWORK_POLICIES,
}
BY_KIND: dict[tuple[str, str], Resource] = {
    (resource.api_version, resource.kind): resource for resource in RESOURCES
}
# One kind in two versions, of the same content: applied as the newer one, which is what is watched.
BY_KIND["k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy"] = resources.MULTI_NETWORK_POLICIES
BY_WORD: dict[str, Resource] = {
    **{resource.kind.lower(): resource for resource in RESOURCES},
    **{resource.plural: resource for resource in RESOURCES},
    **_SHORT,
}
KINDS = tuple(sorted({resource.kind for resource in RESOURCES}))


@dataclass(frozen=True, slots=True)
class Target:
    """One object named in a step; ``namespace`` is "" for a cluster-scoped kind."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        """Like ``Pod default/web-1``."""
        return f"{self.resource.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object to apply, and where it stands."""

    body: dict[str, Any]
    document: Document
    path: YamlPath

    @property
    def kind(self) -> str:
        """Kind, or "" when there is none."""
        return str(self.body.get("kind") or "")

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata, empty when there is none or it is no mapping."""
        found = self.body.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def annotations(self) -> dict[str, Any]:
        """Annotations, empty when there are none."""
        found = self.metadata.get("annotations")
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        """Name, or ""."""
        return str(self.metadata.get("name") or "")

    @property
    def resource(self) -> Resource | None:
        """The resource of its kind, None for a kind that scenarios don't know."""
        return BY_KIND.get((str(self.body.get("apiVersion")), self.kind))

    @property
    def namespace(self) -> str:
        """Its namespace (default where none is given), or "" for a cluster-scoped kind."""
        if self.resource is not None and not self.resource.namespaced:
            return ""
        return str(self.metadata.get("namespace") or "default")

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` for a cluster-scoped kind."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def at(self, *path: str | int, key: bool = False) -> Position:
        """Where a part of it stands."""
        return self.document.at((*self.path, *path), key=key)

    def target(self) -> Target:
        """It as a target; only for one whose kind is known."""
        if self.resource is None:
            raise ValueError(f"unknown kind {self.kind!r}")
        return Target(self.resource, self.namespace, self.name)

    def complete(self) -> dict[str, Any]:
        """The object with its namespace filled in, as kubectl does, in the version of its resource."""
        body = self.body if self.resource is None else {**self.body, "apiVersion": self.resource.api_version}
        if not self.namespace:
            return body
        return {**body, "metadata": {**self.metadata, "namespace": self.namespace}}


def flatten(document: Document, path: YamlPath, value: Any) -> Iterator[Manifest]:
    """The objects in ``value``: itself, or the items of a ``kind: List``."""
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield from flatten(document, (*path, "items", index), item)
    else:
        yield Manifest(value if isinstance(value, dict) else {}, document, path)


def parse_reference(reference: str) -> Target | None:
    """``kind/name`` or ``kind/namespace/name``; None when the kind is unknown."""
    word, *names = reference.split("/")
    resource = BY_WORD.get(word.lower())
    if resource is None:
        return None
    if not resource.namespaced:
        return Target(resource, "", names[-1])
    return Target(resource, names[0] if len(names) > 1 else "default", names[-1])
