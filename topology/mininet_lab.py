"""A running Mininet lab: commands in its nodes and pods, faults, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multinet.errors import LabError
from multinet.waits import expired
from topology import reboot, roles
from topology.backend import Completed, EventSink, LabSpec, Sandbox, Wire
from topology.rtnl import Route
from topology.sandboxes import read_sandboxes
from topology.supervisor import Supervisor

_RESTART_LIMIT_S = 20.0


class MininetLab:
    """See :class:`topology.backend.Lab`. ``net`` is the Mininet object, with all of Mininet's API."""

    def __init__(
        self, spec: LabSpec, paths: roles.Paths, net: Any, supervisor: Supervisor, on_event: EventSink
    ) -> None:
        self.net = net
        self._spec = spec
        self._paths = paths
        self._supervisor = supervisor
        self._on_event = on_event
        self._closed = False

    @property
    def kubeconfig(self) -> Path:
        """The lab's kubeconfig; its server is reached from the runner through the fabric."""
        return self._paths.kubeconfig

    @property
    def nodes(self) -> tuple[str, ...]:
        """The worker nodes."""
        return self._spec.nodes

    @property
    def hosts(self) -> tuple[str, ...]:
        """The plain hosts."""
        return self._spec.hosts

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The links beside the fabric."""
        return self._spec.wires

    def sandboxes(self) -> tuple[Sandbox, ...]:
        """All sandboxes that exist now."""
        return read_sandboxes(self._paths.nodes)

    def sandbox(self, namespace: str, pod: str) -> Sandbox:
        """The sandbox of one pod; when two exist for a moment (a pod made anew), the younger process."""
        found = [s for s in self.sandboxes() if (s.namespace, s.pod) == (namespace, pod)]
        if not found:
            known = ", ".join(f"{s.namespace}/{s.pod}" for s in self.sandboxes()) or "none"
            raise LabError("this pod has no sandbox", where=f"{namespace}/{pod}", why=f"sandboxes: {known}")
        return max(found, key=lambda sandbox: sandbox.pid)

    def node_pid(self, node: str) -> int:
        """PID of the shell from which the namespaces of a node or host hang."""
        try:
            return int(self.net[node].pid)
        except KeyError:
            known = ", ".join((roles.CONTROL_PLANE, *self.nodes, *self.hosts))
            raise LabError(f"there is no node {node!r}", next_step=f"nodes are: {known}") from None

    def node_netns(self, node: str) -> str:
        """Path of the network namespace of a node or host."""
        return f"/proc/{self.node_pid(node)}/ns/net"

    def node_ip(self, node: str) -> str:
        """The node's address on the fabric."""
        self.node_pid(node)
        return str(self.net[node].IP())

    def exec(
        self,
        node: str,
        argv: Sequence[str],
        *,
        limit_s: float = 30.0,
        stdin: str | None = None,
        folder: Path | None = None,
    ) -> Completed:
        """Run a command on a node or host."""
        # nsenter opens the folder before it enters the mount namespace, which resets the working directory.
        where = (f"--wd={folder.absolute()}",) if folder is not None else ()
        enter = ("nsenter", "-t", str(self.node_pid(node)), "-n", "-u", "-m", *where, "--")
        return _run((*enter, *argv), f"{argv[0]} on {node}", limit_s, stdin)

    def pod_exec(
        self,
        namespace: str,
        pod: str,
        argv: Sequence[str],
        *,
        limit_s: float = 30.0,
        stdin: str | None = None,
    ) -> Completed:
        """Run a command in a pod's sandbox."""
        sandbox = self.sandbox(namespace, pod)
        enter = ("nsenter", "-t", str(sandbox.pid), "-n", "-u", "-i", "-m", "-p", "--")
        return _run((*enter, *argv), f"{argv[0]} in {namespace}/{pod}", limit_s, stdin)

    def wait_role(self, role: str, node: str, limit_s: float) -> None:
        """Wait until a role is ready."""
        self._supervisor.await_role(role, node, limit_s)

    def restart(self, role: str, node: str, *, wait: bool = True) -> None:
        """Restart a role and wait until it is ready."""
        self._supervisor.restart(role, node, _RESTART_LIMIT_S, wait=wait)

    def reboot(self, node: str, *, wait: bool = True) -> None:
        """End all of a worker node and start its roles again."""
        if node not in self.nodes:
            raise LabError(
                f"{node!r} is no worker node", next_step=f"worker nodes are: {', '.join(self.nodes)}"
            )
        shell = self.node_pid(node)
        self._supervisor.fell(node)
        pods = tuple(sandbox.pid for sandbox in self.sandboxes() if sandbox.node == node)
        reboot.end_processes(shell, pods)
        reboot.clear_mounts(shell)
        from topology.fabric import SpareLink  # Mininet, which the backend imports when it is needed

        wired = [each for each in self.net.links if isinstance(each, SpareLink) and each.ends_at(node)]
        reboot.clear_network(
            lambda argv, stdin: self.exec(node, argv, stdin=stdin),
            self.net[node].intf().name,
            spare=[each.device for each in wired],
        )
        for each in wired:
            each.renew()
        self._supervisor.raise_again(node, _RESTART_LIMIT_S, wait=wait)

    def kill(self, role: str, node: str, signal: int) -> None:
        """Signal a role's process."""
        self._supervisor.signal(role, node, signal)

    def set_link(self, node: str, up: bool) -> None:
        """Take the node's port of the fabric down or up."""
        self.node_pid(node)
        if node in self.hosts:
            raise LabError(f"the host {node} has no link to the fabric", next_step="name cp or a node")
        (link,) = self.net.linksBetween(self.net[node], self.net["fabric"])
        with Route() as route:
            route.set_link(link.intf2.name, up=up)

    def fileno(self) -> int:
        """Readable when :meth:`process_events` has something to do."""
        return self._supervisor.fileno()

    def process_events(self) -> None:
        """Report roles that ended."""
        self._supervisor.process_events()

    def stop(self) -> None:
        """End the roles gracefully, then everything."""
        if self._closed:
            return
        begun = time.monotonic()
        self._supervisor.stop()
        self.close()
        self._on_event("lab-stopped", {"seconds": round(time.monotonic() - begun, 3)})

    def close(self) -> None:
        """End everything at once; nothing but the sandboxes has to be sought, they outlive their kubelet."""
        if self._closed:
            return
        self._closed = True
        self._supervisor.close()
        for sandbox in self.sandboxes():
            try:
                os.kill(sandbox.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.net.stop()


def _run(argv: Sequence[str], what: str, limit_s: float, stdin: str | None) -> Completed:
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LabError(f"can't run {argv[0]}", why=str(error), next_step="install util-linux") from error
    with child:
        try:
            out, err = child.communicate(stdin, timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise expired(what, limit_s, "give it more time, or run something shorter") from error
    status = child.returncode
    return Completed(status if status >= 0 else 128 - status, out, err)
