"""A new cluster's state: the store with its verbs, and what is in every cluster before anyone asks.

No HTTP and no credentials: the server serves one of these, and whoever wants a cluster inside its own
process (the fuzzer's model engine) takes it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from multinet.apiserver.builtins import builtins
from multinet.apiserver.bundles import bundles
from multinet.apiserver.codec import copied
from multinet.apiserver.errors import StatusError
from multinet.apiserver.lifecycle import CRDS, Lifecycle
from multinet.apiserver.operations import Operations, Options, Target
from multinet.apiserver.resources import Types
from multinet.apiserver.store import HISTORY, Store
from multinet.errors import LabError
from multinet.model.crds import crd_manifests
from multinet.model.objects import Obj

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def assemble(
    *,
    ca_pem: str = "",
    crds: Iterable[Obj] | None = None,
    history: int = HISTORY,
    service_block6: str = "",
) -> tuple[Operations, Lifecycle]:
    """Make the state of a new cluster; needs a running event loop. ``crds``: those of this project.

    ``history`` is how many changes of each resource a watch may have missed. With ``service_block6`` services
    may have IPv6 addresses.
    """
    operations = Operations(Store(history), Types(builtins(service_block6)))
    operations.types.add(bundles(operations))
    lifecycle = Lifecycle(operations, lambda name: _furnish(operations, name, ca_pem))
    for name in NAMESPACES:
        create(operations, "", "namespaces", "", {"metadata": {"name": name}})
    for crd in crd_manifests() if crds is None else crds:
        create(operations, "apiextensions.k8s.io", CRDS.partition(".")[0], "", copied(crd))
    return operations, lifecycle


def create(operations: Operations, group: str, plural: str, namespace: str, obj: Obj) -> None:
    """Create an object of the cluster's own; ``LabError`` when its API refuses it."""
    resource_type = operations.types.find(group, plural)
    if resource_type is None:
        raise LabError(f"the API server doesn't serve {plural}")
    target = Target(resource_type, resource_type.versions[0], namespace)
    try:
        operations.create(target, obj, Options())
    except StatusError as error:
        raise LabError(
            f"the API server can't create its own {plural}", where=obj["metadata"]["name"], why=error.message
        ) from error


def _furnish(operations: Operations, namespace: str, ca_pem: str) -> None:
    """Give a new namespace what every namespace has."""
    create(operations, "", "serviceaccounts", namespace, {"metadata": {"name": "default"}})
    authority = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ca_pem}}
    create(operations, "", "configmaps", namespace, authority)
