"""Create, update and delete virtual machines that no pod is behind, and place them on nodes.

A machine is a name that groups interfaces. Placing one (a reference from a virtual router) places its
interfaces; Contrail's agents learn of a workload in the same way.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from multinet.configapi import kinds
from multinet.configapi.asks import Ask
from multinet.configapi.entries import Catalog, Entry
from multinet.configapi.errors import conflict, forbidden
from multinet.configapi.notes import Notes
from multinet.configapi.view import RECORD_NAMESPACE, View
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES
from multinet.model.naming import is_dns_label
from multinet.model.objects import (
    API_VERSION,
    LABEL_NODE,
    Obj,
    labels_of,
    name_of,
    namespace_of,
    section,
    uid_of,
)


def object_name(text: str, unique: str) -> str:
    """A Kubernetes object name for a free name: itself where it can be, else readable plus digest."""
    if is_dns_label(text):
        return text
    digest = hashlib.sha256(unique.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return f"{readable or 'x'}-{digest}"


class MachineWriter:
    """Writes VirtualMachine objects without a pod (namespace ``kube-system``)."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def create(self, ask: Ask) -> str:
        """Create; returns the UUID."""
        notes = Notes(ask.uuid, ask.fq_name).with_properties(ask.kept)
        name = object_name(ask.fq_name[-1], ":".join(ask.fq_name))
        wanted: Obj = {
            "apiVersion": API_VERSION,
            "kind": "VirtualMachine",
            "metadata": {"name": name, "namespace": RECORD_NAMESPACE},
            "spec": {"pod": {}, "node": "", "interfaces": []},
        }
        try:
            made = await ask.client.create(VIRTUAL_MACHINES, notes.put_on(wanted))
        except AlreadyExistsError as error:
            raise conflict(f"virtual-machine {':'.join(ask.fq_name)} already exists") from error
        await self._view.settle(VIRTUAL_MACHINES, made)
        return ask.uuid or uid_of(made)

    async def update(self, entry: Entry, ask: Ask) -> None:
        """Change properties."""
        assert entry.source is not None
        found = await ask.client.get(VIRTUAL_MACHINES, name_of(entry.source), namespace_of(entry.source))
        changed = Notes.of(found).with_properties(ask.kept).put_on(found)
        await self._view.settle(VIRTUAL_MACHINES, await ask.client.replace(VIRTUAL_MACHINES, changed))

    async def delete(self, entry: Entry, client: Client) -> None:
        """Delete."""
        vm = entry.source
        assert vm is not None
        await client.delete(VIRTUAL_MACHINES, name_of(vm), namespace_of(vm), uid=uid_of(vm) or None)
        await self._view.settle_gone(VIRTUAL_MACHINES, vm)


class Placement:
    """References from virtual routers (nodes) to virtual machines."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def update(self, router: Entry, wanted: set[str], catalog: Catalog, client: Client) -> None:
        """Make exactly the machines ``wanted`` (UUIDs) be on a node; a pod's machine can't be moved."""
        node = router.fq_name[-1]
        current = {ref.uuid for ref in router.refs_of(kinds.MACHINE)}
        for uuid in sorted(current ^ wanted):
            machine = catalog.get(uuid)
            if machine is None:
                continue
            if machine.fixed:
                raise forbidden(f"{machine.label} can't be moved", why=machine.fixed)
            await self._place(machine, node if uuid in wanted else "", catalog, client)

    async def _place(self, machine: Entry, node: str, catalog: Catalog, client: Client) -> None:
        vm = machine.source
        assert vm is not None
        patch = {"metadata": {"labels": {LABEL_NODE: node or None}}, "spec": {"node": node}}
        made = await client.patch(VIRTUAL_MACHINES, name_of(vm), patch, namespace_of(vm))
        for entry, _ in catalog.referrers(machine.uuid):
            vmi = entry.source
            if entry.kind != kinds.INTERFACE or vmi is None:
                continue
            was = str(section(vmi, "spec").get("node") or "")
            if node and was and was != node and labels_of(vmi).get(LABEL_NODE):
                raise conflict(
                    f"{entry.label} is bound to {was}",
                    why=f"its machine would be on {node}",
                    next_step="change host_id in virtual_machine_interface_bindings first",
                )
            moved = await client.patch(VIRTUAL_MACHINE_INTERFACES, name_of(vmi), patch, namespace_of(vmi))
            await self._view.settle(VIRTUAL_MACHINE_INTERFACES, moved)
        await self._view.settle(VIRTUAL_MACHINES, made)


def with_machines(notes: Notes, uuids: list[str]) -> Notes:
    """Notes of an interface which belongs to these machines."""
    return replace(notes, references={**notes.references, "machines": uuids})
