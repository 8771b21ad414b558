"""Which processes a lab consists of, with which arguments, and where their files are.

Implementations are named by entry point only ("module:function"); topology imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from multinet.model.networks import DEFAULT_POD_CIDR6, DEFAULT_SERVICE_CIDR6, DNS_SERVICE_ADDRESS
from topology.backend import LabSpec

API_PORT = 6443
CONFIG_API_PORT = 8082
CONTROL_PLANE = "cp"

#: Role name -> entry point. A backend takes another mapping to run another implementation (or a test's).
ENTRIES: Mapping[str, str] = MappingProxyType(
    {
        "apiserver": "multinet.apiserver.main:main",
        "controller": "multinet.controller.main:main",
        "scheduler": "multinet.kubelet.scheduler:main",
        "kubelet": "multinet.kubelet.main:main",
        "vrouter": "multinet.vrouter.main:main",
        "configapi": "multinet.configapi.main:main",
        "workloads": "multinet.workloads.main:main",
        "nameserver": "multinet.nameserver.main:main",
    }
)

#: Roles that single pods don't need. They start when the lab is ready; who uses one waits for it by name:
#: importing and filling the config API takes 0.15 s of the one processor that the agents start on.
LATE = frozenset({"configapi", "workloads", "nameserver"})


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a lab keeps its files: on the lab's private /run, and logs in the run's directory."""

    run_dir: Path
    lab: Path = Path("/run/multinet/lab")
    nodes: Path = Path("/run/multinet/nodes")

    @property
    def kubeconfig(self) -> Path:
        """The lab's kubeconfig, written by the API server."""
        return self.lab / "kubeconfig"

    @property
    def hosts(self) -> Path:
        """JSON: ``{host: {"netns": path}}`` of the plain hosts, for whoever has interfaces made in them."""
        return self.lab / "hosts.json"

    @property
    def notify(self) -> Path:
        """Directory of the readiness sockets."""
        return self.lab / "notify"

    def node(self, node: str) -> Path:
        """Root directory of a node's kubelet and agent."""
        return self.nodes / node

    def cni(self, node: str) -> Path:
        """Directory of a node's CNI configuration."""
        return self.node(node) / "cni" / "net.d"

    def log(self, role: str, node: str) -> Path:
        """Log file of a role."""
        return self.run_dir / "logs" / f"{role}-{node}.log"


@dataclass(frozen=True, slots=True)
class Role:
    """One process of a lab. ``id`` is unique in the lab."""

    name: str
    node: str
    entry: str
    argv: tuple[str, ...]

    @property
    def id(self) -> str:
        """``kubelet-node1``."""
        return f"{self.name}-{self.node}"


def control_plane(spec: LabSpec, paths: Paths, address: str, entries: Mapping[str, str]) -> tuple[Role, ...]:
    """The API server (first: all others need it), the controller and the scheduler."""
    kubeconfig = str(paths.kubeconfig)
    pods = ("--pod-cidr6", DEFAULT_POD_CIDR6) if spec.ipv6 else ()
    services = ("--service-cidr6", DEFAULT_SERVICE_CIDR6) if spec.ipv6 else ()
    api = (
        *("--listen", f"0.0.0.0:{API_PORT}", "--advertise", f"https://{address}:{API_PORT}"),
        *("--pki-dir", str(paths.lab / "pki"), "--kubeconfig", kubeconfig),
        *services,
    )
    arguments = {
        "apiserver": api,
        "controller": ("--kubeconfig", kubeconfig, "--dialect", spec.dialect, *pods, *spec.controller),
        "scheduler": ("--kubeconfig", kubeconfig),
    }
    if spec.pod_network is not None:
        del arguments["controller"]
    return tuple(Role(name, CONTROL_PLANE, entries[name], argv) for name, argv in arguments.items())


def late(paths: Paths, address: str, entries: Mapping[str, str]) -> tuple[Role, ...]:
    """The roles of the control plane that start when the lab is ready."""
    common = ("--kubeconfig", str(paths.kubeconfig))
    arguments = {
        "configapi": (*common, "--listen", f"0.0.0.0:{CONFIG_API_PORT}"),
        "workloads": common,
        "nameserver": (*common, "--listen", address),
    }
    return tuple(
        Role(name, CONTROL_PLANE, entries[name], argv) for name, argv in arguments.items() if name in entries
    )


def worker(
    spec: LabSpec, node: str, paths: Paths, address: str, entries: Mapping[str, str]
) -> tuple[Role, ...]:
    """The kubelet and the node agent of one worker node; no agent where the pods' network is not its."""
    root = paths.node(node)
    common = ("--kubeconfig", str(paths.kubeconfig), "--node-name", node, "--node-ip", address)
    arguments = {
        "vrouter": (*common, "--dialect", spec.dialect, "--state-dir", str(root / "agent")),
        "kubelet": (*common, "--root-dir", str(root), "--cluster-dns", DNS_SERVICE_ADDRESS),
    }
    if spec.pod_network is not None:
        del arguments["vrouter"]
        binaries = ":".join(map(str, spec.pod_network.binaries))
        # Nobody carries out services there, so no pod would reach a name server.
        arguments["kubelet"] = (*common, "--root-dir", str(root), "--cni-bin-dir", binaries)
    return tuple(Role(name, node, entries[name], argv) for name, argv in arguments.items())


def preload(entries: Mapping[str, str]) -> tuple[str, ...]:
    """Modules for the zygote to import, the API server's first so that it can start while the rest loads.

    Those of the late roles follow when these are asked for.
    """
    early = [entry for name, entry in entries.items() if name not in LATE]
    return tuple(dict.fromkeys(entry.partition(":")[0] for entry in early))
