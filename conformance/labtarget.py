"""What all targets in a lab on this machine have in common: how they are reached and looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance import labhost
from conformance.target import CannotObserveError, Facts
from multinet.model.objects import Obj
from topology.sandboxes import read_sandboxes
from traffic.endpoint import Endpoint, inspect


class LabTarget:
    """A lab for the whole session, owned by a process of its own."""

    isolated = True

    def __init__(self) -> None:
        self._lab = labhost.LabProcess()
        self._facts: Facts = {}

    def own_lab(self, *owner: str) -> None:
        """Have the lab owned by another module than :mod:`conformance.labhost`."""
        self._lab = labhost.LabProcess(*owner)

    def attach(self, facts: Facts) -> None:
        """The lab is reached from any process in its namespaces."""
        self._facts = facts

    def stop(self) -> None:
        """End the lab."""
        self._lab.stop()

    @property
    def kubeconfig(self) -> Path:
        """The lab's."""
        return Path(self._facts["kubeconfig"])

    @property
    def nodes(self) -> tuple[str, ...]:
        """The lab's nodes."""
        return tuple(self._facts["nodes"])

    def container(self) -> Obj:
        """Without a command a container of a lab idles."""
        return {"name": "main", "image": "none"}

    def interfaces(self, namespace: str, pod: str) -> Sequence[Endpoint]:
        """By netlink, in the sandbox that the kubelet notes."""
        found = read_sandboxes(Path(self._facts["sandboxes"]))
        paths = [one.netns for one in found if (one.namespace, one.pod) == (namespace, pod)]
        if not paths:
            raise CannotObserveError("this pod has no sandbox", where=f"{namespace}/{pod}")
        return inspect(f"{namespace}/{pod}", paths[-1])

    def control_netns(self) -> Sequence[str]:
        """The nodes' namespaces."""
        return list(self._facts["node_netns"].values())

    def logs(self) -> Mapping[str, Path]:
        """One per role and node."""
        return {path.stem: path for path in sorted(Path(self._facts["logs"]).glob("*.log"))}
