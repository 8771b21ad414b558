"""What a simulated cluster shows of its nodes, to whoever looks again after each step.

Most of what is there is what was there before: what was made of an object is kept as long as the object.
"""

from __future__ import annotations

from conformance.fuzz import observing
from conformance.fuzz.observing import NodeView, Plugged
from conformance.fuzz.seen import Seen, SeenInterface
from conformance.fuzz.simcluster import SimulatedCluster
from conformance.fuzz.simnode import SimulatedNode
from multinet.vrouter.datapath import Attachment, Remote


class Onlooker:
    """Looks at one cluster."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._nodes = [_NodeWatcher(node) for node in cluster.nodes.values()]
        self._last: tuple[object, Seen] | None = None

    def observe(self) -> Seen:
        """Look at everything; a third of all steps change nothing that can be seen."""
        nodes = {each.name: each.look() for each in self._nodes}
        api = self._cluster.api
        now = (api.operations.store.revision, nodes)
        if self._last is None or self._last[0] != now:
            objects = {kind: api.objects(kind) for kind in observing.KINDS}
            self._last = (now, observing.observe(objects, nodes))
        return self._last[1]


class _NodeWatcher:
    def __init__(self, node: SimulatedNode) -> None:
        self.name = node.name
        self._node = node
        self._plugged: dict[str, tuple[Attachment, Plugged]] = {}
        self._remotes: dict[int, tuple[frozenset[Remote], frozenset[tuple[str, str]]]] = {}

    def look(self) -> NodeView:
        """The node as it is now."""
        node, kernel = self._node, self._node.kernel
        self._plugged = {key: self._shown(key, each) for key, each in kernel.there().items()}
        self._remotes = {vni: self._known(vni, kernel.remotes.get(vni, _NONE)) for vni in kernel.networks()}
        return NodeView(
            name=node.name,
            address=node.address,
            cut=node.line.cut,
            plugged=tuple(shown for _, shown in self._plugged.values()),
            files=frozenset(path.stem for path in node.state_dir.glob("*.json")),
            sandboxes=frozenset(sandbox.container_id for sandbox in node.sandboxes.values()),
            remotes={vni: shown for vni, (_, shown) in self._remotes.items()},
        )

    def _shown(self, container_id: str, attachment: Attachment) -> tuple[Attachment, Plugged]:
        known = self._plugged.get(container_id)
        if known is not None and known[0] is attachment:
            return known
        return attachment, _plugged(attachment)

    def _known(
        self, vni: int, remotes: frozenset[Remote]
    ) -> tuple[frozenset[Remote], frozenset[tuple[str, str]]]:
        known = self._remotes.get(vni)
        if known is not None and known[0] is remotes:
            return known
        return remotes, frozenset((remote.mac, remote.node_ip) for remote in remotes)


_NONE: frozenset[Remote] = frozenset()


def _plugged(attachment: Attachment) -> Plugged:
    return Plugged(
        attachment.pod_uid,
        attachment.pod,
        tuple(
            SeenInterface(
                port.wanted.name,
                port.wanted.mac,
                tuple(cidr.partition("/")[0] for cidr in port.wanted.addresses),
            )
            for port in attachment.ports
        ),
    )
