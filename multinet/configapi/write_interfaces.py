"""Create, update and delete interfaces of workloads without Kubernetes.

The VirtualMachineInterface made here has an empty ``spec.pod``. Where it belongs is said in
``virtual_machine_interface_bindings``, with the keys the original's users know, and one of ours::

    host_id    node name                                   -> spec.node and the node label
    vif_name   name of the Linux interface inside          -> spec.interface (default eth<index>)
    netns      path of the network namespace on that node  -> annotation multinet.opencontrail.org/netns

Its addresses come with instance-ips (:mod:`write_addresses`). What a node agent does with it:
``docs/configapi.md``.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from multinet.configapi import kinds
from multinet.configapi.asks import Ask, only_ref
from multinet.configapi.entries import Catalog, Entry
from multinet.configapi.errors import bad_request, conflict, not_found, unavailable
from multinet.configapi.notes import ANNOTATION_NETNS, Notes
from multinet.configapi.read_places import namespace_of_project
from multinet.configapi.view import View
from multinet.configapi.write_machines import object_name, with_machines
from multinet.errors import WaitExpiredError
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import NODES, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_NETWORKS
from multinet.model import conditions
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import API_VERSION, LABEL_NODE, Obj, name_of, namespace_of, section, uid_of

_BINDINGS = "virtual_machine_interface_bindings"
_MACS = "virtual_machine_interface_mac_addresses"
_KEYS = frozenset({"host_id", "vif_name", "netns", "vnic_type", "vif_type"})
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_IFNAME = re.compile(r"[^\s/:]{1,15}")
READY_LIMIT_S = 5.0


class InterfaceWriter:
    """Writes VirtualMachineInterface objects without a pod."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._turn = asyncio.Lock()

    async def create(self, ask: Ask, catalog: Callable[[], Catalog]) -> str:
        """Create; returns the UUID, of which the MAC is made where none is given (as the original's).

        ``catalog`` gives what there is now: index and MAC are chosen by it.
        """
        ref = only_ref(ask.refs, "virtual_network_refs", kinds.INTERFACE)
        if ref is None:
            raise bad_request(
                "virtual_network_refs is missing",
                where=kinds.INTERFACE,
                next_step="add a reference to one virtual network",
            )
        network = await self._ready_network(catalog(), ref["uuid"])
        async with self._turn:
            return await self._create(ask, network, catalog())

    async def _create(self, ask: Ask, network: VirtualNetwork, catalog: Catalog) -> str:
        machine = _machine(ask, catalog)
        identity = ask.uuid or str(uuid.uuid4())
        index = _next_index(machine, catalog)
        said = self._read_bindings(ask.properties.get(_BINDINGS), machine)
        mac = _mac(ask.properties.get(_MACS)) or _mac_of(identity)
        self._refuse_used_mac(network.name, mac)
        metadata, spec = self._parts(said, index)
        metadata |= {
            "name": object_name(ask.fq_name[-1], ":".join(ask.fq_name)),
            "namespace": namespace_of_project(self._view, ask.fq_name[:2]),
        }
        spec |= {
            "pod": {},
            "index": index,
            "of": 1,
            "network": network.name,
            "vni": network.vni,
            "forwardingMode": network.mode,
            "nad": "",
            "mac": mac,
            "addresses": [],
            "mtu": 0,
            "defaultRoute": [],
        }
        spec |= _port_security(ask)
        notes = with_machines(Notes(identity, ask.fq_name), [machine.uuid] if machine else [])
        notes = _with_groups(notes, ask).with_properties(_kept(ask))
        wanted: Obj = {"apiVersion": API_VERSION, "kind": "VirtualMachineInterface"}
        wanted |= {"metadata": metadata, "spec": spec}
        try:
            made = await ask.client.create(VIRTUAL_MACHINE_INTERFACES, notes.put_on(wanted))
        except AlreadyExistsError as error:
            raise conflict(f"virtual-machine-interface {':'.join(ask.fq_name)} already exists") from error
        await self._view.settle(VIRTUAL_MACHINE_INTERFACES, made)
        return identity

    async def update(self, entry: Entry, ask: Ask, catalog: Catalog) -> None:
        """Change bindings, machine, security groups and what is kept; network and MAC stay."""
        vmi = entry.source
        assert vmi is not None
        found = await ask.client.get(VIRTUAL_MACHINE_INTERFACES, name_of(vmi), namespace_of(vmi))
        self._refuse_new_network(entry, ask)
        mac = _mac(ask.properties.get(_MACS))
        if mac and mac != section(found, "spec").get("mac"):
            raise conflict(
                "the MAC address of an interface can't be changed",
                where=entry.label,
                next_step="delete the interface and create it again",
            )
        notes = _with_groups(Notes.of(found), ask).with_properties(_kept(ask))
        machine = _machine(ask, catalog)
        if "virtual_machine_refs" in ask.refs:
            notes = with_machines(notes, [machine.uuid] if machine else [])
        if _BINDINGS in ask.properties:
            said = self._read_bindings(ask.properties[_BINDINGS], machine)
            metadata, spec = self._parts(said, int(section(found, "spec").get("index") or 1))
            found = {
                **found,
                "metadata": _merged_metadata(found, metadata),
                "spec": {**section(found, "spec"), **spec},
            }
        found = {**found, "spec": {**section(found, "spec"), **_port_security(ask)}}
        written = await ask.client.replace(VIRTUAL_MACHINE_INTERFACES, notes.put_on(found))
        await self._view.settle(VIRTUAL_MACHINE_INTERFACES, written)

    async def delete(self, entry: Entry, client: Client) -> None:
        """Delete an interface that no address refers to."""
        vmi = entry.source
        assert vmi is not None
        await client.delete(
            VIRTUAL_MACHINE_INTERFACES, name_of(vmi), namespace_of(vmi), uid=uid_of(vmi) or None
        )
        await self._view.settle_gone(VIRTUAL_MACHINE_INTERFACES, vmi)

    async def _ready_network(self, catalog: Catalog, identity: str) -> VirtualNetwork:
        """The network once the controller has given it its VNI (it is on its way right after a create)."""
        entry = catalog.get(identity)
        if entry is None or entry.source is None:
            raise not_found(f"virtual-network {identity} not found")
        name = name_of(entry.source)

        def judged(store: Mapping[str, Obj]) -> Obj | None:
            vn = store.get(name)
            return vn if vn is not None and conditions.find(vn, conditions.READY) is not None else None

        informer = self._view.informers[VIRTUAL_NETWORKS]
        try:
            vn = await informer.wait_until(f"virtual-network {name} to be judged", judged, READY_LIMIT_S)
        except WaitExpiredError as error:
            raise unavailable(
                f"{entry.label} is not ready", why=str(error), next_step="is the controller running?"
            ) from error
        network = VirtualNetwork.from_object(vn)
        ready = network.ready
        if ready is None or not ready.is_true:
            why = f"{ready.reason}: {ready.message}" if ready else ""
            raise conflict(f"{entry.label} is not ready", why=why, next_step=f"kubectl describe vn {name}")
        return network

    def _read_bindings(self, bindings: object, machine: Entry | None) -> dict[str, str]:
        said = _pairs(bindings)
        for key in said.keys() - _KEYS:
            raise bad_request(
                f"the binding {key!r} is not known",
                where=_BINDINGS,
                next_step=f"take one of {', '.join(sorted(_KEYS))}",
            )
        if not said.get("host_id") and machine is not None and machine.source is not None:
            said["host_id"] = str(section(machine.source, "spec").get("node") or "")
        node = said.get("host_id", "")
        if node and node not in self._view.objects(NODES):
            raise not_found(
                f"the node {node!r} does not exist", where=_BINDINGS, next_step="kubectl get nodes"
            )
        name = said.get("vif_name", "")
        if name and (not _IFNAME.fullmatch(name) or name in (".", "..", "lo")):
            raise bad_request(
                f"{name!r} is no interface name", where=_BINDINGS, why="1 to 15 characters, no / : or blank"
            )
        netns = said.get("netns", "")
        if netns and not netns.startswith(("/run/netns/", "/var/run/netns/", "/proc/")):
            raise bad_request(
                f"netns {netns!r} can't be used",
                where=_BINDINGS,
                next_step="name a file below /run/netns/, or /proc/<pid>/ns/net",
            )
        if ".." in netns.split("/"):
            raise bad_request(f"netns {netns!r} can't be used", where=_BINDINGS)
        return said

    def _parts(self, said: Mapping[str, str], index: int) -> tuple[Obj, Obj]:
        node = said.get("host_id", "")
        metadata: Obj = {
            "labels": {LABEL_NODE: node} if node else {},
            "annotations": {ANNOTATION_NETNS: said.get("netns", "")},
        }
        return metadata, {"node": node, "interface": said.get("vif_name") or f"eth{index}"}

    def _refuse_new_network(self, entry: Entry, ask: Ask) -> None:
        wanted = only_ref(ask.refs, "virtual_network_refs", kinds.INTERFACE)
        if "virtual_network_refs" not in ask.refs:
            return
        current = entry.refs_of(kinds.NETWORK)
        if wanted is None or not current or wanted["uuid"] != current[0].uuid:
            raise conflict(
                "the network of an interface can't be changed",
                where=entry.label,
                next_step="delete the interface and create it again",
            )

    def _refuse_used_mac(self, network: str, mac: str) -> None:
        for vmi in self._view.objects(VIRTUAL_MACHINE_INTERFACES).values():
            spec = section(vmi, "spec")
            if (spec.get("network"), spec.get("mac")) == (network, mac):
                raise conflict(
                    f"the MAC address {mac} is in use",
                    why=f"{namespace_of(vmi)}/{name_of(vmi)} has it in the same network",
                    next_step="give another, or none",
                )


def _machine(ask: Ask, catalog: Catalog) -> Entry | None:
    ref = only_ref(ask.refs, "virtual_machine_refs", kinds.INTERFACE)
    machine = catalog.get(ref["uuid"]) if ref else None
    if machine is not None and machine.fixed:
        raise conflict(
            f"{machine.label} gets no further interface",
            why=machine.fixed,
            next_step="select the network in the pod's annotation k8s.v1.cni.cncf.io/networks",
        )
    return machine


def _next_index(machine: Entry | None, catalog: Catalog) -> int:
    # Index 0 is the cluster's default network, which a workload without Kubernetes is not in.
    if machine is None:
        return 1
    taken = {
        int(section(entry.source or {}, "spec").get("index") or 0)
        for entry, _ in catalog.referrers(machine.uuid)
        if entry.kind == kinds.INTERFACE
    }
    return next(index for index in range(1, len(taken) + 2) if index not in taken)


def _pairs(value: object) -> dict[str, str]:
    listed = (value or {}).get("key_value_pair") or [] if isinstance(value, dict | None) else None
    if not isinstance(listed, list) or not all(isinstance(item, dict) and "key" in item for item in listed):
        raise bad_request(f"{_BINDINGS} is no list of keys and values", where=kinds.INTERFACE)
    return {str(item["key"]): str(item.get("value") or "") for item in listed}


def _mac(value: object) -> str:
    listed: Any = value.get("mac_address") if isinstance(value, dict) else None
    if not listed:
        return ""
    mac = str(listed[0]).lower() if isinstance(listed, list) else ""
    if (
        not isinstance(listed, list)
        or len(listed) > 1
        or not _MAC.fullmatch(mac)
        or int(mac[:2], 16) & 1
        or mac == "00:00:00:00:00:00"
    ):
        raise bad_request(
            f"{listed!r} is not one unicast MAC address",
            where=_MACS,
            next_step='write ["02:00:00:00:00:01"], or leave it out',
        )
    return mac


def _mac_of(identity: str) -> str:
    """``02:`` and the first five bytes of the UUID, as the original makes it."""
    return "02:" + uuid.UUID(identity).bytes[:5].hex(":")


def _with_groups(notes: Notes, ask: Ask) -> Notes:
    if "security_group_refs" not in ask.refs:
        return notes
    names = [":".join(ref["to"]) for ref in ask.refs["security_group_refs"]]
    return replace(notes, references={**notes.references, "security_groups": names})


def _kept(ask: Ask) -> Obj:
    return {name: value for name, value in ask.kept.items() if name != _BINDINGS}


def _port_security(ask: Ask) -> Obj:
    """What the node agent must know of it, where the request says anything."""
    said = ask.kept.get("port_security_enabled")
    return {} if said is None else {"portSecurity": bool(said)}


def _merged_metadata(found: Obj, added: Obj) -> Obj:
    metadata = dict(found["metadata"])
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != LABEL_NODE}
    metadata["labels"] = labels | added["labels"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **added["annotations"]}
    return metadata
