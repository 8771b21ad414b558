"""What a lab backend offers: five verbs, whatever the lab is made of.

==========  ==================================================================================
create      :meth:`Backend.start`: nodes, fabric, Kubernetes API and agents, ready to take pods
attach      through the Kubernetes API at :attr:`Lab.kubeconfig`; the result is a :class:`Sandbox`
exec        :meth:`Lab.exec` on a node, :meth:`Lab.pod_exec` in a pod's sandbox
observe     :meth:`Lab.sandboxes`, :meth:`Lab.node_netns`, and the events given to ``on_event``
destroy     :meth:`Lab.stop` (gentle) and :meth:`Lab.close` (at once); both may be called twice
==========  ==================================================================================

Everything here blocks and starts no thread. A caller with an event loop may call :meth:`Lab.exec`,
:meth:`Lab.pod_exec`, :meth:`Lab.restart`, :meth:`Lab.reboot` and :meth:`Lab.wait_role` in another thread,
watches :meth:`Lab.fileno` and calls :meth:`Lab.process_events` when it is readable; a caller without one
calls it between steps.

Events: ``lab-starting {nodes}``, ``lab-phase {phase, seconds}``, ``role-ready {role, node, pid, seconds}``,
``role-exited {role, node, pid, status, expected, log, tail}``, ``lab-ready {seconds}``,
``lab-stopped {seconds}``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from topology.podnetwork import PodNetwork

EventSink = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Wire:
    """A link beside the fabric between two nodes or hosts: a spare NIC called ``device`` at either end."""

    ends: tuple[str, str]
    device: str

    def joins(self, first: str, second: str, device: str) -> bool:
        """Whether the NICs of that name on two nodes are its ends."""
        return {first, second} == set(self.ends) and device == self.device


@dataclass(frozen=True, slots=True)
class LabSpec:
    """What to build. ``nodes`` are worker names in order; the control plane ``cp`` is always added.

    ``hosts`` are plain machines beside them: namespaces and a name, without role, link or address. What
    interfaces they get is up to the config API ("A workload without Kubernetes"). With a ``pod_network`` the
    pods have that, and the implementation under test takes no part. ``controller`` are more arguments of the
    controller: what an administrator decides about it. ``wires`` are links beside the fabric. With ``ipv6``
    nodes, pods and services have addresses of both families.
    """

    nodes: tuple[str, ...]
    run_dir: Path
    dialect: str = "default"
    underlay_mtu: int = 1600
    hosts: tuple[str, ...] = ()
    pod_network: PodNetwork | None = None
    controller: tuple[str, ...] = ()
    wires: tuple[Wire, ...] = ()
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One pod's namespaces. ``pid`` counts in the lab's PID namespace; ``netns`` is a path usable there."""

    namespace: str
    pod: str
    uid: str
    node: str
    pid: int
    netns: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The end of a command: exit status (128+n for signal n) and its decoded output."""

    status: int
    stdout: str
    stderr: str


class Lab(Protocol):
    """A running lab."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that works from where the runner is."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the worker nodes, in the order of the spec."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the plain hosts, in the order of the spec."""

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The links beside the fabric."""

    def sandboxes(self) -> tuple[Sandbox, ...]:
        """All sandboxes that exist now, sorted by namespace and pod."""

    def sandbox(self, namespace: str, pod: str) -> Sandbox:
        """The sandbox of one pod; ``LabError`` when it has none."""

    def exec(
        self,
        node: str,
        argv: Sequence[str],
        *,
        limit_s: float = 30.0,
        stdin: str | None = None,
        folder: Path | None = None,
    ) -> Completed:
        """Run ``argv`` in the namespaces of a node, ``cp`` or a host; ``WaitExpiredError`` at the limit.

        ``folder`` is the working directory, as the runner sees it; without it, the node's root.
        """

    def pod_exec(
        self,
        namespace: str,
        pod: str,
        argv: Sequence[str],
        *,
        limit_s: float = 30.0,
        stdin: str | None = None,
    ) -> Completed:
        """Run ``argv`` in the namespaces of the pod's sandbox."""

    def node_netns(self, node: str) -> str:
        """Path of the network namespace of a node or host, for example ``/proc/17/ns/net``."""

    def wait_role(self, role: str, node: str, limit_s: float) -> None:
        """Return when a role is ready; needed before one is used that starts after the lab is ready."""

    def restart(self, role: str, node: str, *, wait: bool = True) -> None:
        """Stop the role's process with SIGTERM, start a new one and (``wait``) wait until it is ready."""

    def reboot(self, node: str, *, wait: bool = True) -> None:
        """End everything on a worker node at once, start its roles again and wait until they are ready.

        Without ``wait`` it returns earlier, for a node that can't reach what its roles need to be ready.

        What is in the node's directories stays, what was in its kernel (namespaces, links, rules) is gone.
        """

    def kill(self, role: str, node: str, signal: int) -> None:
        """Send a signal to the role's process; its exit, if any, counts as expected."""

    def set_link(self, node: str, up: bool) -> None:
        """Take the node's fabric link down or up (carrier is lost at the node's end too)."""

    def fileno(self) -> int:
        """Readable when :meth:`process_events` has something to do."""

    def process_events(self) -> None:
        """Hand pending events (a role died, ...) to ``on_event``; never blocks."""

    def stop(self) -> None:
        """End the roles gracefully within a short limit, so that their logs are complete."""

    def close(self) -> None:
        """End everything at once."""


class Backend(Protocol):
    """A way to make labs."""

    def start(self, spec: LabSpec, on_event: EventSink) -> Lab:
        """Make a lab and return when it is ready.

        Raises ``LabError``, ``WaitExpiredError`` or ``EnvironmentLackError``, with nothing left running.
        """
