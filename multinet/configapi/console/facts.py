"""What the pages show, gathered from the view: networks with their users, pods with their interfaces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from multinet.configapi import kinds
from multinet.configapi.entries import Catalog, Entry
from multinet.configapi.read_networks import network_uuid
from multinet.configapi.view import View
from multinet.errors import InputError
from multinet.kube.resources import (
    INSTANCE_IPS,
    NADS,
    NODES,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model import conditions
from multinet.model import nad as nads
from multinet.model.attachments import Interface
from multinet.model.networks import ORIGIN_CLUSTER, ORIGIN_NAD, VirtualNetwork
from multinet.model.objects import ANNOTATION_NAD, Obj, annotations_of, join_key, key_of, name_of, section

_ORIGINS = {ORIGIN_NAD: "made of a NAD", ORIGIN_CLUSTER: "the cluster's default network"}


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """One line of the list of networks, and the head of a network's page."""

    entry: Entry
    network: VirtualNetwork
    interfaces: int
    addresses: int
    usable: int

    @property
    def origin(self) -> str:
        """Who made it, in words."""
        return _ORIGINS.get(self.network.origin, "made by hand or through the config API")

    @property
    def state(self) -> str:
        """``ready``, ``not ready`` or ``waiting`` (for the controller)."""
        ready = self.network.ready
        if ready is None:
            return "waiting"
        return "ready" if ready.is_true else "not ready"


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """One interface of a pod (or of a workload without Kubernetes) with its network."""

    interface: Interface
    owner: str
    network: Entry | None
    label: str

    @property
    def counted_as(self) -> str:
        """The key of its counters (:mod:`multinet.configapi.console.counters`)."""
        return f"{self.interface.vni}/{self.interface.mac}"

    @property
    def addresses(self) -> str:
        """The addresses with prefix lengths."""
        return ", ".join(address.cidr for address in self.interface.addresses) or "none yet"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod, or one workload without Kubernetes, with its interfaces in order."""

    name: str
    node: str
    phase: str
    interfaces: tuple[InterfaceFacts, ...]
    is_pod: bool


def networks(view: View, catalog: Catalog) -> list[NetworkFacts]:
    """All networks by name."""
    interfaces: dict[str, int] = {}
    for vmi in view.objects(VIRTUAL_MACHINE_INTERFACES).values():
        name = str(section(vmi, "spec").get("network"))
        interfaces[name] = interfaces.get(name, 0) + 1
    addresses: dict[str, int] = {}
    for iip in view.objects(INSTANCE_IPS).values():
        name = str(section(iip, "spec").get("network"))
        addresses[name] = addresses.get(name, 0) + 1
    found: list[NetworkFacts] = []
    for entry in catalog.of_kind(kinds.NETWORK):
        assert entry.source is not None
        network = VirtualNetwork.from_object(entry.source)
        usable = sum(subnet.usable for subnet in network.subnets)
        name = network.name
        found.append(NetworkFacts(entry, network, interfaces.get(name, 0), addresses.get(name, 0), usable))
    return sorted(found, key=lambda facts: facts.entry.fq_name)


def network(view: View, catalog: Catalog, entry: Entry) -> NetworkFacts:
    """One network."""
    return next(facts for facts in networks(view, catalog) if facts.entry.uuid == entry.uuid)


def nads_of(view: View, facts: NetworkFacts) -> list[tuple[str, str]]:
    """NADs that made a network or map to it: name, and which of both."""
    found: list[tuple[str, str]] = []
    made_of = annotations_of(facts.entry.source or {}).get(ANNOTATION_NAD)
    for nad in view.objects(NADS).values():
        try:
            intent = nads.parse(nad, cluster=view.cluster)
        except InputError:
            continue
        # One that asks to make a network of this name, and did not, is refused: it has nothing to do with it.
        if intent.kind == "create" and key_of(nad) == made_of:
            found.append((key_of(nad), "made it"))
        elif intent.kind == "map" and intent.target == facts.network.fq_name:
            found.append((key_of(nad), "maps to it"))
    return sorted(found)


def interfaces(view: View, catalog: Catalog) -> list[InterfaceFacts]:
    """All interfaces by owner and index."""
    by_object: dict[str, Entry] = {}
    for vn in view.objects(VIRTUAL_NETWORKS).values():
        found = catalog.get(network_uuid(vn))
        if found is not None:
            by_object[name_of(vn)] = found
    owners = _workloads(catalog)
    made: list[InterfaceFacts] = []
    for vmi in view.objects(VIRTUAL_MACHINE_INTERFACES).values():
        interface = Interface.from_object(vmi)
        owner = interface.pod.key if interface.pod.name else owners.get(key_of(vmi), name_of(vmi))
        network = by_object.get(interface.network)
        label = network.fq_name[-1] if network else interface.network
        made.append(InterfaceFacts(interface, owner, network, label))
    return sorted(made, key=lambda facts: (facts.owner, facts.interface.index))


def pods(view: View, catalog: Catalog) -> list[PodFacts]:
    """All pods and workloads by name; pods on the host's network have no interfaces of their own."""
    by_owner: dict[str, list[InterfaceFacts]] = {}
    for facts in interfaces(view, catalog):
        by_owner.setdefault(facts.owner, []).append(facts)
    made: list[PodFacts] = []
    for key, pod in view.objects(PODS).items():
        if section(pod, "spec").get("hostNetwork"):
            continue
        held = by_owner.pop(key, [])
        phase = _phase(pod, held)
        node = str(section(pod, "spec").get("nodeName") or "")
        made.append(PodFacts(key, node, phase, tuple(held), is_pod=True))
    for owner, held in by_owner.items():
        node = held[0].interface.node
        is_pod = bool(held[0].interface.pod.name)
        phase = "pod is gone" if is_pod else "workload without Kubernetes"
        made.append(PodFacts(owner, node, phase, tuple(held), is_pod=is_pod))
    return sorted(made, key=lambda facts: facts.name)


def nodes(view: View, found: Iterable[PodFacts]) -> list[str]:
    """All nodes, the ones of the cluster and those which pods name; "" for pods not placed yet."""
    named = {facts.node for facts in found}
    return sorted({name_of(node) for node in view.objects(NODES).values()} | named)


def why_waiting(view: View, key: str) -> str:
    """Why a pod has no interfaces, in the controller's words; empty where it has said nothing."""
    for vm in view.objects(VIRTUAL_MACHINES).values():
        pod = section(vm, "spec").get("pod") or {}
        if join_key(str(pod.get("namespace", "")), str(pod.get("name", ""))) == key:
            resolved = conditions.find(vm, conditions.RESOLVED)
            if resolved is not None and not resolved.is_true:
                return f"{resolved.reason}: {resolved.message}"
    return ""


def _phase(pod: Obj, held: list[InterfaceFacts]) -> str:
    phase = str(section(pod, "status").get("phase") or "Pending")
    if phase == "Pending" and not held and not section(pod, "spec").get("nodeName"):
        return "Pending, not on a node yet"
    return phase


def _workloads(catalog: Catalog) -> dict[str, str]:
    """The names of machines without a pod, by the keys of their interfaces."""
    found: dict[str, str] = {}
    for entry in catalog.of_kind(kinds.INTERFACE):
        machines = entry.refs_of(kinds.MACHINE)
        if entry.source is not None:
            found[key_of(entry.source)] = machines[0].to[-1] if machines else entry.fq_name[-1]
    return found
