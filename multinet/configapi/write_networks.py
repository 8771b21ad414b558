"""Create, update and delete virtual networks.

A network made here is the same custom resource as any other: the controller completes it (VNI) and says
whether it is ready, NADs map to it, pods get addresses of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from multinet.configapi import kinds
from multinet.configapi.addressing import taken_of
from multinet.configapi.asks import Ask
from multinet.configapi.entries import Entry
from multinet.configapi.errors import bad_request, conflict
from multinet.configapi.notes import ANNOTATION_RESERVED, Notes
from multinet.configapi.subnets import AskedSubnet, read_refs, refuse_changed
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError, NotFoundError
from multinet.kube.resources import INSTANCE_IPS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_NETWORKS
from multinet.model.networks import (
    L2_L3,
    L3,
    ORIGIN_CONFIG_API,
    VNI_LIMIT,
    Subnet,
    VirtualNetwork,
)
from multinet.model.objects import Obj, annotations_of, name_of, section, uid_of

_IPAMS = "network_ipam_refs"


class NetworkWriter:
    """Writes VirtualNetwork objects."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def create(self, ask: Ask) -> str:
        """Create; returns the UUID."""
        refs = ask.refs.get(_IPAMS, [])
        asked = read_refs(refs)
        details = _details(ask.properties.get("virtual_network_properties"))
        network = VirtualNetwork(
            fq_name=(ask.fq_name[0], ask.fq_name[1], ask.fq_name[2]),
            subnets=tuple(item.subnet for item in asked),
            vni=details.get("vni", 0),
            forwarding_mode=details.get("mode", L2_L3),
            fabric_snat=bool(ask.properties.get("fabric_snat")),
            origin=ORIGIN_CONFIG_API,
        )
        notes = _noted(Notes(ask.uuid, ask.fq_name), ask, asked, refs)
        try:
            made = await ask.client.create(VIRTUAL_NETWORKS, notes.put_on(network.to_object()))
        except AlreadyExistsError as error:
            raise conflict(f"virtual-network {':'.join(ask.fq_name)} already exists") from error
        await self._view.settle(VIRTUAL_NETWORKS, made)
        return ask.uuid or uid_of(made)

    async def update(self, entry: Entry, ask: Ask) -> None:
        """Change properties and subnets; 409 for what interfaces in the network forbid."""
        assert entry.source is not None
        found = await ask.client.get(VIRTUAL_NETWORKS, name_of(entry.source))
        network, notes = VirtualNetwork.from_object(found), Notes.of(found)
        if not notes.is_ours:
            notes = replace(notes, fq_name=network.fq_name)
        spec = dict(section(found, "spec"))
        if _IPAMS in ask.refs:
            asked = read_refs(ask.refs[_IPAMS])
            await self._refuse_used_blocks(ask.client, network, asked)
            refuse_changed(network.subnets, (item.subnet for item in asked))
            spec["subnets"] = [item.subnet.to_spec() for item in asked]
            notes = _noted(notes, ask, asked, ask.refs[_IPAMS])
        else:
            notes = notes.with_properties(_kept(ask))
        if "fabric_snat" in ask.properties:
            spec["fabricSnat"] = bool(ask.properties["fabric_snat"])
        if "virtual_network_properties" in ask.properties:
            details = _details(ask.properties["virtual_network_properties"])
            wanted = {"forwardingMode": details.get("mode", network.forwarding_mode)}
            wanted["vni"] = details.get("vni", network.vni)
            await self._refuse_new_wire(ask.client, network, wanted)
            spec |= {key: value for key, value in wanted.items() if value}
        changed = notes.put_on({**found, "spec": spec})
        await self._view.settle(VIRTUAL_NETWORKS, await ask.client.replace(VIRTUAL_NETWORKS, changed))

    async def delete(self, entry: Entry, client: Client) -> None:
        """Delete a network nobody refers to, and with it the addresses that were only reserved."""
        assert entry.source is not None
        name = name_of(entry.source)
        # Asked of the API itself: a pod may just have been attached, and the view not show it yet.
        for vmi in (await client.list(VIRTUAL_MACHINE_INTERFACES)).items:
            if section(vmi, "spec").get("network") == name:
                raise conflict(
                    "Delete when resource still referred: "
                    f"VirtualMachineInterface {vmi['metadata']['namespace']}/{name_of(vmi)}",
                    where=entry.label,
                    next_step="delete the pods or interfaces in the network first",
                )
        for iip in (await client.list(INSTANCE_IPS)).items:
            if section(iip, "spec").get("network") == name and ANNOTATION_RESERVED in annotations_of(iip):
                await _delete_quietly(client, iip)
        await client.delete(VIRTUAL_NETWORKS, name, uid=uid_of(entry.source) or None)
        await self._view.settle_gone(VIRTUAL_NETWORKS, entry.source)

    async def _refuse_used_blocks(
        self, client: Client, network: VirtualNetwork, asked: Iterable[AskedSubnet]
    ) -> None:
        kept = {item.subnet.cidr for item in asked}
        removed = [subnet for subnet in network.subnets if subnet.cidr not in kept]
        if not removed:
            return
        for iip in (await client.list(INSTANCE_IPS)).items:
            spec = section(iip, "spec")
            if spec.get("network") == network.name:
                _refuse_used(str(spec.get("address", "")), removed)

    async def _refuse_new_wire(
        self, client: Client, network: VirtualNetwork, wanted: Mapping[str, Any]
    ) -> None:
        if (wanted["forwardingMode"], wanted["vni"]) == (network.forwarding_mode, network.vni):
            return
        listed = await client.list(VIRTUAL_MACHINE_INTERFACES)
        used = [vmi for vmi in listed.items if section(vmi, "spec").get("network") == network.name]
        if used or taken_of(self._view, network.name):
            raise conflict(
                "forwarding mode and VXLAN identifier of a network in use can't be changed",
                why=f"{len(used)} interfaces are in it",
                next_step="delete the pods and interfaces in the network first",
            )


def _refuse_used(address: str, removed: Iterable[Subnet]) -> None:
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        return
    for subnet in removed:
        if number in subnet.cidr:
            raise conflict(
                f"Cannot Delete IP Block, IP({address}) is in use",
                where=f"subnet {subnet.cidr}",
                next_step="delete the pod or the instance-ip that has it first",
            )


async def _delete_quietly(client: Client, iip: Obj) -> None:
    try:
        await client.delete(INSTANCE_IPS, name_of(iip), uid=uid_of(iip) or None)
    except NotFoundError:
        return


def _details(properties: object) -> Obj:
    """``virtual_network_properties``: mode and VNI, or 400 for what networks here don't have."""
    if properties is None:
        return {}
    if not isinstance(properties, dict):
        raise bad_request("virtual_network_properties is no map", where=kinds.NETWORK)
    given = {name: value for name, value in properties.items() if value not in (None, False, "")}
    made: Obj = {}
    mode = given.pop("forwarding_mode", None)
    if mode is not None:
        if mode not in (L3, L2_L3):
            raise bad_request(
                f"forwarding_mode {mode!r} is not supported",
                where=kinds.NETWORK,
                next_step=f"take {L2_L3} or {L3}",
            )
        made["mode"] = mode
    vni = given.pop("vxlan_network_identifier", None)
    if vni is not None:
        if type(vni) is not int or not 1 <= vni <= VNI_LIMIT:
            raise bad_request(f"vxlan_network_identifier {vni!r} is no number from 1 to {VNI_LIMIT}")
        made["vni"] = vni
    given = {name: value for name, value in given.items() if (name, value) not in _AS_IT_IS}
    if given:
        name, value = next(iter(given.items()))
        raise bad_request(
            f"virtual_network_properties.{name} {value!r} is not supported",
            where=kinds.NETWORK,
            next_step=f"leave {name} out",
        )
    return made


# No set: values of a request may be maps and lists.
_AS_IT_IS = (("rpf", "enable"), ("max_flows", 0), ("max_flow_rate", 0))


def _kept(ask: Ask) -> Obj:
    kept = dict(ask.kept)
    if kept.get("is_shared"):
        raise bad_request(
            "is_shared is not supported",
            where=kinds.NETWORK,
            why="who may use a network is decided by Kubernetes' access rules",
            next_step="leave is_shared out",
        )
    if "virtual_network_properties" in ask.properties:
        details = ask.properties["virtual_network_properties"] or {}
        kept["vxlan_network_identifier"] = details.get("vxlan_network_identifier")
    return kept


def _noted(notes: Notes, ask: Ask, asked: Iterable[AskedSubnet], refs: Iterable[Obj]) -> Notes:
    subnets = {
        str(item.subnet.cidr): {**notes.subnets.get(str(item.subnet.cidr), {}), **item.said} for item in asked
    }
    ipams = [":".join(map(str, ref.get("to") or ())) for ref in refs]
    noted = replace(notes, subnets=subnets, references={**notes.references, "ipams": ipams})
    return noted.with_properties(_kept(ask))
