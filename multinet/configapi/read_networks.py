"""VirtualNetwork objects as entries: subnets become links to IPAMs, the spec becomes properties."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from multinet.configapi import kinds
from multinet.configapi.entries import Entry, FqName, Ref
from multinet.configapi.known import Known
from multinet.configapi.notes import Notes
from multinet.configapi.read_places import DEFAULT_IPAM, created_of, implied_uuid
from multinet.configapi.view import View
from multinet.errors import InputError
from multinet.kube.resources import VIRTUAL_NETWORKS
from multinet.model.networks import ORIGIN_CLUSTER, ORIGIN_NAD, Subnet, VirtualNetwork
from multinet.model.objects import Obj, name_of, uid_of


def networks(view: View, known: Known[VirtualNetwork | None]) -> dict[str, tuple[Obj, VirtualNetwork]]:
    """The readable networks by object name, oldest first so that it counts among equals."""
    found: dict[str, tuple[Obj, VirtualNetwork]] = {}
    store = view.objects(VIRTUAL_NETWORKS)
    for vn in sorted(store.values(), key=lambda vn: (created_of(vn), name_of(vn))):
        network = known.made_of(name_of(vn), vn, None, partial(_readable, vn))
        if network is not None:
            found[name_of(vn)] = (vn, network)
    known.forget_others(store)
    return found


def _readable(vn: Obj) -> VirtualNetwork | None:
    try:
        return VirtualNetwork.from_object(vn)
    except InputError:
        # Its Ready condition says why; it has no usable name to be known by here.
        return None


def network_uuid(vn: Obj) -> str:
    """The network's UUID: the one it was given, else its object's."""
    return Notes.of(vn).uuid or uid_of(vn)


def ipam_of(network: VirtualNetwork, notes: Notes, subnet: Subnet, cluster: str) -> FqName:
    """The IPAM through which a network has a subnet, named as Contrail names it."""
    said = notes.subnets.get(str(subnet.cidr), {}).get("ipam")
    if isinstance(said, list) and len(said) == 3:
        return tuple(map(str, said))
    domain, project, name = network.fq_name
    if network.origin == ORIGIN_CLUSTER:
        return (domain, project, f"{cluster}-pod-ipam")
    if network.origin == ORIGIN_NAD:
        return (domain, project, f"{name.removesuffix('-pod-network')}-pod-ipam")
    return DEFAULT_IPAM


def subnet_uuid(vn: Obj, notes: Notes, subnet: Subnet) -> str:
    """The subnet's UUID: the one it was given, else derived from the network's."""
    said = notes.subnets.get(str(subnet.cidr), {}).get("subnet_uuid")
    return str(said) if said else implied_uuid("subnet", (network_uuid(vn), str(subnet.cidr)))


def entries(
    found: dict[str, tuple[Obj, VirtualNetwork]],
    projects: dict[FqName, str],
    ipams: dict[FqName, str],
    cluster: str,
    known: Known[Entry],
) -> Iterator[Entry]:
    """Networks as entries; ``projects`` and ``ipams`` are UUIDs by fq name."""

    def make(vn: Obj, network: VirtualNetwork) -> Entry:
        notes = Notes.of(vn)
        return Entry(
            kinds.NETWORK,
            network_uuid(vn),
            network.fq_name,
            kinds.PROJECT,
            projects.get(network.fq_name[:2], ""),
            _properties(network, notes),
            tuple(_ipam_refs(vn, network, notes, ipams, cluster)),
            source=vn,
            created=created_of(vn),
            relaxed=notes.relaxed,
        )

    for name, (vn, network) in found.items():
        yield known.made_of(name, vn, None, partial(make, vn, network))
    known.forget_others(found)


def _properties(network: VirtualNetwork, notes: Notes) -> Obj:
    details: Obj = {"forwarding_mode": network.forwarding_mode}
    if notes.properties.get("vxlan_network_identifier"):
        details["vxlan_network_identifier"] = notes.properties["vxlan_network_identifier"]
    made: Obj = {
        "display_name": network.fq_name[-1],
        "address_allocation_mode": "user-defined-subnet-only",
        "fabric_snat": network.fabric_snat,
        "port_security_enabled": True,
        "is_shared": False,
        "router_external": False,
    }
    if network.vni:
        made["virtual_network_network_id"] = network.vni
    kept = {name: value for name, value in notes.properties.items() if name != "vxlan_network_identifier"}
    return {**made, **kept, "virtual_network_properties": details}


def _ipam_refs(
    vn: Obj, network: VirtualNetwork, notes: Notes, ipams: dict[FqName, str], cluster: str
) -> Iterator[Ref]:
    by_ipam: dict[FqName, list[Obj]] = {}
    for subnet in network.subnets:
        said = notes.subnets.get(str(subnet.cidr), {})
        shown: Obj = {
            "subnet": {
                "ip_prefix": str(subnet.cidr.network_address),
                "ip_prefix_len": subnet.cidr.prefixlen,
            },
            "subnet_uuid": subnet_uuid(vn, notes, subnet),
            "subnet_name": said.get("subnet_name") or str(subnet.cidr),
            "enable_dhcp": said.get("enable_dhcp", True),
            "addr_from_start": False,
            "allocation_pools": [],
            "dns_nameservers": [],
            "alloc_unit": 1,
        }
        if subnet.gateway is not None:
            shown["default_gateway"] = str(subnet.gateway)
        if subnet.dns is not None:
            shown["dns_server_address"] = str(subnet.dns)
        by_ipam.setdefault(ipam_of(network, notes, subnet, cluster), []).append(shown)
    for ipam in notes.references.get("ipams", ()):
        by_ipam.setdefault(tuple(ipam.split(":")), [])
    for fq_name, blocks in by_ipam.items():
        yield Ref(kinds.IPAM, ipams.get(fq_name, ""), fq_name, {"ipam_subnets": blocks})
