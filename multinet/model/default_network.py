"""Which network is behind interface 0 of a pod (P14, D7).

First hit wins: the pod's ``opencontrail.org/network``, the namespace's, the isolated namespace's own
network, the cluster's default network. Whichever it is, the interface is index 0 and eth0, and its status
entry has the default network's name (P15).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinet.model import naming
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.nad import ANNOTATION_NETWORK, read_reference
from multinet.model.naming import FqName
from multinet.model.objects import annotations_of, key_of, name_of

ANNOTATION_ISOLATION = "opencontrail.org/isolation"


@dataclass(frozen=True, slots=True)
class DefaultNetworkChoice:
    """``what`` names the network in messages; ``is_own``: the implementation itself makes it."""

    fq_name: FqName
    what: str
    is_own: bool


def is_isolated(namespace: Mapping[str, Any]) -> bool:
    """Whether the namespace's pods have a network of their own as interface 0 (D7)."""
    return str(annotations_of(namespace).get(ANNOTATION_ISOLATION, "")).strip().lower() == "true"


def choose(
    pod: Mapping[str, Any],
    namespace: Mapping[str, Any],
    *,
    cluster: str = naming.DEFAULT_CLUSTER,
    project: str = "",
    dialect: Dialect = DEFAULT,
) -> DefaultNetworkChoice:
    """The network of interface 0; raises ``NadError`` for an annotation that can't be read."""
    name = name_of(namespace)
    for source, whose in ((pod, f"Pod {key_of(pod)}"), (namespace, f"Namespace {name}")):
        text = annotations_of(source).get(ANNOTATION_NETWORK)
        if text:
            fq_name = read_reference(text, whose, json_too=dialect.grammar == "standard")
            return DefaultNetworkChoice(fq_name, f"the default network that {whose} names", False)
    if is_isolated(namespace):
        own = naming.namespace_network_fq_name(name, cluster, project=project)
        return DefaultNetworkChoice(own, f"the network of isolated {name}", True)
    default = naming.default_network_fq_name(cluster, project=project)
    return DefaultNetworkChoice(default, "the cluster's default network", True)
