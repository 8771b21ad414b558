"""Interface 0: the network behind eth0, which every pod has, found in the view."""

from __future__ import annotations

from multinet.controller.errors import Refusal
from multinet.controller.isolation import forbidden, owner_of
from multinet.controller.lookup import ARRIVAL_S, MAKING_S, ready_network
from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.controller.waiting import namespace_topic, network_topic
from multinet.model import default_network, naming, requests
from multinet.model.nad import ANNOTATION_NETWORK, NadError
from multinet.model.networks import ORIGIN_NAD, VirtualNetwork
from multinet.model.objects import Obj, annotations_of, namespace_of, uid_of
from multinet.model.requests import RequestError, Wanted


class DefaultNetwork:
    """Finds the network of interface 0."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view = view
        self._settings = settings

    def wanted(self, pod: Obj, *, rerouted: bool) -> Wanted:
        """Interface 0 of ``pod``; ``rerouted``: another interface carries the default route."""
        network = self._network(pod)
        try:
            return requests.default_wanted(network, uid_of(pod), rerouted=rerouted)
        except RequestError as error:
            topics = (namespace_topic(namespace_of(pod)),)
            raise Refusal.of(error, error.reason, topics=topics) from error

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
        settings = self._settings
        try:
            choice = default_network.choose(
                pod,
                namespace,
                cluster=settings.cluster,
                project=settings.cluster_project,
                dialect=settings.dialect,
            )
        except NadError as error:
            raise Refusal.of(error, "DefaultNetworkInvalid", topics=topics) from error
        patience = MAKING_S if choice.is_own else ARRIVAL_S
        network = ready_network(
            self._view, choice.fq_name, choice.what, topics, patience, is_coming=choice.is_own
        )
        if choice.is_own and network.origin == ORIGIN_NAD and not settings.dialect.nads_share_networks:
            raise _taken(network, choice.what, topics)
        if annotations_of(pod).get(ANNOTATION_NETWORK):
            owner = owner_of(network, settings, self._view)
            if owner and not settings.may_select(name, owner):
                what = f"the network {naming.fq_text(network.fq_name)}"
                raise forbidden(what, ANNOTATION_NETWORK, name)
        return network


def _taken(network: VirtualNetwork, what: str, topics: tuple[str, ...]) -> Refusal:
    return Refusal(
        "NetworkTaken",
        f"{what} can't be made",
        why=f"{naming.fq_text(network.fq_name)} is the network of the NAD {network.nad}",
        next_step="give that NAD another name, and delete the pods that use its network",
        topics=(*topics, network_topic(network.fq_name)),
    )
