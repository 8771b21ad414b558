"""Create, update and delete instance-ips, and the addresses which they give to interfaces made here."""

from __future__ import annotations

from collections.abc import Callable

from multinet.configapi import addressing, kinds
from multinet.configapi.asks import Ask, only_ref
from multinet.configapi.entries import Catalog, Entry
from multinet.configapi.errors import bad_request, conflict, forbidden
from multinet.configapi.notes import ANNOTATION_NOTES, Notes
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.kube.errors import ConflictError, KubeError, NotFoundError
from multinet.kube.resources import INSTANCE_IPS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_NETWORKS
from multinet.model.attachments import PodRef
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import Obj, name_of, namespace_of, section, uid_of

_TRIES = 5
Change = Callable[[list[Obj]], list[Obj]]


class AddressWriter:
    """Writes InstanceIP objects which no pod owns."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def create(self, ask: Ask, catalog: Catalog) -> str:
        """Own an address (a given one, else the highest free) and give it to the interface, if any."""
        vmi = _interface(ask, catalog)
        vn = self._network(ask, catalog, vmi)
        network = VirtualNetwork.from_object(vn)
        if vmi is not None and section(vmi, "spec").get("network") != network.name:
            raise bad_request(
                "the interface is in another network",
                where=f"{namespace_of(vmi)}/{name_of(vmi)}",
                next_step="refer to the network of the interface",
            )
        owner = {"namespace": namespace_of(vmi), "name": name_of(vmi)} if vmi is not None else None
        notes = Notes(ask.uuid, ask.fq_name).with_properties(ask.kept)
        metadata: Obj = {"annotations": {ANNOTATION_NOTES: notes.text()}}
        asked = str(ask.properties.get("instance_ip_address") or "")
        if asked:
            made = await addressing.own_fixed(ask.client, network, asked, metadata, owner)
        else:
            subnet = str(ask.properties.get("subnet_uuid") or "")
            pools = addressing.pools(self._view, vn, subnet, _family(ask))
            made = await addressing.own(ask.client, network, pools, metadata, owner)
        if vmi is not None:
            try:
                await self._give(ask.client, vmi, network, str(made["spec"]["address"]))
            except KubeError:
                # An address that no interface has would be lost: the client does not know its UUID.
                await ask.client.delete(INSTANCE_IPS, name_of(made), uid=uid_of(made) or None)
                raise
        await self._view.settle(INSTANCE_IPS, made)
        return ask.uuid or uid_of(made)

    async def update(self, entry: Entry, ask: Ask) -> None:
        """Change what is kept; the address and whose it is stay."""
        assert entry.source is not None
        for name in ("instance_ip_address", "instance_ip_family", "subnet_uuid"):
            value = ask.properties.get(name)
            if value and value != entry.properties.get(name):
                raise conflict(
                    f"{name} of an instance-ip can't be changed",
                    where=entry.label,
                    next_step="delete it and create another",
                )
        for field, listed in ask.refs.items():
            current = {ref.uuid for ref in entry.ref_fields().get(field, ())}
            if {ref["uuid"] for ref in listed} != current:
                raise conflict(
                    f"{field} of an instance-ip can't be changed",
                    where=entry.label,
                    next_step="delete it and create another",
                )
        found = await ask.client.get(INSTANCE_IPS, name_of(entry.source))
        changed = Notes.of(found).with_properties(ask.kept).put_on(found)
        await self._view.settle(INSTANCE_IPS, await ask.client.replace(INSTANCE_IPS, changed))

    async def delete(self, entry: Entry, client: Client) -> None:
        """Take the address from its interface, then give it back."""
        iip = entry.source
        assert iip is not None
        owner = section(iip, "spec").get("interface") or {}
        if owner.get("name"):
            await self._take(client, owner, str(section(iip, "spec").get("address")))
        await client.delete(INSTANCE_IPS, name_of(iip), uid=uid_of(iip) or None)
        await self._view.settle_gone(INSTANCE_IPS, iip)

    def _network(self, ask: Ask, catalog: Catalog, vmi: Obj | None) -> Obj:
        ref = only_ref(ask.refs, "virtual_network_refs", kinds.ADDRESS)
        entry = catalog.get(ref["uuid"]) if ref else None
        if entry is not None and entry.source is not None:
            return entry.source
        if vmi is not None:
            found = self._view.objects(VIRTUAL_NETWORKS).get(str(section(vmi, "spec").get("network")))
            if found is not None:
                return found
        raise bad_request(
            "virtual_network_refs is missing",
            where=kinds.ADDRESS,
            next_step="add a reference to one virtual network",
        )

    async def _give(self, client: Client, vmi: Obj, network: VirtualNetwork, address: str) -> None:
        subnet = network.subnet_of(addressing.fixed(network, address))
        assert subnet is not None
        block = subnet.completed()
        given = {
            "address": address,
            "prefixLength": block.cidr.prefixlen,
            "gateway": str(block.gateway or ""),
            "dns": str(block.dns or ""),
        }
        await self._change(client, vmi, lambda addresses: [*addresses, given])

    async def _take(self, client: Client, owner: Obj, address: str) -> None:
        vmi = {"metadata": {"name": owner.get("name"), "namespace": owner.get("namespace")}}
        try:
            await self._change(
                client, vmi, lambda addresses: [item for item in addresses if item.get("address") != address]
            )
        except NotFoundError:
            return

    async def _change(self, client: Client, vmi: Obj, change: Change) -> None:
        """Change an interface's addresses; read again where somebody else wrote in between."""
        for left in reversed(range(_TRIES)):
            found = await client.get(VIRTUAL_MACHINE_INTERFACES, name_of(vmi), namespace_of(vmi))
            spec = {
                **section(found, "spec"),
                "addresses": change(section(found, "spec").get("addresses") or []),
            }
            try:
                written = await client.replace(VIRTUAL_MACHINE_INTERFACES, {**found, "spec": spec})
            except ConflictError:
                if not left:
                    raise
                continue
            await self._view.settle(VIRTUAL_MACHINE_INTERFACES, written)
            return


def _interface(ask: Ask, catalog: Catalog) -> Obj | None:
    ref = only_ref(ask.refs, "virtual_machine_interface_refs", kinds.ADDRESS)
    entry = catalog.get(ref["uuid"]) if ref else None
    if entry is None or entry.source is None:
        return None
    if PodRef.from_spec(section(entry.source, "spec").get("pod") or {}).name:
        raise forbidden(
            f"{entry.label} gets no further address",
            why="the interfaces of a pod are fixed when it starts",
            next_step="ask for ips in the pod's annotation k8s.v1.cni.cncf.io/networks",
        )
    return entry.source


def _family(ask: Ask) -> str:
    family = str(ask.properties.get("instance_ip_family") or "")
    if family not in ("", "v4", "v6"):
        raise bad_request(f"instance_ip_family {family!r} is neither v4 nor v6", where=kinds.ADDRESS)
    return family
