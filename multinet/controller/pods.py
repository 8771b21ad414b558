"""Pods: attach those that are bound to a node, release those that ended, tell why one can't be attached.

Level-triggered: a pass looks at the pod and at what exists for its name, and does what is missing.
Attaching happens once in a pod's life; what its selection says later changes nothing (and is told).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multinet.controller.addresses import Addresses, Claim, interface_of
from multinet.controller.announcer import Announcer, in_words
from multinet.controller.errors import Refusal
from multinet.controller.machines import (
    Machines,
    all_of,
    half_built,
    machine_of,
    not_of,
    object_of,
    refused,
    resolved,
    strays_of,
)
from multinet.controller.macs import Macs
from multinet.controller.plan import Plan, Planner
from multinet.controller.repairs import Repairs
from multinet.controller.statuses import Statuses
from multinet.controller.usage import Usage
from multinet.controller.view import View
from multinet.controller.waiting import Waiting
from multinet.kube.resources import INSTANCE_IPS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES, Resource
from multinet.model import conditions, naming
from multinet.model.attachments import Interface, PodRef, VirtualMachine
from multinet.model.dialect import Dialect
from multinet.model.objects import (
    ANNOTATION_ATTACHED_SELECTION,
    ANNOTATION_IGNORED_SELECTION,
    ANNOTATION_SELECTION,
    Obj,
    annotations_of,
    key_of,
    metadata_of,
    section,
    split_key,
)
from multinet.model.planted import planted

_log = logging.getLogger(__name__)

_Objects = dict[Resource, list[Obj]]


class Pods:
    """Reconciles one pod name at a time; a pod that is gone is a name with nothing behind it."""

    def __init__(
        self,
        view: View,
        *,
        planner: Planner,
        addresses: Addresses,
        machines: Machines,
        macs: Macs,
        waiting: Waiting,
        usage: Usage,
        announcer: Announcer,
        dialect: Dialect,
        statuses: Statuses,
        repairs: Repairs,
        later: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._view = view
        self._planner = planner
        self._addresses = addresses
        self._machines = machines
        self._macs = macs
        self._waiting = waiting
        self._usage = usage
        self._announcer = announcer
        self._dialect = dialect
        self._statuses = statuses
        self._repairs = repairs
        self._later = later
        self._clock = clock
        self._missing_since: dict[str, tuple[str, str, float]] = {}
        # Written, but perhaps not in the caches yet: such a pod must not be attached twice.
        self._committed: dict[str, str] = {}
        # Written by the pass that commits: seeing these in a watch is no reason for another pass.
        self._own: dict[str, frozenset[str]] = {}
        # A pass that broke off may have written what the caches don't show.
        self._unsure: set[str] = set()

    async def reconcile(self, key: str) -> None:
        """One pass over the pod ``namespace/name``."""
        pod = self._view.pods.store.get(key)
        objects = self._machines.objects_of(key)
        uid = PodRef.of(pod).uid if pod is not None else ""
        holds = pod is not None and not self._has_ended(pod)
        if planted("address-reused-early") and pod is not None and metadata_of(pod).get("deletionTimestamp"):
            holds = False
        stale = not_of(objects, uid if holds else "")
        if any(stale.values()):
            await self._release(stale)
        if pod is None or not holds or not _wants_network(pod):
            if pod is not None and holds:
                self._tell_of_host_network(pod)
            self._forget(key)
            return
        vm = machine_of(objects, uid)
        if vm is not None and self._is_wrongly_attached_again(pod, vm):
            await self._attach(pod, None)
        elif not self._is_done(vm) and self._committed.get(key) != uid:
            if not metadata_of(pod).get("deletionTimestamp"):
                await self._attach(pod, vm)
        elif vm is not None:
            await self._check_attached(pod, vm)

    def _is_wrongly_attached_again(self, pod: Obj, vm: Obj) -> bool:
        """Never, but for bugs that a test plants."""
        attached = annotations_of(vm).get(ANNOTATION_ATTACHED_SELECTION)
        edited = attached not in (None, annotations_of(pod).get(ANNOTATION_SELECTION, ""))
        return (planted("edit-attaches") and edited) or planted("duplicate-allocates")

    def _is_done(self, vm: Obj | None) -> bool:
        """Whether nothing is attached any more: all is, or the dialect completes no half-built pod."""
        if vm is None:
            return False
        if self._dialect.half_built_pods:
            return True
        resolved = conditions.find(vm, conditions.RESOLVED)
        return resolved is not None and resolved.is_true

    def wrote(self, pod_key: str, name: str) -> bool:
        """Whether the interface or address of that name was written by the pass that attaches the pod."""
        return name in self._own.get(pod_key, ())

    def forget_machine(self, key: str) -> None:
        """The VirtualMachine of a pod vanished: if the pod is still there, it is made again."""
        self._committed.pop(key, None)

    def _forget(self, key: str) -> None:
        self._waiting.drop(key)
        self._missing_since.pop(key, None)
        self._committed.pop(key, None)
        self._unsure.discard(key)
        self._own.pop(key, None)
        self._repairs.forget(key)
        self._macs.release(key)

    def _has_ended(self, pod: Obj) -> bool:
        ended = section(pod, "status").get("phase") in ("Succeeded", "Failed")
        return ended and not self._dialect.finished_pods_keep_addresses

    def _tell_of_host_network(self, pod: Obj) -> None:
        if (
            section(pod, "spec").get("hostNetwork")
            and annotations_of(pod).get(ANNOTATION_SELECTION, "").strip()
        ):
            text = (
                "the networks it selects are not attached, since the pod is in its node's network: "
                "remove hostNetwork, or the annotation"
            )
            self._announcer.say(pod, "Warning", "SelectionIgnored", text)

    async def _release(self, objects: _Objects) -> None:
        count = {resource.kind: len(listed) for resource, listed in objects.items() if listed}
        _log.info("removing the objects of a pod that ended: %s", count)
        await self._machines.remove(objects)

    async def _attach(self, pod: Obj, vm: Obj | None) -> None:
        ref = PodRef.of(pod)
        node = str(section(pod, "spec")["nodeName"])
        selection = annotations_of(pod).get(ANNOTATION_SELECTION, "")
        epoch = self._waiting.epoch
        # Before the first look at what is there: what is removed after it must not be taken for whole.
        self._repairs.begin(ref)
        known: list[Obj] = []
        if ref.key in self._unsure:
            objects = await self._machines.live_objects_of(ref)
            written = machine_of(objects, ref.uid)
            if self._is_done(written):
                self._commit(ref)
                return
            known = objects[INSTANCE_IPS]
        self._unsure.add(ref.key)
        try:
            plan = self._planner.plan(pod)
            self._macs.hold(ref, plan.interfaces)
            with self._usage.of(item.network.name for item in plan.interfaces):
                claims, broken = self._reserve(ref, plan, known)
                self._expect(ref, plan, claims)
                interfaces = []
                if vm is None and broken is None:
                    interfaces = await self._create_together(ref, node, plan, claims, selection)
                if not interfaces:
                    interfaces = await self._create(ref, node, plan, claims, broken, selection)
        except Refusal as refusal:
            self._macs.release(ref.key)
            self._unsure.discard(ref.key)
            # Whatever the refusal itself waits for: another NAD may lead to another network.
            topics = (*refusal.topics, *self._planner.topics(pod))
            if not self._is_patient(ref, refusal, topics, epoch):
                await self._refuse(pod, vm, refusal, topics, epoch)
            return
        self._commit(ref)
        self._repairs.is_whole(ref)
        _log.info("%s: %d interfaces", ref.key, len(interfaces))
        if self._dialect.controller_writes_status and broken is None:
            await self._statuses.publish(ref, interfaces)
        for unknown in plan.ignored_keys:
            text = f"the key {unknown!r} of the selection is not known and has no effect"
            self._announcer.say(pod, "Warning", "SelectionKeyIgnored", text)

    def _commit(self, ref: PodRef) -> None:
        self._committed[ref.key] = ref.uid
        self._waiting.drop(ref.key)
        self._unsure.discard(ref.key)
        self._missing_since.pop(ref.key, None)

    def _expect(self, ref: PodRef, plan: Plan, claims: Sequence[Claim]) -> None:
        """Note what this pass writes."""
        interfaces = [naming.interface_object_name(ref.name, ref.uid, item.index) for item in plan.interfaces]
        addresses = [claim.object_name for claim in claims if not claim.exists]
        self._own[ref.key] = frozenset(addresses + interfaces)

    async def _create_together(
        self, ref: PodRef, node: str, plan: Plan, claims: Sequence[Claim], selection: str
    ) -> list[Interface]:
        """Make all of a pod's objects by one request; no interface where it takes several."""
        if any(claim.exists for claim in claims):
            return []
        interfaces = [interface_of(ref, node, plan.of, item, claims) for item in plan.interfaces]
        machine = object_of(resolved(ref, node, interfaces), selection)
        owners = [claim.instance_ip(ref) for claim in claims]
        try:
            done = await self._machines.write_together(owners, interfaces, machine)
        except BaseException:
            self._addresses.give_back(claims)
            raise
        for claim in claims:
            claim.exists = done
        return interfaces if done else []

    async def _create(
        self,
        ref: PodRef,
        node: str,
        plan: Plan,
        claims: Sequence[Claim],
        broken: Refusal | None,
        selection: str,
    ) -> list[Interface]:
        """Make objects one by one: all, or in dialects that build by halves those that can be."""
        try:
            await all_of(self._addresses.create(ref, claim) for claim in claims)
        finally:
            # One that could not be created may belong to somebody else: its InstanceIP will say so.
            self._addresses.give_back(claim for claim in claims if not claim.exists)
        reserved = {claim.wanted.index for claim in claims}
        made = [item for item in plan.interfaces if item.index in reserved or broken is None]
        interfaces = [interface_of(ref, node, plan.of, item, claims) for item in made]
        await all_of(self._machines.write_interface(item) for item in interfaces)
        machine = resolved(ref, node, interfaces)
        if broken is not None:
            _log.error("%s stays half built: %s", ref.key, in_words(broken))
            machine = half_built(ref, node, interfaces, in_words(broken))
        await self._machines.write_machine(machine, selection)
        return interfaces

    def _reserve(self, ref: PodRef, plan: Plan, known: Sequence[Obj]) -> tuple[list[Claim], Refusal | None]:
        if not self._dialect.half_built_pods:
            return self._addresses.reserve(ref, plan.interfaces, known), plan.broken
        claims: list[Claim] = []
        for item in plan.interfaces:
            try:
                claims += self._addresses.reserve(ref, [item], known)
            except Refusal as refusal:
                return claims, refusal
        return claims, plan.broken

    def _is_patient(self, ref: PodRef, refusal: Refusal, topics: tuple[str, ...], epoch: int) -> bool:
        """Whether the cause may still pass by itself; then the pod waits and nothing is told."""
        if not self._dialect.waits_for_causes and not refusal.transient:
            return False
        moment = self._clock()
        # Each cause has its own grace: a NAD that came at last is about to get its network.
        uid, reason, since = self._missing_since.get(ref.key, ("", "", 0.0))
        if (uid, reason) != (ref.uid, refusal.reason):
            since = moment
            self._missing_since[ref.key] = (ref.uid, refusal.reason, since)
        remaining = since + refusal.grace_s - moment
        if remaining <= 0:
            return False
        self._waiting.put(ref.key, topics, epoch)
        self._later(ref.key, remaining)
        return True

    async def _refuse(
        self, pod: Obj, vm: Obj | None, refusal: Refusal, topics: tuple[str, ...], epoch: int
    ) -> None:
        ref = PodRef.of(pod)
        message = in_words(refusal)
        if self._dialect.waits_for_causes or refusal.transient:
            self._waiting.put(ref.key, topics, epoch)
        if not self._dialect.tells_users:
            _log.error("%s: the event is dropped: %s: %s", ref.key, refusal.reason, message)
            return
        said = refused(ref, str(section(pod, "spec")["nodeName"]), refusal.reason, message)
        known = VirtualMachine.from_object(vm).resolved if vm is not None else None
        held = self._machines.objects_of(ref.key)
        await self._machines.remove(
            {resource: held[resource] for resource in (VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS)}
        )
        if said.resolved is None or not said.resolved.says_the_same(known):
            _log.warning("%s can't be attached: %s: %s", ref.key, refusal.reason, message)
            selection = annotations_of(pod).get(ANNOTATION_SELECTION, "")
            made = object_of(said, selection)
            if vm is not None or not await self._machines.write_together((), (), made):
                await self._machines.write_machine(said, selection, vm)
            self._announcer.say(pod, "Warning", refusal.reason, message)

    async def _check_attached(self, pod: Obj, vm: Obj) -> None:
        await self._remove_strays(PodRef.from_spec(section(vm, "spec").get("pod") or {}))
        if self._dialect.repairs_damage and not metadata_of(pod).get("deletionTimestamp"):
            await self._repairs.see_to(pod, VirtualMachine.from_object(vm), annotations_of(vm))
        if not self._dialect.tells_users:
            return
        selection = annotations_of(pod).get(ANNOTATION_SELECTION, "")
        attached = annotations_of(vm).get(ANNOTATION_ATTACHED_SELECTION)
        told = annotations_of(vm).get(ANNOTATION_IGNORED_SELECTION)
        ignored = selection if attached is not None and selection != attached else None
        if ignored == told:
            return
        if ignored is not None:
            text = (
                f"the pod keeps the networks it was started with ({attached.strip() or 'none selected'!r}): "
                "networks are attached when a pod starts; to change them, delete it and create it again"
                if attached is not None
                else ""
            )
            self._announcer.say(pod, "Warning", "SelectionChangeIgnored", text)
        patch = {"metadata": {"annotations": {ANNOTATION_IGNORED_SELECTION: ignored}}}
        namespace, name = split_key(key_of(vm))
        await self._view.client.patch(VIRTUAL_MACHINES, name, patch, namespace)

    async def _remove_strays(self, ref: PodRef) -> None:
        """Remove what an interrupted pass claimed and the committed interfaces don't have.

        The caches of the kinds run apart, so they only raise the suspicion; the API decides.
        """
        if not any(strays_of(self._machines.objects_of(ref.key), ref.uid).values()):
            return
        await self._machines.remove(strays_of(await self._machines.live_objects_of(ref), ref.uid))


def _wants_network(pod: Mapping[str, Any]) -> bool:
    spec = section(pod, "spec")
    return bool(spec.get("nodeName")) and not spec.get("hostNetwork")
