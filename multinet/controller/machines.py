"""The objects of one pod in the API: written in the order that makes the VirtualMachine the commit mark.

Writing: InstanceIPs, then VirtualMachineInterfaces, then the VirtualMachine. Removing goes the other way
round, addresses last, so that no address is given to somebody else while an interface still has it. Names
are derived, so a run that was interrupted is simply done again and finds what it made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence

from multinet.controller.view import BY_POD, View, now
from multinet.errors import MultinetError
from multinet.kube.errors import AlreadyExistsError, KubeError, NotFoundError, UnreachableError
from multinet.kube.resources import (
    INSTANCE_IPS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    Resource,
)
from multinet.model import conditions
from multinet.model.attachments import InstanceIP, Interface, PodRef, VirtualMachine
from multinet.model.conditions import Condition
from multinet.model.objects import (
    ANNOTATION_ATTACHED_SELECTION,
    LABEL_POD_UID,
    Obj,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    section,
    uid_of,
)

_log = logging.getLogger(__name__)


async def all_of(calls: Iterable[Awaitable[None]]) -> None:
    """Run side by side, wait for all of them, then raise the first error there was."""
    calls = list(calls)
    if len(calls) < 2:
        for call in calls:
            await call
        return
    results = await asyncio.gather(*calls, return_exceptions=True)
    # A refusal is an answer; it says more than the trouble its neighbours may have had.
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: not isinstance(error, MultinetError)):
        raise error


class Machines:
    """Creates and removes a pod's objects."""

    def __init__(self, view: View) -> None:
        self._view = view

    def objects_of(self, pod_key: str) -> dict[Resource, list[Obj]]:
        """What the caches hold for a pod name, of any incarnation."""
        return {
            VIRTUAL_MACHINES: self._view.machines.by_index(BY_POD, pod_key),
            VIRTUAL_MACHINE_INTERFACES: self._view.interfaces.by_index(BY_POD, pod_key),
            INSTANCE_IPS: self._view.instance_ips.by_index(BY_POD, pod_key),
        }

    async def live_objects_of(self, pod: PodRef) -> dict[Resource, list[Obj]]:
        """What the API holds for one incarnation of a pod, read now."""
        selector = f"{LABEL_POD_UID}={pod.uid}"
        client = self._view.client
        vms, vmis, iips = await asyncio.gather(
            client.list(VIRTUAL_MACHINES, pod.namespace, label_selector=selector),
            client.list(VIRTUAL_MACHINE_INTERFACES, pod.namespace, label_selector=selector),
            client.list(INSTANCE_IPS, label_selector=selector),
        )
        return {
            VIRTUAL_MACHINES: vms.items,
            VIRTUAL_MACHINE_INTERFACES: vmis.items,
            INSTANCE_IPS: iips.items,
        }

    async def write_together(
        self, addresses: Iterable[InstanceIP], interfaces: Iterable[Interface], machine: Obj
    ) -> bool:
        """Create what a pod should have by one request, in the safe order; false if it is not all there.

        It is not where the API has no such request, or refused one of the objects: then writing them one by
        one finds what is there already, and says what is wrong with the rest.
        """
        made = [item.to_object() for item in addresses] + [item.to_object() for item in interfaces]
        try:
            return await self._view.client.create_together([*made, machine])
        except UnreachableError:
            raise
        except KubeError as error:
            _log.info("writing the objects of %s one by one: %s", name_of(machine), error)
            return False

    async def write_interface(self, interface: Interface) -> None:
        """Create a VirtualMachineInterface; one that an earlier run left with another content is replaced."""
        wanted = interface.to_object()
        try:
            await self._view.client.create(VIRTUAL_MACHINE_INTERFACES, wanted)
        except AlreadyExistsError:
            resource = VIRTUAL_MACHINE_INTERFACES
            found = await self._view.client.get(resource, interface.name, interface.namespace)
            if Interface.from_object(found) == interface:
                return
            await self._view.client.delete(
                resource, interface.name, interface.namespace, uid=uid_of(found) or None
            )
            await self._view.client.create(resource, wanted)

    async def write_machine(self, machine: VirtualMachine, selection: str, known: Obj | None = None) -> None:
        """Write the VirtualMachine, then its condition ``Resolved``, which is what readers act on.

        Of one that is ``known`` only what differs is written.
        """
        made = object_of(machine, selection)
        status = {"status": made.pop("status")}
        client = self._view.client
        annotations = made["metadata"]["annotations"]
        patch = {"metadata": {"annotations": annotations}, "spec": made["spec"]}
        if known is None:
            try:
                await client.create(VIRTUAL_MACHINES, made)
            except AlreadyExistsError:
                await client.patch(VIRTUAL_MACHINES, machine.name, patch, machine.namespace)
        elif known["spec"] != made["spec"] or not annotations.items() <= annotations_of(known).items():
            await client.patch(VIRTUAL_MACHINES, machine.name, patch, machine.namespace)
        await client.patch(VIRTUAL_MACHINES, machine.name, status, machine.namespace, subresource="status")

    async def remove(self, objects: dict[Resource, list[Obj]]) -> None:
        """Delete objects in the safe order; those that are gone already are fine."""
        for resource in (VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS):
            await all_of(self._delete(resource, found) for found in objects.get(resource, ()))

    async def _delete(self, resource: Resource, found: Obj) -> None:
        try:
            await self._view.client.delete(
                resource, name_of(found), namespace_of(found) or None, uid=uid_of(found) or None
            )
        except NotFoundError:
            return


def object_of(machine: VirtualMachine, selection: str) -> Obj:
    """The VirtualMachine to write, with the time of its condition and the selection it was made for."""
    made = machine.to_object()
    for condition in made["status"]["conditions"]:
        condition["lastTransitionTime"] = now()
    made["metadata"]["annotations"] = {ANNOTATION_ATTACHED_SELECTION: selection}
    return made


def not_of(objects: dict[Resource, list[Obj]], uid: str) -> dict[Resource, list[Obj]]:
    """Those of ``objects`` which belong to another incarnation of the pod than ``uid``."""
    return {
        resource: [found for found in listed if pod_uid_of(found) != uid]
        for resource, listed in objects.items()
    }


def pod_uid_of(found: Obj) -> str:
    """The UID of the pod that an object of ours belongs to."""
    spec = section(found, "spec")
    pod = spec.get("pod")
    if isinstance(pod, dict):
        return str(pod.get("uid", ""))
    return str(spec.get("podUID") or labels_of(found).get(LABEL_POD_UID, ""))


def strays_of(objects: dict[Resource, list[Obj]], uid: str) -> dict[Resource, list[Obj]]:
    """Interfaces and addresses of a committed pod which its VirtualMachine does not know.

    Nothing, while not all of the committed interfaces are in ``objects``.
    """
    found = machine_of(objects, uid)
    vm = VirtualMachine.from_object(found) if found is not None else None
    if vm is None or not vm.is_resolved:
        return {}
    committed = set(vm.interfaces)
    vmis = [vmi for vmi in objects[VIRTUAL_MACHINE_INTERFACES] if pod_uid_of(vmi) == uid]
    kept = [section(vmi, "spec") for vmi in vmis if name_of(vmi) in committed]
    if len(kept) < len(committed):
        return {}
    used = {
        (spec.get("network"), item.get("address")) for spec in kept for item in spec.get("addresses") or ()
    }
    return {
        VIRTUAL_MACHINE_INTERFACES: [vmi for vmi in vmis if name_of(vmi) not in committed],
        INSTANCE_IPS: [
            iip for iip in objects[INSTANCE_IPS] if pod_uid_of(iip) == uid and _address_of(iip) not in used
        ],
    }


def _address_of(iip: Obj) -> tuple[object, object]:
    spec = section(iip, "spec")
    return (spec.get("network"), spec.get("address"))


def machine_of(objects: dict[Resource, list[Obj]], uid: str) -> Obj | None:
    """The VirtualMachine of that incarnation."""
    return next((vm for vm in objects[VIRTUAL_MACHINES] if pod_uid_of(vm) == uid), None)


def resolved(pod: PodRef, node: str, interfaces: Sequence[Interface]) -> VirtualMachine:
    """The VirtualMachine which commits ``interfaces``."""
    count = len(interfaces)
    message = f"{count} interface{'' if count == 1 else 's'} with addresses"
    condition = Condition(conditions.RESOLVED, "True", "Attached", message)
    return VirtualMachine(pod, node, tuple(item.name for item in interfaces), condition)


def half_built(pod: PodRef, node: str, interfaces: Sequence[Interface], message: str) -> VirtualMachine:
    """The VirtualMachine of a pod of which only some interfaces could be made (P-M4)."""
    condition = Condition(conditions.RESOLVED, "False", "HalfBuilt", message)
    return VirtualMachine(pod, node, tuple(item.name for item in interfaces), condition)


def refused(pod: PodRef, node: str, reason: str, message: str) -> VirtualMachine:
    """The VirtualMachine which says why there are no interfaces."""
    return VirtualMachine(pod, node, (), Condition(conditions.RESOLVED, "False", reason, message))
