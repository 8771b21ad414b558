"""What a simulated cluster shows of its nodes."""

from __future__ import annotations

from conformance.fuzz import observing
from conformance.fuzz.observing import NodeView, Plugged
from conformance.fuzz.seen import Seen, SeenInterface
from conformance.fuzz.simcluster import SimulatedCluster
from conformance.fuzz.simnode import SimulatedNode


def observe(cluster: SimulatedCluster) -> Seen:
    """Look at everything; a third of all steps change nothing that can be seen."""
    nodes = {name: _look(node) for name, node in cluster.nodes.items()}
    now = (cluster.api.operations.store.revision, nodes)
    if cluster.looked is None or cluster.looked[0] != now:
        objects = {kind: cluster.api.objects(kind) for kind in observing.KINDS}
        cluster.looked = (now, observing.observe(objects, nodes))
    return cluster.looked[1]


def _look(node: SimulatedNode) -> NodeView:
    kernel = node.kernel
    return NodeView(
        name=node.name,
        address=node.address,
        cut=node.line.cut,
        plugged=tuple(
            Plugged(
                each.pod_uid,
                each.pod,
                tuple(
                    SeenInterface(
                        port.wanted.name,
                        port.wanted.mac,
                        tuple(cidr.partition("/")[0] for cidr in port.wanted.addresses),
                    )
                    for port in each.ports
                ),
            )
            for each in kernel.there().values()
        ),
        files=frozenset(path.stem for path in node.state_dir.glob("*.json")),
        sandboxes=frozenset(sandbox.container_id for sandbox in node.sandboxes.values()),
        remotes={
            vni: frozenset((remote.mac, remote.node_ip) for remote in kernel.remotes.get(vni, ()))
            for vni in kernel.networks()
        },
    )
