"""Interfaces and addresses of running pods that somebody removed: made again as they were.

A deletion seen in a watch is the suspicion, and so is a pod that an earlier controller attached; the API
itself decides. What the interface was is known from the object that went, or else from planning the pod's
recorded selection once more, which finds the addresses it still owns.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from multinet.controller.addresses import Addresses, interface_of
from multinet.controller.announcer import Announcer, in_words
from multinet.controller.errors import Refusal
from multinet.controller.machines import Machines, all_of, pod_uid_of
from multinet.controller.plan import Planner
from multinet.controller.view import View
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import INSTANCE_IPS, VIRTUAL_MACHINE_INTERFACES
from multinet.model.attachments import InstanceIP, Interface, PodRef, VirtualMachine
from multinet.model.objects import ANNOTATION_ATTACHED_SELECTION, Obj, name_of

_log = logging.getLogger(__name__)


class Repairs:
    """Looks after what attached pods have; :meth:`lost` is told of deletions."""

    def __init__(
        self, view: View, *, planner: Planner, addresses: Addresses, machines: Machines, announcer: Announcer
    ) -> None:
        self._view = view
        self._planner = planner
        self._addresses = addresses
        self._machines = machines
        self._announcer = announcer
        self._whole: dict[str, str] = {}
        self._gone: dict[str, dict[str, Interface]] = {}
        self._damaged: set[str] = set()

    def begin(self, pod: PodRef) -> None:
        """A pass begins to write what the pod should have."""
        self._damaged.discard(pod.key)

    def is_whole(self, pod: PodRef) -> None:
        """All of it is written, and if nothing was removed since it began, all of it is there."""
        if pod.key not in self._damaged:
            self._whole[pod.key] = pod.uid

    def suspects(self, pod_key: str) -> bool:
        """Whether the pod may lack something."""
        return pod_key not in self._whole

    def forget(self, pod_key: str) -> None:
        """The pod is gone."""
        self._whole.pop(pod_key, None)
        self._gone.pop(pod_key, None)
        self._damaged.discard(pod_key)

    def lost(self, pod_key: str, removed: Obj) -> None:
        """An interface or address of the pod was removed (by us, with the pod, or by somebody else)."""
        self._whole.pop(pod_key, None)
        self._damaged.add(pod_key)
        if removed.get("kind") == VIRTUAL_MACHINE_INTERFACES.kind:
            self._gone.setdefault(pod_key, {})[name_of(removed)] = Interface.from_object(removed)

    async def see_to(self, pod: Obj, machine: VirtualMachine, annotations: Mapping[str, str]) -> None:
        """One look at an attached pod."""
        ref = machine.pod
        if self._whole.get(ref.key) == ref.uid or not machine.is_resolved:
            return
        # Noted before the first request, so that a loss in between is met by another look.
        self._whole[ref.key] = ref.uid
        try:
            await self._restore(pod, machine, annotations.get(ANNOTATION_ATTACHED_SELECTION, ""))
        except Refusal as refusal:
            self._announcer.say(pod, "Warning", "InterfaceLost", in_words(refusal))
        except BaseException:
            self._whole.pop(ref.key, None)
            raise
        self._gone.pop(ref.key, None)

    async def _restore(self, pod: Obj, machine: VirtualMachine, selection: str) -> None:
        objects = await self._machines.live_objects_of(machine.pod)
        have = {name_of(vmi): vmi for vmi in objects[VIRTUAL_MACHINE_INTERFACES]}
        interfaces = [Interface.from_object(have[name]) for name in machine.interfaces if name in have]
        missing = [name for name in machine.interfaces if name not in have]
        if missing:
            _log.warning("%s: interfaces were removed, making them again: %s", machine.pod.key, missing)
            made = await self._remake(pod, machine, missing, objects[INSTANCE_IPS], selection)
            await all_of(self._machines.write_interface(item) for item in made)
            interfaces += made
        owned = {InstanceIP.from_object(iip).name for iip in objects[INSTANCE_IPS]}
        for interface in interfaces:
            for name in [iip for iip in self._addresses_of(interface) if iip.name not in owned]:
                await self._own(pod, name)

    async def _remake(
        self, pod: Obj, machine: VirtualMachine, missing: Sequence[str], known: Sequence[Obj], selection: str
    ) -> list[Interface]:
        gone = self._gone.get(machine.pod.key, {})
        remembered = [gone[name] for name in missing if name in gone and gone[name].pod == machine.pod]
        if len(remembered) == len(missing):
            return remembered
        plan = self._planner.plan(pod, selection)
        claims = self._addresses.reserve(machine.pod, plan.interfaces, known)
        try:
            await all_of(self._addresses.create(machine.pod, claim) for claim in claims)
        finally:
            self._addresses.give_back(claim for claim in claims if not claim.exists)
        planned = [interface_of(machine.pod, machine.node, plan.of, item, claims) for item in plan.interfaces]
        return [item for item in planned if item.name in missing]

    def _addresses_of(self, interface: Interface) -> list[InstanceIP]:
        vn = self._view.networks.store.get(interface.network)
        network = self._view.read(vn) if vn is not None else None
        pool = network.pool if network is not None else ""
        return [
            InstanceIP(interface.network, item.address, interface.pod, interface.name, pool)
            for item in interface.addresses
        ]

    async def _own(self, pod: Obj, wanted: InstanceIP) -> None:
        try:
            await self._view.client.create(INSTANCE_IPS, wanted.to_object())
        except AlreadyExistsError:
            owner = await self._view.client.get(INSTANCE_IPS, wanted.name)
            if pod_uid_of(owner) != wanted.pod.uid:
                text = (
                    f"interface {wanted.interface} has the address {wanted.address}, but its InstanceIP was "
                    "removed and now belongs to somebody else: delete the pod and create it again"
                )
                self._announcer.say(pod, "Warning", "AddressLost", text)
