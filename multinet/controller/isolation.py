"""Whose a network is, and which pods may be in it (``--namespace-isolation``, NPWG 7.4).

A NAD of the pod's own namespace may map to any network, and a pod may name any as its default network: so it
is the network that counts, not the NAD alone. What an administrator publishes in a global namespace, or sets
on a namespace, is for those it was published to.
"""

from __future__ import annotations

from multinet.controller.errors import Refusal
from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.model import naming
from multinet.model.networks import VirtualNetwork

_WHY = "networks are isolated by namespace in this cluster (NPWG 7.4)"


def owner_of(network: VirtualNetwork, settings: Settings, view: View) -> str:
    """The namespace that a network belongs to; empty where it is the cluster's or nobody's."""
    if network.nad:
        return network.nad.partition("/")[0]
    domain, project, _ = network.fq_name
    if network.fq_name == settings.default_network or settings.cluster_project:
        return ""
    namespace = project.removeprefix(f"{settings.cluster}-")
    is_one = domain == naming.DEFAULT_DOMAIN and namespace != project
    return namespace if is_one and namespace in view.namespaces.store else ""


def forbidden(what: str, where: str, pod_namespace: str) -> Refusal:
    """The refusal of a network that pods of the namespace may not have."""
    return Refusal(
        "NetworkForbidden",
        f"{what} may not be selected from namespace {pod_namespace}",
        where=where,
        why=_WHY,
        next_step=f"use a network of namespace {pod_namespace}, or ask the administrator for a global one",
    )
