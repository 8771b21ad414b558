"""The oracle: what must be attached and what must reach what, from Kubernetes objects alone.

It never reads what the implementation under test made for a pod (VirtualMachineInterface, InstanceIP,
network-status): those are what it is compared with. The rules are the documented ones, by
:mod:`multinet.model`: interface 0 is in the cluster's default network, then one interface per selection, in
order, called ``eth<index>`` unless the selection names it; the MAC follows from pod UID and index.

An attachment is decided once, when the pod is made: editing the annotation of a running pod, or deleting a
NAD in use, changes nothing for it. :class:`Expectations` remembers the decision by pod UID.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from multinet.errors import InputError
from multinet.model import nad, naming, selection
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.networks import L2_L3, L3, VirtualNetwork
from multinet.model.objects import (
    ANNOTATION_SELECTION,
    Obj,
    annotations_of,
    key_of,
    namespace_of,
    section,
    uid_of,
)

FqName = naming.FqName


@dataclass(frozen=True, slots=True)
class ExpectedInterface:
    """One interface a pod must have.

    ``nad`` is empty for the default network; ``network`` is the name of the VirtualNetwork object; ``vni`` is
    0 while the network has none.
    """

    index: int
    interface: str
    mac: str
    network: str
    fq_name: FqName
    nad: str
    vni: int
    forwarding_mode: str
    subnets: tuple[str, ...]

    @property
    def status_name(self) -> str:
        """The name its entry in network-status must have."""
        return self.nad or naming.DEFAULT_NETWORK_STATUS_NAME


@dataclass(frozen=True, slots=True)
class ExpectedPod:
    """What one pod must have; ``problem`` says why it can't be attached at all (it then has no interface)."""

    pod: str
    uid: str
    node: str
    interfaces: tuple[ExpectedInterface, ...]
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        made = asdict(self)
        for item, interface in zip(made["interfaces"], self.interfaces, strict=True):
            item["fq_name"] = list(interface.fq_name)
            item["subnets"] = list(interface.subnets)
            item["status_name"] = interface.status_name
        made["interfaces"] = list(made["interfaces"])
        return made


class Expectations:
    """What every pod must have, kept over a run. Give it the objects whenever they may have changed."""

    def __init__(self, dialect: Dialect = DEFAULT, *, cluster: str = naming.DEFAULT_CLUSTER) -> None:
        self._dialect = dialect
        self._cluster = cluster
        self._decided: dict[str, ExpectedPod] = {}

    def observe(
        self, pods: Iterable[Obj], nads: Iterable[Obj], networks: Iterable[Obj]
    ) -> tuple[ExpectedPod, ...]:
        """The expectation for each pod that is on a node and not ending, sorted by ``namespace/name``.

        A pod that could not be attached so far is judged anew each time, since its NAD may come later.
        """
        definitions = {key_of(item): item for item in nads}
        known = _by_fq_name(networks)
        found: dict[str, ExpectedPod] = {}
        for pod in pods:
            if not _takes_part(pod):
                continue
            decided = self._decided.get(uid_of(pod))
            if decided is None or decided.problem:
                decided = expect_pod(pod, definitions, known, dialect=self._dialect, cluster=self._cluster)
            elif any(item.vni == 0 for item in decided.interfaces):
                decided = _with_vnis(decided, known)
            found[decided.uid] = decided
        self._decided = found
        return tuple(sorted(found.values(), key=lambda item: item.pod))


def expect_pod(
    pod: Obj,
    nads: Mapping[str, Obj],
    networks: Mapping[FqName, VirtualNetwork],
    *,
    dialect: Dialect = DEFAULT,
    cluster: str = naming.DEFAULT_CLUSTER,
) -> ExpectedPod:
    """Decide for one pod. ``nads`` by ``namespace/name``, ``networks`` by fq name."""
    uid, node = uid_of(pod), str(section(pod, "spec").get("nodeName") or "")
    default = networks.get(naming.default_network_fq_name(cluster)) or VirtualNetwork(
        naming.default_network_fq_name(cluster), (), forwarding_mode=L3
    )
    interfaces = [_interface(uid, 0, "", "", default)]
    try:
        text = annotations_of(pod).get(ANNOTATION_SELECTION, "")
        for chosen in selection.parse(text, pod_namespace=namespace_of(pod)):
            network = _network(chosen.nad, nads, networks, cluster)
            if network is None:
                if dialect.skip_unknown_networks:
                    continue
                why = f"NetworkAttachmentDefinition {chosen.nad} or the network it maps to does not exist"
                return ExpectedPod(key_of(pod), uid, node, (), why)
            made = _interface(uid, len(interfaces), chosen.interface, chosen.nad, network, chosen.mac)
            interfaces.append(made)
    except InputError as error:
        return ExpectedPod(key_of(pod), uid, node, (), str(error))
    return ExpectedPod(key_of(pod), uid, node, tuple(interfaces))


def _takes_part(pod: Obj) -> bool:
    spec, phase = section(pod, "spec"), section(pod, "status").get("phase")
    ending = (pod.get("metadata") or {}).get("deletionTimestamp")
    return bool(
        spec.get("nodeName")
        and not spec.get("hostNetwork")
        and not ending
        and phase not in ("Succeeded", "Failed")
    )


def _by_fq_name(networks: Iterable[Obj]) -> dict[FqName, VirtualNetwork]:
    found = (VirtualNetwork.from_object(item) for item in networks)
    return {network.fq_name: network for network in found}


def _network(
    key: str, nads: Mapping[str, Obj], networks: Mapping[FqName, VirtualNetwork], cluster: str
) -> VirtualNetwork | None:
    """The network a NAD stands for; None when there is no such NAD or the network it maps to is not there.

    A network the NAD itself makes need not exist yet: what it will be follows from the NAD.
    """
    definition = nads.get(key)
    if definition is None:
        return None
    intent = nad.parse(definition, cluster=cluster)
    if intent.target is None:
        return None
    if intent.kind == "create":
        made = VirtualNetwork(intent.target, intent.subnets, forwarding_mode=L2_L3, nad=key)
        return networks.get(intent.target, made)
    return networks.get(intent.target)


def _interface(
    uid: str, index: int, name: str, nad_key: str, network: VirtualNetwork, mac: str = ""
) -> ExpectedInterface:
    return ExpectedInterface(
        index=index,
        interface=name or f"eth{index}",
        mac=mac or naming.mac_of(uid, index),
        network=network.name,
        fq_name=network.fq_name,
        nad=nad_key,
        vni=network.vni,
        forwarding_mode=network.forwarding_mode,
        subnets=tuple(str(subnet.cidr) for subnet in network.subnets),
    )


def _with_vnis(pod: ExpectedPod, networks: Mapping[FqName, VirtualNetwork]) -> ExpectedPod:
    """The same decision, with what the networks meanwhile are called and numbered."""
    interfaces = tuple(
        _interface(pod.uid, item.index, item.interface, item.nad, networks[item.fq_name], item.mac)
        if item.fq_name in networks
        else item
        for item in pod.interfaces
    )
    return ExpectedPod(pod.pod, pod.uid, pod.node, interfaces)
