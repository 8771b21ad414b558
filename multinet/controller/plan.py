"""From a pod to the attachments it asks for: pure look-ups, no request and no address yet.

Everything a selection can ask for is either met exactly or refused with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from multinet.controller.default_network import DefaultNetwork
from multinet.controller.definitions import Definitions
from multinet.controller.errors import Refusal
from multinet.controller.lookup import ARRIVAL_S, MAKING_S, ready_network
from multinet.controller.requests import Wanted, interface_names, wanted
from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.controller.waiting import nad_topic, namespace_topic, network_topic
from multinet.model import nad as nads
from multinet.model import naming, selection, selection_contrail
from multinet.model.nad import NadIntent
from multinet.model.networks import ORIGIN_NAD, VirtualNetwork
from multinet.model.objects import (
    ANNOTATION_SELECTION,
    Obj,
    annotations_of,
    metadata_of,
    namespace_of,
)
from multinet.model.selected import NetworkSelection, SelectionError

__all__ = ["Plan", "Planner", "Wanted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A pod's interfaces in order, and the keys of its selection that nobody knows.

    ``of`` is how many there should be. ``broken`` is why there are fewer, in a dialect that makes pods by
    halves.
    """

    interfaces: tuple[Wanted, ...]
    of: int
    ignored_keys: tuple[str, ...] = ()
    broken: Refusal | None = None


class Planner:
    """Makes plans from the view."""

    def __init__(self, view: View, *, settings: Settings, definitions: Definitions) -> None:
        self._view = view
        self._settings = settings
        self._dialect = settings.dialect
        self._definitions = definitions
        self._defaults = DefaultNetwork(view, settings)

    def plan(self, pod: Obj, text: str | None = None) -> Plan:
        """The interfaces of ``pod`` (with the selection ``text``, if given); raises ``Refusal``."""
        if text is None:
            text = annotations_of(pod).get(ANNOTATION_SELECTION, "")
        selected = self._selected(text, namespace_of(pod))
        uid = str(metadata_of(pod).get("uid", ""))
        names = interface_names(selected, self._dialect)
        rerouted = any(item.default_route is not None for item in selected)
        interfaces = [self._defaults.wanted(pod, rerouted=rerouted)]
        broken: Refusal | None = None
        for number, item in enumerate(selected, start=1):
            try:
                network = self._network_of(item, namespace_of(pod))
                interfaces.append(wanted(number, item, network, names[number - 1], uid))
            except Refusal as refusal:
                if refusal.transient or not self._dialect.half_built_pods:
                    raise
                broken = refusal
                break
        ignored = tuple(dict.fromkeys(key for item in selected for key in item.ignored))
        return Plan(tuple(interfaces), 1 + len(selected), ignored, broken)

    def _selected(self, text: str, namespace: str) -> list[NetworkSelection]:
        knows = self._definitions.knows
        try:
            if self._dialect.grammar == "first-character":
                return list(selection_contrail.parse(text, pod_namespace=namespace, knows=knows))
            found = selection.parse(text, pod_namespace=namespace, extensions=self._settings.extensions)
        except SelectionError as error:
            raise Refusal(
                "SelectionInvalid", error.what, where=error.where, why=error.why, next_step=error.next_step
            ) from error
        if self._dialect.skip_unknown_networks:
            return [item for item in found if knows(item.nad)]
        return list(found)

    def _network_of(self, item: NetworkSelection, pod_namespace: str) -> VirtualNetwork:
        if not self._settings.may_select(pod_namespace, item.namespace):
            raise _forbidden(item, pod_namespace)
        if not self._definitions.knows(item.nad):
            raise self._no_such_nad(item)
        topics = (nad_topic(item.nad),)
        try:
            intent = self._definitions.intent_of(item.nad)
        except nads.NadError as error:
            raise Refusal(
                "NADInvalid",
                error.what,
                where=error.where,
                why=error.why,
                next_step=error.next_step,
                topics=topics,
            ) from error
        if intent.target is None:
            raise Refusal(
                "NADForeign",
                f"the network {item.nad} is of CNI type {intent.plugin_type!r}",
                why="this implementation attaches its own networks only and delegates to no other plugin",
                next_step="remove it from the pod's selection, or give the NAD the type contrail-k8s-cni",
                topics=topics,
            )
        network = ready_network(
            self._view,
            intent.target,
            f"the network of {item.nad}",
            topics,
            MAKING_S if intent.kind == "create" else ARRIVAL_S,
            is_coming=self._definitions.is_coming(item.nad, intent.target),
        )
        if intent.kind == "create":
            self._refuse_other_networks(item, intent, network)
        return network

    def _refuse_other_networks(
        self, item: NetworkSelection, intent: NadIntent, network: VirtualNetwork
    ) -> None:
        """The network has the right name: it must be this NAD's, and as the NAD says."""
        topics = (nad_topic(item.nad), network_topic(network.fq_name))
        is_own = network.origin == ORIGIN_NAD and network.nad == item.nad
        if not is_own and not self._dialect.nads_share_networks:
            raise Refusal(
                "NetworkTaken",
                f"the network {naming.fq_text(network.fq_name)} exists and was not made of {item.nad}",
                next_step=f"map to it with {nads.ANNOTATION_NETWORK}, or give the NAD another name",
                topics=topics,
            )
        blocks = tuple(str(subnet.cidr) for subnet in network.subnets)
        if blocks != intent.cidrs and not self._dialect.networks_keep_first_definition:
            raise Refusal(
                "NetworkUnchanged",
                f"the network of {item.nad} is not what the NAD says",
                why=f"the NAD says {', '.join(intent.cidrs)}, the network still has {', '.join(blocks)}: "
                "pods are attached to it, and a network in use is not changed",
                next_step="delete the pods that use it, or take a NAD with another name",
                topics=topics,
                grace_s=MAKING_S,
            )

    def _no_such_nad(self, item: NetworkSelection) -> Refusal:
        is_there = item.nad in self._view.nads.store
        why = "it is being deleted" if is_there else "there is no NetworkAttachmentDefinition of that name"
        if item.namespace not in self._view.namespaces.store:
            why = f"there is no namespace {item.namespace}"
        return Refusal(
            "NADNotFound",
            f"the network {item.nad} is not known",
            where=f"{ANNOTATION_SELECTION}, character {item.position + 1}",
            why=why,
            next_step=f"create it: kubectl get net-attach-def -n {item.namespace}",
            topics=(nad_topic(item.nad), namespace_topic(item.namespace)),
            grace_s=ARRIVAL_S,
        )


def _forbidden(item: NetworkSelection, pod_namespace: str) -> Refusal:
    return Refusal(
        "NetworkForbidden",
        f"the network {item.nad} may not be selected from namespace {pod_namespace}",
        where=f"{ANNOTATION_SELECTION}, character {item.position + 1}",
        why="networks are isolated by namespace in this cluster (NPWG 7.4)",
        next_step=f"use a network of namespace {pod_namespace}, or ask the administrator for a global one",
    )
