"""``--target multus-lab:PATH``: Multus' thin plugin on a lab's nodes, with plugins bridge and host-local.

Nothing of it is part of this project: ``PATH`` is its executable, built or installed beside, and the others
are those of this machine (Debian's containernetworking-plugins). Each node has its own bridge for each
network, so nodes are not joined, and each gives out all of a network's addresses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from conformance.labtarget import LabTarget
from conformance.profiles import Feature, Profile
from conformance.target import CannotProvideError, Claim, Facts, Network
from conformance.targets import multus
from multinet.errors import InputError
from multinet.model.objects import Obj
from topology.podnetwork import STATE_DIR, PodNetwork
from topology.roles import Paths

_NODES = 3
_VERSION = "1.0.0"
_FEATURES = frozenset({Feature.STATUS, Feature.IPS, Feature.MAC, Feature.INTERFACE, Feature.DUAL_STACK})
_DIGITS = 8


def make(argument: str) -> MultusLabTarget:
    """``argument`` is the path of the executable."""
    found = multus.make(argument)
    if isinstance(found, multus.ThickMultus):
        hint = "--target multus-lab:/opt/cni/bin/multus, say"
        raise InputError("a lab's nodes run the thin plugin only", where=argument, next_step=hint)
    return MultusLabTarget(found)


class MultusLabTarget(LabTarget):
    """A lab whose pod network is Multus."""

    def __init__(self, plugin: multus.ThinMultus) -> None:
        super().__init__()
        self._binary = plugin.binary
        self.claim = Claim(
            plugin.claim.implementation,
            frozenset({Profile.CORE, Profile.STATUS}),
            _FEATURES,
            mode="thin, bridge",
        )

    def start(self, folder: Path) -> Facts:
        """Start the lab."""
        paths = Paths(folder)
        default = _bridge("default-net", "10.244.$(NODE_NUMBER).0/24")
        plugin = {
            "type": self._binary.name,
            "kubeconfig": str(paths.kubeconfig),
            "cniDir": str(STATE_DIR / "multus"),
            "delegates": [{**default, "isGateway": True}],
        }
        network = PodNetwork("multus", _VERSION, (plugin,), (self._binary.parent,))
        return self._lab.start(folder, nodes=_NODES, pod_network=network)

    def nad(self, network: Network) -> Obj:
        """A bridge of its own for each NAD."""
        if network.addressless or network.same_as is not None or network.without_config:
            raise CannotProvideError("a network here is a bridge with subnets")
        config = _bridge(f"{network.namespace}-{network.name}", *network.subnets)
        config["capabilities"] = {"ips": True, "mac": True}
        return {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": network.name, "namespace": network.namespace},
            "spec": {"config": json.dumps(config)},
        }

    def broken_default(self) -> Mapping[str, str]:
        """The key that Multus has for it."""
        return {"v1.multus-cni.io/default-network": "default/missing"}

    def take_down(self, node: str) -> None:
        """A thin plugin does not run."""
        raise CannotProvideError("a thin plugin has nothing that runs on a node", where=node)

    bring_up = take_down

    def restart_control(self) -> None:
        """The same."""
        raise CannotProvideError("a thin plugin has nothing that runs")


def _bridge(name: str, *subnets: str) -> Obj:
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return {
        "cniVersion": _VERSION,
        "name": name,
        "type": "bridge",
        "bridge": f"mb-{digest}",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}] for subnet in subnets]},
    }
