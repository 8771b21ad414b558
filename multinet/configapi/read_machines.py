"""VirtualMachine, VirtualMachineInterface and InstanceIP objects as entries.

Those of pods get the names and annotations which Contrail's kube-manager gives them; a virtual machine of a
pod has the pod's UID as its UUID. Those made here are named as their maker said (see :mod:`notes`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from multinet.configapi import kinds
from multinet.configapi.entries import Entry, FqName, Ref
from multinet.configapi.known import Known
from multinet.configapi.notes import ANNOTATION_NETNS, ANNOTATION_RESERVED, Notes
from multinet.configapi.read_networks import network_uuid, subnet_uuid
from multinet.configapi.read_places import created_of
from multinet.configapi.view import View
from multinet.kube.resources import INSTANCE_IPS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES
from multinet.model.attachments import Interface, PodRef
from multinet.model.naming import DEFAULT_DOMAIN, DEFAULT_NETWORK_STATUS_NAME
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import (
    Obj,
    annotations_of,
    join_key,
    name_of,
    namespace_of,
    section,
    uid_of,
)

Networks = Mapping[str, tuple[Obj, VirtualNetwork]]


def pod_of(o: Obj) -> PodRef | None:
    """The pod an object belongs to; None for a workload without Kubernetes."""
    ref = PodRef.from_spec(section(o, "spec").get("pod") or {})
    return ref if ref.name else None


def machine_uuid(vm: Obj) -> str:
    """A pod's UID for a pod's machine, the given UUID or the object's own for others."""
    pod = pod_of(vm)
    return pod.uid if pod else (Notes.of(vm).uuid or uid_of(vm))


def machine_name(vm: Obj, cluster: str) -> FqName:
    """``<cluster>__<namespace>__<pod>``, or the name it was given."""
    pod = pod_of(vm)
    if pod:
        return (f"{cluster}__{pod.namespace}__{pod.name}",)
    return Notes.of(vm).fq_name or (name_of(vm),)


def machines(view: View) -> Iterator[Entry]:
    """Virtual machines as entries."""
    for vm in view.objects(VIRTUAL_MACHINES).values():
        pod, notes = pod_of(vm), Notes.of(vm)
        fq_name = machine_name(vm, view.cluster)
        properties: Obj = {"display_name": fq_name[-1], "server_type": "container" if pod else "none"}
        if pod:
            properties["annotations"] = _pairs(_pod_facts(pod, view.cluster) | {"k8s_uuid": pod.uid})
        yield Entry(
            kinds.MACHINE,
            machine_uuid(vm),
            fq_name,
            properties=properties | notes.properties,
            source=vm,
            fixed=_fixed(pod),
            created=created_of(vm),
            relaxed=notes.relaxed,
        )


def router_refs(view: View) -> dict[str, list[Ref]]:
    """Which virtual machines are on which node, as references of the virtual routers."""
    found: dict[str, list[Ref]] = {}
    for vm in view.objects(VIRTUAL_MACHINES).values():
        node = str(section(vm, "spec").get("node") or "")
        if node:
            ref = Ref(kinds.MACHINE, machine_uuid(vm), machine_name(vm, view.cluster))
            found.setdefault(node, []).append(ref)
    return found


def interface_uuid(vmi: Obj) -> str:
    """The given UUID, else the object's own."""
    return Notes.of(vmi).uuid or uid_of(vmi)


def interface_name(vmi: Obj, cluster: str) -> FqName:
    """``domain:project:<pod>__<uuid>``, or the name it was given."""
    pod = pod_of(vmi)
    if pod:
        return (DEFAULT_DOMAIN, f"{cluster}-{pod.namespace}", f"{pod.name}__{interface_uuid(vmi)}")
    own = (DEFAULT_DOMAIN, f"{cluster}-{namespace_of(vmi)}", name_of(vmi))
    return Notes.of(vmi).fq_name or own


@dataclass(frozen=True, slots=True)
class Places:
    """What interfaces refer to: projects by fq name, security groups by their project's UUID and by name."""

    networks: Networks
    projects: Mapping[FqName, Entry]
    groups: Mapping[str, Entry]
    groups_by_name: Mapping[FqName, Entry]
    cluster: str


def interfaces(view: View, places: Places, known: Known[Entry]) -> Iterator[Entry]:
    """Interfaces as entries."""
    vms = {machine_uuid(vm): vm for vm in view.objects(VIRTUAL_MACHINES).values()}
    store = view.objects(VIRTUAL_MACHINE_INTERFACES)
    for key, vmi in store.items():
        vm = _machine_of(vmi, vms)
        yield known.made_of(key, vmi, vm, partial(_interface, vmi, vm, places))
    known.forget_others(store)


def addresses(view: View, places: Places, known: Known[Entry]) -> Iterator[Entry]:
    """InstanceIPs as entries; those that only reserve an address (ip-alloc) are none."""
    vmis = view.objects(VIRTUAL_MACHINE_INTERFACES)
    store = view.objects(INSTANCE_IPS)
    for key, iip in store.items():
        if ANNOTATION_RESERVED in annotations_of(iip):
            continue
        owner = section(iip, "spec").get("interface") or {}
        vmi = vmis.get(join_key(str(owner.get("namespace", "")), str(owner.get("name", ""))))
        yield known.made_of(key, iip, vmi, partial(_address, iip, vmi, places))
    known.forget_others(store)


def _interface(vmi: Obj, vm: Obj | None, places: Places) -> Entry:
    pod, notes = pod_of(vmi), Notes.of(vmi)
    fq_name = interface_name(vmi, places.cluster)
    project = places.projects.get(fq_name[:2])
    parent = project.uuid if project else ""
    refs: list[Ref] = []
    found = places.networks.get(str(section(vmi, "spec").get("network", "")))
    if found:
        refs.append(Ref(kinds.NETWORK, network_uuid(found[0]), found[1].fq_name))
    if vm is not None:
        refs.append(Ref(kinds.MACHINE, machine_uuid(vm), machine_name(vm, places.cluster)))
    groups = [places.groups.get(parent)] if pod else []
    for text in notes.references.get("security_groups", ()):
        groups.append(places.groups_by_name.get(tuple(text.split(":"))))
    refs += [Ref(kinds.SECURITY_GROUP, group.uuid, group.fq_name) for group in groups if group]
    return Entry(
        kinds.INTERFACE,
        interface_uuid(vmi),
        fq_name,
        kinds.PROJECT,
        parent,
        _interface_properties(vmi, pod, notes, places.cluster),
        tuple(refs),
        source=vmi,
        fixed=_fixed(pod),
        created=created_of(vmi),
        relaxed=notes.relaxed,
    )


def _address(iip: Obj, vmi: Obj | None, places: Places) -> Entry:
    notes, spec = Notes.of(iip), section(iip, "spec")
    address = str(spec.get("address", ""))
    refs: list[Ref] = []
    properties: Obj = {
        "instance_ip_address": address,
        "instance_ip_family": spec.get("family") or ("v6" if ":" in address else "v4"),
    }
    found = places.networks.get(str(spec.get("network", "")))
    if found:
        refs.append(Ref(kinds.NETWORK, network_uuid(found[0]), found[1].fq_name))
        subnet = _subnet_of(found, address)
        if subnet:
            properties["subnet_uuid"] = subnet
    if vmi is not None:
        refs.append(Ref(kinds.INTERFACE, interface_uuid(vmi), interface_name(vmi, places.cluster)))
    pod = pod_of(vmi) if vmi is not None else None
    fq_name = notes.fq_name or ((f"{pod.name}__{uid_of(iip)}",) if pod else (name_of(iip),))
    return Entry(
        kinds.ADDRESS,
        notes.uuid or uid_of(iip),
        fq_name,
        properties=properties | {"display_name": fq_name[-1]} | notes.properties,
        refs=tuple(refs),
        source=iip,
        fixed=_fixed(pod) if pod else ("it is a pod's" if spec.get("podUID") else ""),
        created=created_of(iip),
        relaxed=notes.relaxed,
    )


def _machine_of(vmi: Obj, vms: Mapping[str, Obj]) -> Obj | None:
    """A pod's interface belongs to the machine of the pod's UID, another to the one its maker named."""
    pod = pod_of(vmi)
    named = [pod.uid] if pod else Notes.of(vmi).references.get("machines", [])
    return next((vms[uuid] for uuid in named if uuid in vms), None)


def _interface_properties(vmi: Obj, pod: PodRef | None, notes: Notes, cluster: str) -> Obj:
    interface = Interface.from_object(vmi)
    made: Obj = {
        "display_name": interface_name(vmi, cluster)[-1],
        "port_security_enabled": interface.port_security,
        "virtual_machine_interface_mac_addresses": {"mac_address": [interface.mac] if interface.mac else []},
    }
    bindings = {"host_id": interface.node} if interface.node else {}
    if pod:
        facts = _pod_facts(pod, cluster)
        facts |= {"index": f"{interface.index}/{interface.of}", "interface": interface.interface}
        facts["network"] = interface.nad or DEFAULT_NETWORK_STATUS_NAME
        made["annotations"] = _pairs(facts)
    else:
        bindings |= {"vif_name": interface.interface, "netns": annotations_of(vmi).get(ANNOTATION_NETNS, "")}
    if bindings:
        made["virtual_machine_interface_bindings"] = _pairs(
            {name: value for name, value in bindings.items() if value}
        )
    return made | notes.properties


def _subnet_of(found: tuple[Obj, VirtualNetwork], address: str) -> str:
    try:
        subnet = found[1].subnet_of(ipaddress.ip_address(address))
    except ValueError:
        return ""
    return subnet_uuid(found[0], Notes.of(found[0]), subnet) if subnet else ""


def _pod_facts(pod: PodRef, cluster: str) -> dict[str, str]:
    project = f"{cluster}-{pod.namespace}"
    facts = {"kind": "Pod", "name": pod.name, "namespace": pod.namespace, "owner": "k8s"}
    return facts | {"cluster": cluster, "project": project}


def _pairs(facts: Mapping[str, str]) -> Obj:
    return {"key_value_pair": [{"key": key, "value": value} for key, value in facts.items()]}


def _fixed(pod: PodRef | None) -> str:
    return f"it belongs to the pod {pod.key}: delete the pod with kubectl" if pod else ""
