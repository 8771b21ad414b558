"""From a pod to the attachments it asks for: pure look-ups, no request and no address yet.

Everything a selection can ask for is either met exactly or refused with a reason.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from multinet.controller.default_network import DefaultNetwork
from multinet.controller.definitions import Definitions
from multinet.controller.errors import Refusal
from multinet.controller.isolation import forbidden, owner_of
from multinet.controller.lookup import ARRIVAL_S, MAKING_S, ready_network
from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.controller.waiting import nad_topic, namespace_topic, network_topic
from multinet.model import naming
from multinet.model.definitions import check_made_network, check_target, selected_by
from multinet.model.nad import NadError
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import (
    ANNOTATION_SELECTION,
    Obj,
    annotations_of,
    metadata_of,
    namespace_of,
)
from multinet.model.planted import planted
from multinet.model.requests import (
    RequestError,
    Wanted,
    check_devices,
    interface_names,
    port_security,
    wanted,
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
        if planted("order-by-hash"):
            selected = tuple(sorted(selected, key=lambda item: zlib.crc32(item.nad.encode())))
        uid = str(metadata_of(pod).get("uid", ""))
        try:
            names = interface_names(selected, self._dialect)
            secured = port_security(annotations_of(pod))
        except RequestError as error:
            raise Refusal.of(error, error.reason) from error
        rerouted = any(item.default_route is not None for item in selected)
        interfaces = [self._defaults.wanted(pod, rerouted=rerouted)]
        broken: Refusal | None = None
        for number, item in enumerate(selected, start=1):
            try:
                network = self._network_of(item, namespace_of(pod))
                made = _wanted(number, item, network, names[number - 1], uid)
                interfaces.append(replace(made, port_security=secured))
            except Refusal as refusal:
                if refusal.transient or not self._dialect.half_built_pods:
                    raise
                broken = refusal
                break
        try:
            check_devices(interfaces)
        except RequestError as error:
            raise Refusal.of(error, error.reason) from error
        ignored = tuple(dict.fromkeys(key for item in selected for key in item.ignored))
        return Plan(tuple(interfaces), 1 + len(selected), ignored, broken)

    def topics(self, pod: Obj) -> tuple[str, ...]:
        """The topics of all NADs that a pod selects; none where its selection can't be read."""
        text = annotations_of(pod).get(ANNOTATION_SELECTION, "")
        try:
            selected = self._selected(text, namespace_of(pod))
        except Refusal:
            return ()
        return tuple(dict.fromkeys(nad_topic(item.nad) for item in selected))

    def _selected(self, text: str, namespace: str) -> tuple[NetworkSelection, ...]:
        try:
            return selected_by(
                text,
                pod_namespace=namespace,
                dialect=self._dialect,
                knows=self._definitions.knows,
                extensions=self._settings.extensions,
            )
        except SelectionError as error:
            raise Refusal.of(error, "SelectionInvalid") from error

    def _network_of(self, item: NetworkSelection, pod_namespace: str) -> VirtualNetwork:
        place = f"{ANNOTATION_SELECTION}, character {item.position + 1}"
        if not self._settings.may_select(pod_namespace, item.namespace):
            raise forbidden(f"the network {item.nad}", place, pod_namespace)
        if not self._definitions.knows(item.nad):
            raise self._no_such_nad(item)
        topics = (nad_topic(item.nad),)
        try:
            intent = self._definitions.intent_of(item.nad)
            target = check_target(intent)
        except NadError as error:
            raise Refusal.of(error, "NADInvalid", topics=topics) from error
        except RequestError as error:
            raise Refusal.of(error, error.reason, topics=topics) from error
        network = ready_network(
            self._view,
            target,
            f"the network of {item.nad}",
            topics,
            MAKING_S if intent.kind == "create" else ARRIVAL_S,
            is_coming=self._definitions.is_coming(item.nad, target),
        )
        try:
            check_made_network(intent, network, self._dialect)
        except RequestError as error:
            grace_s = MAKING_S if error.reason == "NetworkUnchanged" else 0.0
            both = (*topics, network_topic(network.fq_name))
            raise Refusal.of(error, error.reason, topics=both, grace_s=grace_s) from error
        if intent.kind == "map" and not self._may_map(item.namespace, network):
            what = f"the network {naming.fq_text(target)}, to which {item.nad} maps,"
            raise forbidden(what, place, pod_namespace)
        return network

    def _may_map(self, namespace: str, network: VirtualNetwork) -> bool:
        """Whether NADs of ``namespace`` may hand out the network; global ones are the administrator's."""
        owner = owner_of(network, self._settings, self._view)
        is_global = namespace in self._settings.global_namespaces
        return not owner or is_global or self._settings.may_select(namespace, owner)

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
            next_step=f"create it, or name one that kubectl get net-attach-def -n {item.namespace} shows",
            topics=(nad_topic(item.nad), namespace_topic(item.namespace)),
            grace_s=ARRIVAL_S,
        )


def _wanted(index: int, item: NetworkSelection, network: VirtualNetwork, name: str, uid: str) -> Wanted:
    try:
        return wanted(index, item, network, name, uid)
    except RequestError as error:
        raise Refusal.of(error, error.reason, topics=(network_topic(network.fq_name),)) from error
