"""Create, update and delete by kind: the rules that all kinds share, then the kind's writer.

REST handlers and console call this; they know nothing of Kubernetes objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from multinet.configapi import kinds
from multinet.configapi.asks import Ask, read_fq_name, read_uuid, split_fields
from multinet.configapi.catalog import Catalogs
from multinet.configapi.entries import Catalog, Entry, FqName
from multinet.configapi.errors import bad_request, conflict, forbidden, not_found
from multinet.configapi.kinds import KINDS, Kind, ref_field
from multinet.configapi.notes import Notes
from multinet.configapi.view import View
from multinet.configapi.wire import reference_text
from multinet.configapi.write_addresses import AddressWriter
from multinet.configapi.write_interfaces import InterfaceWriter
from multinet.configapi.write_machines import MachineWriter, Placement
from multinet.configapi.write_networks import NetworkWriter
from multinet.configapi.write_records import RecordWriter
from multinet.kube.client import Client
from multinet.kube.errors import ConflictError
from multinet.kube.resources import (
    CONFIGMAPS,
    INSTANCE_IPS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model.objects import Obj, name_of, namespace_of

_RECORDED = frozenset({kinds.DOMAIN, kinds.PROJECT, kinds.IPAM})
_RESOURCES = {
    kinds.NETWORK: VIRTUAL_NETWORKS,
    kinds.MACHINE: VIRTUAL_MACHINES,
    kinds.INTERFACE: VIRTUAL_MACHINE_INTERFACES,
    kinds.ADDRESS: INSTANCE_IPS,
    kinds.IPAM: CONFIGMAPS,
}
_TRIES = 5


class Service:
    """What can be done with config objects. All methods raise ``RefusedError`` or errors of the client."""

    def __init__(self, view: View, catalogs: Catalogs) -> None:
        self.view = view
        self.catalogs = catalogs
        self._records = RecordWriter(view)
        self._networks = NetworkWriter(view)
        self._machines = MachineWriter(view)
        self._interfaces = InterfaceWriter(view)
        self._addresses = AddressWriter(view)
        self._placement = Placement(view)
        # Kept while somebody holds or awaits them.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def catalog(self) -> Catalog:
        """All config objects as of now."""
        return self.catalogs.current()

    def entry(self, kind: str, uuid: str) -> Entry:
        """The object of that kind and UUID, or 404."""
        found = self.catalog.get(uuid)
        if found is None or found.kind != kind:
            raise not_found(f"{kind} {uuid} not found")
        return found

    async def create(self, kind: Kind, body: Mapping[str, Any], client: Client) -> Entry:
        """Create an object of a request's body and return it as it then is."""
        ask = self._asked(kind, body, client)
        if kind.name in _RECORDED:
            uuid = await self._records.create(ask)
        elif kind.name == kinds.NETWORK:
            uuid = await self._networks.create(ask)
        elif kind.name == kinds.MACHINE:
            uuid = await self._machines.create(ask)
        elif kind.name == kinds.INTERFACE:
            uuid = await self._interfaces.create(ask, self.catalogs.current)
        elif kind.name == kinds.ADDRESS:
            uuid = await self._addresses.create(ask, self.catalog)
        else:
            raise forbidden(f"a {kind.name} can't be created here", why=_UNMADE.get(kind.name, ""))
        return self.entry(kind.name, uuid)

    async def update(self, entry: Entry, body: Mapping[str, Any], client: Client) -> None:
        """Change what the body names; everything else stays."""
        await self.alter(entry, lambda _now: body, client)

    async def alter(self, entry: Entry, change: Callable[[Entry], Mapping[str, Any]], client: Client) -> None:
        """Update an object by what ``change`` makes of its present state; one at a time for each object.

        What adds to a list must see what others added before.
        """
        turn = self._turns.setdefault(entry.uuid, asyncio.Lock())
        async with turn:
            now = self.entry(entry.kind, entry.uuid)
            await self._apply(now, change(now), client)

    async def _apply(self, entry: Entry, body: Mapping[str, Any], client: Client) -> None:
        kind = KINDS[entry.kind]
        properties, refs = split_fields(kind, body)
        ask = Ask(kind, client, properties, self._resolved(refs), entry.fq_name, entry.uuid)
        if kind.name == kinds.ROUTER:
            if properties:
                raise forbidden(f"{entry.label} can't be changed", why=entry.fixed)
            wanted = {ref["uuid"] for ref in ask.refs.get(ref_field(kinds.MACHINE), ())}
            await self._placement.update(entry, wanted, self.catalog, client)
            return
        if entry.fixed:
            raise forbidden(f"{entry.label} can't be changed", why=entry.fixed)
        for left in reversed(range(_TRIES)):
            try:
                await self._update(entry, ask)
            except ConflictError:
                # Somebody wrote between our read and our write (the controller completes networks).
                if not left:
                    raise
                continue
            return

    async def delete(self, entry: Entry, client: Client) -> None:
        """Delete an object that has no children and to which nothing refers; else 409 with their names."""
        if entry.fixed:
            raise forbidden(f"{entry.label} can't be deleted", why=entry.fixed)
        catalog = self.catalog
        children = [found for found in catalog.children(entry.uuid) if not found.fixed]
        if children:
            raise conflict(
                f"Delete when children still present: {reference_text(children)}",
                where=entry.label,
                next_step="delete them first",
            )
        referrers = [found for found, _ in catalog.referrers(entry.uuid) if entry.uuid not in found.relaxed]
        if referrers:
            raise conflict(
                f"Delete when resource still referred: {reference_text(referrers)}",
                where=entry.label,
                next_step="delete them first (a pod's interfaces go with the pod)",
            )
        if entry.kind in _RECORDED:
            await self._records.delete(entry, client)
        elif entry.kind == kinds.NETWORK:
            await self._networks.delete(entry, client)
        elif entry.kind == kinds.MACHINE:
            await self._machines.delete(entry, client)
        elif entry.kind == kinds.INTERFACE:
            await self._interfaces.delete(entry, client)
        elif entry.kind == kinds.ADDRESS:
            await self._addresses.delete(entry, client)

    async def change_ref(
        self, entry: Entry, field: str, ref: Obj, operation: str, attr: Obj | None, client: Client
    ) -> None:
        """Add, replace or remove one reference (the action ref-update)."""
        if field not in KINDS[entry.kind].refs:
            raise bad_request(f"{entry.kind} has no {field} here")
        target = self._resolve(field, ref)
        if operation not in ("ADD", "DELETE"):
            raise bad_request(f"operation {operation!r} is neither ADD nor DELETE", where="ref-update")

        def change(now: Entry) -> Obj:
            kept: list[Obj] = [
                {"uuid": old.uuid, "to": list(old.to), "attr": old.attr}
                for old in now.ref_fields().get(field, ())
                if old.uuid != target.uuid
            ]
            if operation == "ADD":
                kept.append({"uuid": target.uuid, "to": list(target.fq_name), "attr": attr})
            return {field: kept}

        await self.alter(entry, change, client)

    async def relax(self, entry: Entry, target: Entry, client: Client) -> None:
        """Let ``target`` be deleted although ``entry`` refers to it (the action ref-relax-for-delete)."""
        resource = _RESOURCES.get(entry.kind)
        if entry.fixed or entry.source is None or resource is None or entry.kind == kinds.IPAM:
            raise forbidden(f"references of {entry.label} can't be relaxed", why=entry.fixed)
        found = await client.get(resource, name_of(entry.source), namespace_of(entry.source) or None)
        noted = Notes.of(found).to_dict()
        noted["relaxed"] = sorted({*noted.get("relaxed", ()), target.uuid})
        written = await client.replace(resource, Notes.from_dict(noted).put_on(found))
        await self.view.settle(resource, written)

    async def _update(self, entry: Entry, ask: Ask) -> None:
        if entry.kind in _RECORDED:
            await self._records.update(entry, ask)
        elif entry.kind == kinds.NETWORK:
            await self._networks.update(entry, ask)
        elif entry.kind == kinds.MACHINE:
            await self._machines.update(entry, ask)
        elif entry.kind == kinds.INTERFACE:
            await self._interfaces.update(entry, ask, self.catalog)
        elif entry.kind == kinds.ADDRESS:
            await self._addresses.update(entry, ask)

    def _asked(self, kind: Kind, body: Mapping[str, Any], client: Client) -> Ask:
        fq_name = read_fq_name(body.get("fq_name"), kind.name)
        depth = {"": 1, kinds.DOMAIN: 2, kinds.PROJECT: 3, kinds.SYSTEM: 2}[kind.parent]
        if len(fq_name) != depth:
            raise bad_request(
                f"Invalid fq_name {list(fq_name)!r}",
                where=kind.name,
                why=f"it has {len(fq_name)} parts, a {kind.name} has {depth}",
            )
        given = body.get("parent_type")
        if kind.parent and given not in (None, kind.parent):
            raise bad_request(f"a {given} can't be the parent of a {kind.name}", where=":".join(fq_name))
        uuid = read_uuid(body)
        self._refuse_existing(kind, fq_name, uuid)
        parent = self._parent(kind, fq_name)
        properties, refs = split_fields(kind, body)
        return Ask(kind, client, properties, self._resolved(refs), fq_name, uuid, parent)

    def _refuse_existing(self, kind: Kind, fq_name: FqName, uuid: str) -> None:
        found = self.catalog.named(kind.name, fq_name)
        if found is not None and (found.source is not None or kind.name == kinds.IPAM or not found.fixed):
            raise conflict(f"{found.label} already exists with uuid: {found.uuid}")
        found = self.catalog.get(uuid) if uuid else None
        if found is not None:
            raise conflict(f"{found.label} already exists with uuid: {uuid}")

    def _parent(self, kind: Kind, fq_name: FqName) -> Entry | None:
        if not kind.parent:
            return None
        parent = self.catalog.named(kind.parent, fq_name[:-1])
        if parent is None:
            raise not_found(
                f"{kind.parent} {':'.join(fq_name[:-1])} not found",
                where=f"parent of {kind.name} {fq_name[-1]}",
                next_step=f"create the {kind.parent}, or the namespace which stands for it",
            )
        return parent

    def _resolved(self, refs: dict[str, list[Obj]]) -> dict[str, list[Obj]]:
        made: dict[str, list[Obj]] = {}
        for field, listed in refs.items():
            made[field] = []
            for ref in listed:
                target = self._resolve(field, ref)
                made[field].append({**ref, "uuid": target.uuid, "to": list(target.fq_name)})
        return made

    def _resolve(self, field: str, ref: Mapping[str, Any]) -> Entry:
        kind = field.removesuffix("_refs").replace("_", "-")
        named = ref.get("to")
        found = self.catalog.get(str(ref.get("uuid") or ""))
        if found is None and isinstance(named, list):
            found = self.catalog.named(kind, tuple(map(str, named)))
        if found is None or found.kind != kind:
            text = ":".join(map(str, named)) if isinstance(named, list) and named else ref.get("uuid")
            raise not_found(f"{kind} {text} not found", where=field)
        return found


_UNMADE = {
    kinds.ROUTER: "virtual routers are the nodes of the cluster",
    kinds.SECURITY_GROUP: "security groups can be read only",
    kinds.SYSTEM: "there is exactly one",
}
