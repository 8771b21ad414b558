"""The lab on this machine: Mininet nodes, our Kubernetes API and the implementation under test on them.

Order of a start, with what overlaps:

1. fork the zygote, which imports the roles' modules, the API server's first;
2. meanwhile import Mininet and build the fabric;
3. API server on ``cp``; when it says READY, everything else at once;
4. when all said READY, see in the API that each node is Ready;
5. the lab is ready; the roles that pods don't need (``roles.LATE``) start now, and nobody waits here.

Call it in a process that has gone through :func:`topology.isolation.enter`: nothing here cleans up what the
end of those namespaces takes away anyway.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from multinet.errors import EnvironmentLackError, LabError, MultinetError
from topology import roles
from topology.backend import EventSink, LabSpec
from topology.mininet_lab import MininetLab
from topology.podnetwork import STATE_DIR, PodNetwork
from topology.readiness import wait_nodes_ready
from topology.supervisor import Supervisor
from topology.zygote import Zygote

NodesReady = Callable[[Path, tuple[str, ...], float], None]
_API_LIMIT_S = 20.0
_ROLES_LIMIT_S = 20.0
_NODES_LIMIT_S = 15.0
_IPV6 = Path("/proc/sys/net/ipv6")


class MininetBackend:
    """Makes labs of Mininet hosts. ``entries`` maps role names to entry points of another implementation."""

    def __init__(
        self, *, entries: Mapping[str, str] = roles.ENTRIES, nodes_ready: NodesReady = wait_nodes_ready
    ) -> None:
        self._entries = entries
        self._nodes_ready = nodes_ready
        self._zygote: Zygote | None = None

    def prepare(self, run_dir: Path) -> None:
        """Fork the zygote now, while the caller has one thread and little memory; optional.

        Worth calling right after ``isolation.enter()``: what the caller imports or reads until
        :meth:`start` then runs beside the zygote's imports.
        """
        if self._zygote is None:
            log = roles.Paths(run_dir).log("zygote", "lab")
            self._zygote = Zygote.start(roles.preload(self._entries), log=log)

    def start(self, spec: LabSpec, on_event: EventSink) -> MininetLab:
        """Build the lab and return when it is ready. One lab at a time per set of namespaces."""
        begun = time.monotonic()
        _check(spec)
        on_event("lab-starting", {"nodes": list(spec.nodes)})
        paths = roles.Paths(spec.run_dir)
        self.prepare(spec.run_dir)
        zygote, self._zygote = self._zygote, None
        assert zygote is not None
        supervisor = Supervisor(zygote, paths, on_event)
        net = None
        try:
            net = _build(spec, paths)
            on_event("lab-phase", {"phase": "fabric", "seconds": round(time.monotonic() - begun, 3)})
            lab = MininetLab(spec, paths, net, supervisor, on_event)
            # The zygote is still importing, so this costs nothing now; the wait for the nodes needs it.
            importlib.import_module("multinet.kube.config")
            self._start_roles(spec, paths, net, supervisor)
            self._nodes_ready(paths.kubeconfig, spec.nodes, _NODES_LIMIT_S)
        except BaseException as error:
            _abandon(error, net, supervisor)
            raise
        on_event("lab-ready", {"seconds": round(time.monotonic() - begun, 3)})
        address = net.get(roles.CONTROL_PLANE).IP()
        for role in roles.late(paths, address, self._entries) if spec.pod_network is None else ():
            supervisor.begin(role, net.get(role.node).pid)
        return lab

    def _start_roles(self, spec: LabSpec, paths: roles.Paths, net: Any, supervisor: Supervisor) -> None:
        cp = net.get(roles.CONTROL_PLANE)
        api, *others = roles.control_plane(spec, paths, cp.IP(), self._entries)
        supervisor.start({api: cp.pid}, _API_LIMIT_S)
        placed = dict.fromkeys(others, cp.pid)
        for node in spec.nodes:
            host = net.get(node)
            worker = roles.worker(spec, node, paths, _addresses(host, spec), self._entries)
            placed |= dict.fromkeys(worker, host.pid)
        supervisor.start(placed, _ROLES_LIMIT_S)


def _addresses(host: Any, spec: LabSpec) -> str:
    """A node's own addresses, as its roles take them."""
    from topology.fabric import address6  # imported already, with Mininet

    return f"{host.IP()},{address6(IPv4Address(host.IP())).ip}" if spec.ipv6 else str(host.IP())


def _check(spec: LabSpec) -> None:
    names = (*spec.nodes, *spec.hosts)
    if len(set(names)) != len(names) or {roles.CONTROL_PLANE, "fabric"} & set(names):
        why = f"nodes and hosts: {', '.join(names)}"
        raise LabError("names of nodes and hosts must differ, and 'cp' and 'fabric' are taken", why=why)
    if spec.pod_network is not None:
        spec.pod_network.check_installed()
    if spec.ipv6 and not _IPV6.exists():
        raise EnvironmentLackError(
            "this machine has no IPv6, which the lab asks for",
            why=f"there is no {_IPV6}",
            next_step="take a kernel with CONFIG_IPV6, started without ipv6.disable=1; or leave ipv6 out",
        )


def _build(spec: LabSpec, paths: roles.Paths) -> Any:
    for directory in (paths.lab, *(paths.node(node) for node in spec.nodes), spec.run_dir / "logs"):
        directory.mkdir(parents=True, exist_ok=True)
    from topology import fabric  # Mininet takes a while to import: after the zygote has been forked

    try:
        net = fabric.build(spec.nodes, spec.underlay_mtu, spec.hosts, spec.wires, ipv6=spec.ipv6)
        if spec.pod_network is not None:
            _configure(spec.pod_network, spec.nodes, paths, net)
    except FileNotFoundError as error:
        raise EnvironmentLackError(
            f"Mininet needs the program {error.filename}, which is not here",
            next_step="apt-get install --no-install-recommends mininet (for mnexec), iproute2",
        ) from error
    except PermissionError as error:
        raise EnvironmentLackError(
            "the fabric can't be built here",
            why=str(error),
            next_step="call topology.isolation.enter() first; ./lab doctor shows what this machine can do",
        ) from error
    except OSError as error:
        step = "one set of namespaces takes one lab: start another process for another lab"
        raise LabError("the fabric could not be built", why=str(error), next_step=step) from error
    netns = {name: {"netns": f"/proc/{net.get(name).pid}/ns/net"} for name in spec.hosts}
    paths.hosts.write_text(json.dumps(netns) + "\n")
    return net


def _configure(network: PodNetwork, nodes: tuple[str, ...], paths: roles.Paths, net: Any) -> None:
    """Give each node its CNI configuration, and its plugins a place of their own for leases and the like."""
    for number, node in enumerate(nodes, start=1):
        directory = paths.cni(node)
        directory.mkdir(parents=True)
        (directory / f"10-{network.name}.conflist").write_text(network.conflist(node, number))
        net.get(node).mount_state(STATE_DIR)


def _abandon(error: BaseException, net: Any, supervisor: Supervisor) -> None:
    """End what a failed start began, and note in the error which log says more."""
    if isinstance(error, MultinetError):
        try:
            supervisor.process_events()
        except LabError as later:
            error.add_note(str(later))
    supervisor.close()
    if net is not None:
        net.stop()
