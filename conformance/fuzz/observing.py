"""What a simulated cluster shows: objects of the API, the nodes' kernels and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conformance.fuzz.seen import Seen, SeenAttachment, SeenInterface, SeenPod
from conformance.fuzz.simcluster import SimulatedCluster
from conformance.fuzz.simnode import SimulatedNode
from multinet.kube.resources import (
    INSTANCE_IPS,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
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


def observe(cluster: SimulatedCluster) -> Seen:
    """Everything there is."""
    networks = {name_of(vn): vn for vn in cluster.api.objects(VIRTUAL_NETWORKS)}
    names = {name: _name(vn) for name, vn in networks.items()}
    interfaces: dict[str, list[Obj]] = {}
    for vmi in cluster.api.objects(VIRTUAL_MACHINE_INTERFACES):
        interfaces.setdefault(str(vmi["spec"]["pod"]["uid"]), []).append(vmi["spec"])
    pods = {key_of(pod): pod for pod in cluster.api.objects(PODS)}
    seen = {key: _pod(cluster, pod, interfaces.get(uid_of(pod), []), names) for key, pod in pods.items()}
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
            for iip in cluster.api.objects(INSTANCE_IPS)
        },
        leftovers=tuple(_leftovers(cluster, {uid_of(pod) for pod in pods.values()}, interfaces)),
        misled=tuple(_misled(cluster, interfaces)),
    )


def _name(vn: Obj) -> str:
    """The NAD's key, the made network's name, or ``default``."""
    made = annotations_of(vn).get(ANNOTATION_NAD)
    if made:
        return made
    last = str(vn["spec"]["fqName"][2])
    return "default" if last.endswith("default-pod-network") else last


def _pod(cluster: SimulatedCluster, pod: Obj, interfaces: list[Obj], names: Mapping[str, str]) -> SeenPod:
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
    node = cluster.nodes.get(str(section(pod, "spec").get("nodeName")))
    return SeenPod(
        key=key_of(pod),
        running=status.get("phase") == "Running",
        recorded=recorded,
        kernel=None if node is None or node.line.cut else _kernel(node, uid_of(pod)),
        status=annotations_of(pod).get(ANNOTATION_STATUS, ""),
        pod_ips=tuple(item["ip"] for item in status.get("podIPs") or ()),
    )


def _kernel(node: SimulatedNode, uid: str) -> tuple[SeenInterface, ...]:
    return tuple(
        SeenInterface(
            port.wanted.name,
            port.wanted.mac,
            tuple(cidr.partition("/")[0] for cidr in port.wanted.addresses),
        )
        for attachment in node.kernel.plugged.values()
        if attachment.pod_uid == uid
        for port in attachment.ports
    )


def _leftovers(
    cluster: SimulatedCluster, uids: set[str], interfaces: Mapping[str, list[Obj]]
) -> Iterator[str]:
    for uid in interfaces.keys() - uids:
        yield f"interfaces of a pod that is gone: {interfaces[uid][0]['pod']}"
    for vm in cluster.api.objects(VIRTUAL_MACHINES):
        if str(vm["spec"]["pod"]["uid"]) not in uids:
            yield f"VirtualMachine {key_of(vm)} of a pod that is gone"
    live = {key_of(pod) for pod in cluster.api.objects(PODS)}
    for iip in cluster.api.objects(INSTANCE_IPS):
        owner = str(annotations_of(iip).get(ANNOTATION_POD, ""))
        if owner not in live:
            yield f"address {name_of(iip)} of {owner or 'nobody'}, which is gone"
    for node in cluster.nodes.values():
        if node.line.cut:
            continue
        for attachment in node.kernel.plugged.values():
            if attachment.pod_uid not in uids:
                yield f"{node.name} has devices of {attachment.pod}, which is gone"
        known = {sandbox.container_id for sandbox in node.sandboxes.values()}
        for path in sorted(node.state_dir.glob("*.json")):
            if path.stem not in known:
                yield f"{node.name} has the file {path.name} of a sandbox that is gone"


def _misled(cluster: SimulatedCluster, interfaces: Mapping[str, list[Obj]]) -> Iterator[str]:
    """Where what a node knows of other nodes' members differs from what there is."""
    for node in cluster.nodes.values():
        if node.line.cut:
            continue
        for vni in node.kernel.networks():
            there = {
                (spec["mac"], cluster.nodes[spec["node"]].address)
                for specs in interfaces.values()
                for spec in specs
                if spec["vni"] == vni and spec["node"] != node.name and spec["node"] in cluster.nodes
            }
            known = {(remote.mac, remote.node_ip) for remote in node.kernel.remotes.get(vni, ())}
            for mac, where in sorted(known - there):
                yield f"{node.name} sends frames of VNI {vni} for {mac} to {where}, where nobody has it"
            for mac, where in sorted(there - known):
                yield f"{node.name} does not know that {mac} in VNI {vni} is at {where}"
