"""A lab of plain data, for tests of what drives labs: no namespaces, no processes, no waiting."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from multinet.errors import LabError
from topology.backend import Completed, EventSink, LabSpec, Sandbox, Wire

Answer = Callable[[str, Sequence[str]], Completed]


def _silent(_place: str, _argv: Sequence[str]) -> Completed:
    return Completed(0, "", "")


@dataclass(slots=True)
class FakeLab:
    """Remembers in ``calls`` what it was asked to do, in order."""

    spec: LabSpec
    pods: list[Sandbox] = field(default_factory=list)
    answer: Answer = _silent
    calls: list[tuple[object, ...]] = field(default_factory=list)
    links: dict[str, bool] = field(default_factory=dict)
    _ends: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)

    @property
    def kubeconfig(self) -> Path:
        """A path in the run directory; nobody writes it."""
        return self.spec.run_dir / "kubeconfig"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The worker nodes."""
        return self.spec.nodes

    @property
    def hosts(self) -> tuple[str, ...]:
        """The plain hosts."""
        return self.spec.hosts

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The links beside the fabric."""
        return self.spec.wires

    def sandboxes(self) -> tuple[Sandbox, ...]:
        """What the test put into ``pods``."""
        return tuple(sorted(self.pods, key=lambda item: (item.namespace, item.pod)))

    def sandbox(self, namespace: str, pod: str) -> Sandbox:
        """One of ``pods``."""
        for item in self.pods:
            if (item.namespace, item.pod) == (namespace, pod):
                return item
        raise LabError("this pod has no sandbox", where=f"{namespace}/{pod}")

    def exec(
        self,
        node: str,
        argv: Sequence[str],
        *,
        limit_s: float = 30.0,
        stdin: str | None = None,
        folder: Path | None = None,
    ) -> Completed:
        """What ``answer`` says."""
        self.calls.append(("exec", node, tuple(argv), limit_s, stdin, folder))
        return self.answer(node, argv)

    def pod_exec(
        self,
        namespace: str,
        pod: str,
        argv: Sequence[str],
        *,
        limit_s: float = 30.0,
        stdin: str | None = None,
    ) -> Completed:
        """What ``answer`` says."""
        self.sandbox(namespace, pod)
        self.calls.append(("pod_exec", f"{namespace}/{pod}", tuple(argv), limit_s, stdin))
        return self.answer(f"{namespace}/{pod}", argv)

    def node_netns(self, node: str) -> str:
        """The namespace of the test itself."""
        self._known(node)
        return "/proc/self/ns/net"

    def wait_role(self, role: str, node: str, limit_s: float) -> None:
        """Remember."""
        self.calls.append(("wait_role", role, node, limit_s))

    def restart(self, role: str, node: str, *, wait: bool = True) -> None:  # noqa: ARG002 - the protocol
        """Remember."""
        self.calls.append(("restart", role, node))

    def reboot(self, node: str, *, wait: bool = True) -> None:  # noqa: ARG002 - the protocol
        """Remember."""
        self._known(node)
        self.calls.append(("reboot", node))

    def kill(self, role: str, node: str, signal: int) -> None:
        """Remember."""
        self.calls.append(("kill", role, node, signal))

    def set_link(self, node: str, up: bool) -> None:
        """Remember, also in ``links``."""
        self._known(node)
        self.links[node] = up
        self.calls.append(("set_link", node, up))

    def fileno(self) -> int:
        """A descriptor that never becomes readable."""
        return self._ends[0].fileno()

    def process_events(self) -> None:
        """There are none."""

    def stop(self) -> None:
        """Remember, and close."""
        self.calls.append(("stop",))
        self.close()

    def close(self) -> None:
        """Give the descriptors back."""
        for end in self._ends:
            end.close()

    def _known(self, node: str) -> None:
        if node not in ("cp", *self.nodes, *self.hosts):
            raise LabError(f"there is no node {node!r}")


@dataclass(slots=True)
class FakeBackend:
    """Makes :class:`FakeLab`; ``failure`` is raised instead when it is set."""

    answer: Answer = _silent
    failure: Exception | None = None
    events: Mapping[str, dict[str, object]] = field(default_factory=dict)

    def start(self, spec: LabSpec, on_event: EventSink) -> FakeLab:
        """Announce a lab and return it."""
        on_event("lab-starting", {"nodes": list(spec.nodes)})
        for kind, data in self.events.items():
            on_event(kind, dict(data))
        if self.failure is not None:
            raise self.failure
        on_event("lab-ready", {"seconds": 0.0})
        return FakeLab(spec, answer=self.answer)
