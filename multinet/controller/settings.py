"""What an administrator decides about one controller; everything else it finds in the API."""

from __future__ import annotations

from dataclasses import dataclass

from multinet.model import naming
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.naming import FqName


@dataclass(frozen=True, slots=True)
class Settings:
    """``cluster_project`` is one project for all namespaces, empty for one each (N14).

    With ``namespace_isolation`` a pod selects NADs of its own namespace and of ``global_namespaces`` only
    (NPWG 7.4). With ``protect_networks`` a NAD in use is held by a finalizer. ``pod_cidr6`` is the default
    network's IPv6 block beside its IPv4 one; isolated namespaces have it too.
    """

    cluster: str = naming.DEFAULT_CLUSTER
    cluster_project: str = ""
    dialect: Dialect = DEFAULT
    extensions: frozenset[str] = frozenset()
    namespace_isolation: bool = False
    global_namespaces: frozenset[str] = frozenset({"default"})
    protect_networks: bool = False
    pod_cidr6: str = ""

    @property
    def default_network(self) -> FqName:
        """The cluster-wide default pod network."""
        return naming.default_network_fq_name(self.cluster, project=self.cluster_project)

    def network_of_namespace(self, namespace: str) -> FqName:
        """The pod network of an isolated namespace."""
        return naming.namespace_network_fq_name(namespace, self.cluster, project=self.cluster_project)

    def network_of_nad(self, namespace: str, name: str) -> FqName:
        """The network that a NAD makes."""
        return naming.nad_network_fq_name(namespace, name, self.cluster, project=self.cluster_project)

    def may_select(self, pod_namespace: str, namespace: str) -> bool:
        """Whether pods of ``pod_namespace`` may select NADs of ``namespace``."""
        if not self.namespace_isolation:
            return True
        return namespace == pod_namespace or namespace in self.global_namespaces
