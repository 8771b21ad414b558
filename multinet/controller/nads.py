"""NADs: make the network each asks for, or say on the NAD why there is none.

The standard's CRD has no status, so the condition is an annotation (``multinet.opencontrail.org/condition``,
a JSON map with the usual keys), written when something is wrong and mended when it is not any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from multinet.controller.announcer import Announcer, in_words
from multinet.controller.definitions import Definitions
from multinet.controller.protection import Protection, write_condition
from multinet.controller.settings import Settings
from multinet.controller.usage import Usage
from multinet.controller.view import BY_NAD, View
from multinet.controller.vnis import Vnis
from multinet.controller.waiting import Waiting, nad_topic
from multinet.kube.errors import AlreadyExistsError, NotFoundError
from multinet.kube.resources import VIRTUAL_NETWORKS
from multinet.model import nad as nads
from multinet.model import naming
from multinet.model.nad import NadError, NadIntent, Note
from multinet.model.networks import L2_L3, ORIGIN_NAD, VirtualNetwork
from multinet.model.objects import (
    ANNOTATION_NAD,
    Obj,
    annotations_of,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
    split_key,
    uid_of,
)

_log = logging.getLogger(__name__)


class Nads:
    """Reconciles one NetworkAttachmentDefinition at a time.

    ``recheck`` is called with the name of each network object that may have lost its maker.
    """

    def __init__(
        self,
        view: View,
        *,
        settings: Settings,
        definitions: Definitions,
        vnis: Vnis,
        usage: Usage,
        waiting: Waiting,
        announcer: Announcer,
        recheck: Callable[[str], None],
    ) -> None:
        self._view = view
        self._settings = settings
        self._dialect = settings.dialect
        self._definitions = definitions
        self._vnis = vnis
        self._usage = usage
        self._waiting = waiting
        self._announcer = announcer
        self._recheck = recheck
        self._protection = Protection(view, settings, usage, announcer)

    async def reconcile(self, key: str) -> None:
        """One pass over the NAD ``namespace/name``."""
        if self._definitions.read(key) and self._dialect.networks_found_by_last_name:
            await self._remove_by_last_name(key)
        nad = self._view.nads.store.get(key)
        for vn in self._view.networks.by_index(BY_NAD, key):
            self._recheck(name_of(vn))
        if nad is not None:
            await self._protection.see_to(nad)
        if nad is not None and not metadata_of(nad).get("deletionTimestamp"):
            await self._define(nad)
        self._definitions.done(key)
        self._waiting.wake(nad_topic(key))

    async def _define(self, nad: Obj) -> None:
        problem: NadError | None = None
        notes: tuple[Note, ...] = ()
        try:
            intent = self._definitions.judge(nad)
            notes = intent.notes
            for note in notes:
                self._announcer.say(nad, "Warning", note.reason, note.message)
            if intent.kind == "create":
                await self._create(nad, intent)
            elif intent.kind == "map":
                self._map(nad, intent)
            self._announcer.recovered(nad)
        except NadError as error:
            self._announcer.warn(nad, error.reason, in_words(error))
            problem = error
        if self._dialect.tells_users:
            await write_condition(self._view.client, nad, problem, notes)

    async def _remove_by_last_name(self, key: str) -> None:
        namespace, name = split_key(key)
        found = self._view.network_with_last_name(self._settings.network_of_nad(namespace, name)[2])
        if found is None:
            return
        if await self._usage.is_used(name_of(found)):
            _log.error("Cannot delete Network %s: it is in use", name_of(found))
            return
        with suppress(NotFoundError):
            await self._view.client.delete(VIRTUAL_NETWORKS, name_of(found), uid=uid_of(found) or None)

    async def _create(self, nad: Obj, intent: NadIntent) -> None:
        assert intent.target is not None
        namespace = namespace_of(nad)
        if self._dialect.needs_namespace_first and namespace not in self._view.namespaces.store:
            _log.error("%s: there is no project for namespace %s", intent.nad, namespace)
            return
        found = self._view.network_named(intent.target)
        if found is not None:
            await self._adopt(nad, intent, found)
            return
        fq_name = intent.target
        network = VirtualNetwork(
            fq_name=fq_name,
            subnets=intent.subnets,
            vni=self._vnis.reserve(naming.object_name(fq_name), fq_name),
            forwarding_mode=L2_L3,
            fabric_snat=intent.fabric_snat,
            ip_fabric_forwarding=intent.ip_fabric_forwarding,
            origin=ORIGIN_NAD,
            nad=intent.nad,
            device=intent.device,
        )
        self._definitions.made(fq_name)
        try:
            await self._view.client.create(VIRTUAL_NETWORKS, network.to_object())
        except AlreadyExistsError:
            # Ours, and the cache is behind; or another network took the object's name: look again then.
            current = await self._view.client.get(VIRTUAL_NETWORKS, network.name)
            await self._adopt(nad, intent, current)
            return
        _log.info("%s: network %s, VNI %d", intent.nad, naming.fq_text(fq_name), network.vni)
        text = f"network {naming.fq_text(fq_name)} with {intent.shown}"
        self._announcer.say(nad, "Normal", "NetworkCreated", text)

    async def _adopt(self, nad: Obj, intent: NadIntent, found: Obj) -> None:
        network = self._view.read(found)
        if network is None or network.fq_name != intent.target:
            raise _taken(intent, found)
        is_own = network.origin == ORIGIN_NAD and network.nad == intent.nad
        if not is_own and not self._dialect.nads_share_networks:
            raise _taken(intent, found)
        if self._dialect.networks_keep_first_definition:
            return
        wanted_flags = (intent.fabric_snat, intent.ip_fabric_forwarding)
        same_flags = (network.fabric_snat, network.ip_fabric_forwarding) == wanted_flags
        same_blocks = tuple(str(subnet.cidr) for subnet in network.subnets) == intent.cidrs
        if same_flags and same_blocks and network.device == intent.device:
            return
        if await self._usage.is_used(network.name):
            raise _unchanged(intent, network)
        changed = {
            "subnets": [subnet.to_spec() for subnet in intent.subnets],
            "fabricSnat": intent.fabric_snat,
            "ipFabricForwarding": intent.ip_fabric_forwarding,
            "device": intent.device,
        }
        # The version makes the API refuse the change if somebody else was faster.
        patch = {"metadata": {"resourceVersion": metadata_of(found).get("resourceVersion")}, "spec": changed}
        await self._view.client.patch(VIRTUAL_NETWORKS, network.name, patch)
        self._announcer.say(nad, "Normal", "NetworkChanged", intent.shown)

    def _map(self, nad: Obj, intent: NadIntent) -> None:
        assert intent.target is not None
        name = naming.fq_text(intent.target)
        if self._view.network_named(intent.target) is None:
            raise NadError(
                "NetworkNotFound",
                f"the network {name} does not exist",
                where=f"NetworkAttachmentDefinition {key_of(nad)}, {nads.ANNOTATION_NETWORK}",
                why="pods that select this NAD can't start until it does",
                next_step="create the VirtualNetwork, or correct domain, project and name",
            )
        self._announcer.say(nad, "Normal", "NetworkMapped", f"mapped to network {name}")


def _taken(intent: NadIntent, found: Obj) -> NadError:
    maker = annotations_of(found).get(ANNOTATION_NAD)
    return NadError(
        "NetworkTaken",
        f"the network {naming.fq_text(intent.target or ())} can't be made",
        where=f"NetworkAttachmentDefinition {intent.nad}",
        why=f"VirtualNetwork {name_of(found)} is there and was made by {maker or 'somebody else'}",
        next_step=f"map to it with {nads.ANNOTATION_NETWORK}, or give the NAD another name",
    )


def _unchanged(intent: NadIntent, network: VirtualNetwork) -> NadError:
    now = nads.shown([str(subnet.cidr) for subnet in network.subnets], network.device)
    return NadError(
        "NetworkUnchanged",
        f"the network keeps its {now} and flags",
        where=f"NetworkAttachmentDefinition {intent.nad}",
        why="pods are attached to it; a network in use is not changed",
        next_step="delete its pods first, or make a NAD with another name",
    )
