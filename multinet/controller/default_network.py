"""Interface 0: the network behind eth0, which every pod has, and what may put another in its place (P14).

First hit wins: the pod's ``opencontrail.org/network``, the namespace's, the isolated namespace's own
network, the cluster's default network. Whichever it is, the interface is index 0 and eth0, and its status
entry has the default network's name (P15).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multinet.controller.errors import Refusal
from multinet.controller.lookup import ARRIVAL_S, MAKING_S, ready_network
from multinet.controller.requests import Wanted
from multinet.controller.settings import Settings
from multinet.controller.view import View, is_isolated
from multinet.controller.waiting import namespace_topic
from multinet.model import naming
from multinet.model.nad import ANNOTATION_NETWORK, NadError, read_reference
from multinet.model.naming import FqName
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import Obj, annotations_of, key_of, metadata_of, namespace_of


class DefaultNetwork:
    """Finds the network of interface 0."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view = view
        self._settings = settings

    def wanted(self, pod: Obj, *, rerouted: bool) -> Wanted:
        """Interface 0 of ``pod``; ``rerouted``: another interface carries the default route."""
        network = self._network(pod)
        return Wanted(
            index=0,
            network=network,
            nad="",
            interface="eth0",
            mac=naming.mac_of(str(metadata_of(pod).get("uid", "")), 0),
            requested_mac=False,
            subnets=network.subnets,
            default_route=() if rerouted else None,
        )

    def _network(self, pod: Obj) -> VirtualNetwork:
        name = namespace_of(pod)
        topics = (namespace_topic(name),)
        namespace = self._view.namespaces.store.get(name)
        if namespace is None:
            raise Refusal(
                "NamespaceNotFound",
                f"there is no namespace {name}",
                topics=topics,
                grace_s=MAKING_S,
                transient=True,
            )
        for source, what in ((pod, f"Pod {key_of(pod)}"), (namespace, f"Namespace {name}")):
            fq_name = self._override(source, what, topics if source is namespace else ())
            if fq_name is not None:
                return ready_network(
                    self._view, fq_name, f"the default network that {what} names", topics, ARRIVAL_S
                )
        if is_isolated(namespace):
            fq_name, words = self._settings.network_of_namespace(name), f"the network of isolated {name}"
        else:
            fq_name, words = self._settings.default_network, "the cluster's default network"
        return ready_network(self._view, fq_name, words, topics, MAKING_S, is_coming=True)

    def _override(self, source: Mapping[str, Any], what: str, topics: tuple[str, ...]) -> FqName | None:
        text = annotations_of(source).get(ANNOTATION_NETWORK)
        if not text:
            return None
        try:
            return read_reference(text, what, json_too=self._settings.dialect.grammar == "standard")
        except NadError as error:
            raise Refusal(
                "DefaultNetworkInvalid",
                error.what,
                where=error.where,
                why=error.why,
                next_step=error.next_step,
                topics=topics,
            ) from error
