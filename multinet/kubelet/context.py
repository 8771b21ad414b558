"""What all pods of a node share: its API client, its network, its timing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multinet.cni.runtime import Runtime
from multinet.kube.backoff import Backoff
from multinet.kube.client import Client
from multinet.kube.recorder import EventRecorder
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.network import NodeNetwork
from multinet.kubelet.references import References
from multinet.kubelet.resolver import NO_RESOLVER, Resolver
from multinet.kubelet.sandbox import SandboxStore


@dataclass(frozen=True, slots=True)
class Timing:
    """Back-offs. A real kubelet's are tens of seconds; a lab's user is waiting."""

    sandbox: Backoff
    teardown: Backoff
    restart: Backoff
    api: Backoff
    # A container that ran this long starts again without back-off.
    restart_reset_s: float = 60.0
    # A pod that runs within this time needs no "ContainerCreating" status before.
    pending_status_s: float = 0.15

    @classmethod
    def default(cls) -> Timing:
        """The values used on a node."""
        return cls(
            sandbox=Backoff(first_s=0.3, cap_s=5.0),
            teardown=Backoff(first_s=0.3, cap_s=10.0),
            restart=Backoff(first_s=1.0, cap_s=30.0),
            api=Backoff(first_s=0.1, cap_s=5.0),
        )


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Everything a pod's worker needs of its node. ``pods_dir`` holds the containers' files."""

    node: str
    node_ip: str
    client: Client
    recorder: EventRecorder
    runtime: Runtime
    network: NodeNetwork
    sandboxes: SandboxStore
    launcher: Launcher
    references: References
    pods_dir: Path
    timing: Timing
    node_ip6: str = ""
    resolver: Resolver = NO_RESOLVER

    @property
    def node_ips(self) -> tuple[str, ...]:
        """The node's own addresses, IPv4 first."""
        return tuple(filter(None, (self.node_ip, self.node_ip6)))
