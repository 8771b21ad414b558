"""Puts together what an engine sees: the API's objects, and what each node has in kernel and files.

Every engine looks in its own way at its nodes (:class:`NodeView`); what that means is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from conformance.fuzz.seen import Seen, SeenAttachment, SeenInterface, SeenPod
from multinet.kube.resources import (
    INSTANCE_IPS,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
    Resource,
)
from multinet.model.objects import (
    ANNOTATION_NAD,
    ANNOTATION_POD,
    ANNOTATION_STATUS,
    Obj,
    annotations_of,
    key_of,
    name_of,
    section,
    uid_of,
)

#: The kinds of objects that :func:`observe` needs all of.
KINDS = (INSTANCE_IPS, PODS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES, VIRTUAL_NETWORKS)
Objects = Mapping[Resource, Iterable[Obj]]


@dataclass(frozen=True, slots=True)
class Plugged:
    """What a node's kernel has for one sandbox; ``uid`` is its pod's, empty when nobody knows it."""

    uid: str
    pod: str
    interfaces: tuple[SeenInterface, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node from inside. ``cut``: it can't be expected to know anything.

    ``remotes`` has by VNI what is known of members elsewhere, as (MAC, node's address), in the networks
    ``by_address`` as (address, node's address). ``files`` are container IDs.
    """

    name: str
    address: str
    cut: bool
    plugged: tuple[Plugged, ...]
    files: frozenset[str]
    sandboxes: frozenset[str]
    remotes: Mapping[int, frozenset[tuple[str, str]]]
    by_address: frozenset[int] = field(default_factory=frozenset)


def observe(objects: Objects, nodes: Mapping[str, NodeView]) -> Seen:
    """Everything there is."""
    networks = {name_of(vn): vn for vn in objects[VIRTUAL_NETWORKS]}
    names = {name: _name(vn) for name, vn in networks.items()}
    interfaces: dict[str, list[Obj]] = {}
    for vmi in objects[VIRTUAL_MACHINE_INTERFACES]:
        interfaces.setdefault(str(vmi["spec"]["pod"]["uid"]), []).append(vmi["spec"])
    pods = {key_of(pod): pod for pod in objects[PODS]}
    seen = {key: _pod(nodes, pod, interfaces.get(uid_of(pod), []), names) for key, pod in pods.items()}
    return Seen(
        pods=seen,
        networks={
            names[name]: ",".join(item["cidr"] for item in vn["spec"]["subnets"])
            for name, vn in networks.items()
            if ANNOTATION_NAD in annotations_of(vn)
        },
        owners={
            (names.get(iip["spec"]["network"], "?"), str(iip["spec"]["address"])): str(
                annotations_of(iip).get(ANNOTATION_POD, "")
            )
            for iip in objects[INSTANCE_IPS]
        },
        leftovers=tuple(_leftovers(objects, nodes, pods, interfaces)),
        misled=tuple(_misled(nodes, interfaces)),
    )


def _name(vn: Obj) -> str:
    """The NAD's key, the made network's name, or ``default``."""
    made = annotations_of(vn).get(ANNOTATION_NAD)
    if made:
        return made
    last = str(vn["spec"]["fqName"][2])
    return "default" if last.endswith("default-pod-network") else last


def _pod(nodes: Mapping[str, NodeView], pod: Obj, interfaces: list[Obj], names: Mapping[str, str]) -> SeenPod:
    recorded = tuple(
        SeenAttachment(
            nad=spec["nad"],
            network=names.get(spec["network"], spec["network"]),
            interface=spec["interface"],
            mac=spec["mac"],
            ips=tuple(item["address"] for item in spec["addresses"]),
        )
        for spec in sorted(interfaces, key=lambda spec: int(spec["index"]))
    )
    status = section(pod, "status")
    node = nodes.get(str(section(pod, "spec").get("nodeName")))
    return SeenPod(
        key=key_of(pod),
        running=status.get("phase") == "Running",
        recorded=recorded,
        kernel=None if node is None or node.cut else _kernel(node, uid_of(pod)),
        status=annotations_of(pod).get(ANNOTATION_STATUS, ""),
        pod_ips=tuple(item["ip"] for item in status.get("podIPs") or ()),
    )


def _kernel(node: NodeView, uid: str) -> tuple[SeenInterface, ...]:
    return tuple(one for plugged in node.plugged if plugged.uid == uid for one in plugged.interfaces)


def _leftovers(
    objects: Objects,
    nodes: Mapping[str, NodeView],
    pods: Mapping[str, Obj],
    interfaces: Mapping[str, list[Obj]],
) -> Iterator[str]:
    uids = {uid_of(pod) for pod in pods.values()}
    vnis = {int(vn["spec"].get("vni") or 0) for vn in objects[VIRTUAL_NETWORKS]}
    for uid in interfaces.keys() - uids:
        yield f"interfaces of a pod that is gone: {interfaces[uid][0]['pod']}"
    for vm in objects[VIRTUAL_MACHINES]:
        if str(vm["spec"]["pod"]["uid"]) not in uids:
            yield f"VirtualMachine {key_of(vm)} of a pod that is gone"
    for iip in objects[INSTANCE_IPS]:
        owner = str(annotations_of(iip).get(ANNOTATION_POD, ""))
        if owner not in pods:
            yield f"address {name_of(iip)} of {owner or 'nobody'}, which is gone"
    for node in nodes.values():
        if node.cut:
            continue
        for plugged in node.plugged:
            if plugged.uid not in uids:
                yield f"{node.name} has devices of {plugged.pod}, which is gone"
        for vni in sorted(node.remotes.keys() - vnis):
            yield f"{node.name} has devices of VNI {vni}, which is no network's"
        for container in sorted(node.files - node.sandboxes):
            yield f"{node.name} has a state file of the sandbox {container}, which is gone"


def _misled(nodes: Mapping[str, NodeView], interfaces: Mapping[str, list[Obj]]) -> Iterator[str]:
    """Where what a node knows of other nodes' members differs from what there is."""
    for node in nodes.values():
        if node.cut:
            continue
        for vni, known in node.remotes.items():
            there = {
                (what, nodes[spec["node"]].address)
                for specs in interfaces.values()
                for spec in specs
                if spec["vni"] == vni and spec["node"] != node.name and spec["node"] in nodes
                for what in (_addresses(spec) if vni in node.by_address else (spec["mac"],))
            }
            for what, where in sorted(known - there):
                yield f"{node.name} sends frames of VNI {vni} for {what} to {where}, where nobody has it"
            for what, where in sorted(there - known):
                yield f"{node.name} does not know that {what} in VNI {vni} is at {where}"


def _addresses(spec: Obj) -> tuple[str, ...]:
    """Routed networks are IPv4."""
    return tuple(item["address"] for item in spec["addresses"] if ":" not in item["address"])
