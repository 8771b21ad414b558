"""What each NAD is taken for, as the dialect has it: what it says now, or what it first asked for.

Contrail kept a cache of NADs whose members were judged once, on their first usable event, and which only a
DELETED event of an accepted NAD empties. Some of what its users observe is that cache (N5, N25-N28), so it
is here too, for the dialect that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multinet.model import nad as nads
from multinet.model import nad_contrail, naming, selection, selection_contrail
from multinet.model.dialect import Dialect
from multinet.model.nad import NadError, NadIntent, shown
from multinet.model.naming import FqName
from multinet.model.networks import ORIGIN_NAD, VirtualNetwork
from multinet.model.objects import Obj, key_of, metadata_of
from multinet.model.requests import RequestError
from multinet.model.selected import NetworkSelection


class NadReader:
    """Judges NADs. Tell :meth:`changed` of every change before asking; objects are known by identity."""

    def __init__(self, dialect: Dialect, *, cluster: str, project: str = "") -> None:
        self._dialect = dialect
        self._cluster = cluster
        self._project = project
        self._remembered: dict[str, FqName | None] = {}
        # Reading a NAD anew for each pod would cost more than all else in planning it.
        self._judged: dict[str, tuple[Obj, NadIntent]] = {}

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """Remember what the dialect remembers."""
        seen = new or old or {}
        key = key_of(seen)
        if new is None:
            self._judged.pop(key, None)
        if not self.accepts(seen):
            return
        if new is None:
            self._remembered.pop(key, None)
        elif self._remembered.get(key) is None:
            self._remembered[key] = self._contrail_target(new)

    def knows(self, key: str, nad: Obj | None) -> bool:
        """Whether ``nad``, what the API has under ``key``, is there and one of ours, usable or not (P4)."""
        if self._dialect.nads_are_remembered:
            return key in self._remembered
        return nad is not None and not metadata_of(nad).get("deletionTimestamp") and self.accepts(nad)

    def intent_of(self, key: str, nad: Obj | None) -> NadIntent:
        """What a pod that names a known NAD gets; raises ``NadError``."""
        if self._dialect.nads_are_remembered:
            target = self._remembered.get(key)
            if target is None:
                raise _unusable(key)
            return NadIntent("map", key, target)
        if nad is None:
            raise _unusable(key)
        return self.judge(nad)

    def judge(self, nad: Obj) -> NadIntent:
        """What a NAD asks for now; raises ``NadError``."""
        key = key_of(nad)
        known = self._judged.get(key)
        if known is None or known[0] is not nad:
            known = self._judged[key] = (nad, self._intent(nad))
        return known[1]

    def _intent(self, nad: Obj) -> NadIntent:
        if not self.accepts(nad):
            return NadIntent("foreign", key_of(nad))
        if self._dialect.cidr_grammar == "netaddr":
            made = nad_contrail.intent(nad, cluster=self._cluster, project=self._project)
            if made is not None:
                return made
            target = self._contrail_target(nad)
            if target is None or nads.ANNOTATION_CIDR in metadata_of(nad).get("annotations", {}):
                raise _unusable(key_of(nad))
            return NadIntent("map", key_of(nad), target)
        return nads.parse(nad, cluster=self._cluster, project=self._project)

    def accepts(self, nad: Mapping[str, Any]) -> bool:
        """Whether the dialect looks at such a NAD at all."""
        return not self._dialect.accepts_only_contrail_type or nad_contrail.is_accepted(nad)

    def _contrail_target(self, nad: Obj) -> FqName | None:
        return nad_contrail.target(nad, cluster=self._cluster, project=self._project)


def selected_by(
    text: str,
    *,
    pod_namespace: str,
    dialect: Dialect,
    knows: Callable[[str], bool],
    extensions: frozenset[str] = frozenset(),
) -> tuple[NetworkSelection, ...]:
    """What a pod's annotation selects; raises ``SelectionError``. ``knows`` says which NADs there are."""
    if dialect.grammar == "first-character":
        return selection_contrail.parse(text, pod_namespace=pod_namespace, knows=knows)
    found = selection.parse(text, pod_namespace=pod_namespace, extensions=extensions)
    if dialect.skip_unknown_networks:
        return tuple(item for item in found if knows(item.nad))
    return found


def check_target(intent: NadIntent) -> FqName:
    """The network a NAD stands for; ``RequestError`` for a NAD of another plugin."""
    if intent.target is None:
        raise RequestError(
            "NADForeign",
            f"the network {intent.nad} is of CNI type {intent.plugin_type!r}",
            why="this implementation attaches its own networks only and delegates to no other plugin",
            next_step="remove it from the pod's selection, or give the NAD the type contrail-k8s-cni",
        )
    return intent.target


def check_made_network(intent: NadIntent, network: VirtualNetwork, dialect: Dialect) -> None:
    """The network has the right name: it must be this NAD's, and as the NAD says; or ``RequestError``."""
    if intent.kind != "create":
        return
    is_own = network.origin == ORIGIN_NAD and network.nad == intent.nad
    if not is_own and not dialect.nads_share_networks:
        raise RequestError(
            "NetworkTaken",
            f"the network {naming.fq_text(network.fq_name)} exists and was not made of {intent.nad}",
            next_step=f"map to it with {nads.ANNOTATION_NETWORK}, or give the NAD another name",
        )
    blocks = tuple(str(subnet.cidr) for subnet in network.subnets)
    same = (blocks, network.device) == (intent.cidrs, intent.device)
    if not same and not dialect.networks_keep_first_definition:
        raise RequestError(
            "NetworkUnchanged",
            f"the network of {intent.nad} is not what the NAD says",
            why=f"the NAD says {intent.shown}, the network still has {shown(blocks, network.device)}: "
            "pods are attached to it, and a network in use is not changed",
            next_step="delete the pods that use it, or take a NAD with another name",
        )


def _unusable(key: str) -> NadError:
    return NadError("NADUnusable", f"the NAD {key} names no network that can be read")
