"""The oracle of a lab whose pods have another network than ours: one interface each is all it knows.

Which address a pod has and how nodes are joined is up to the plugins; so an address of any kind will do, and
of pods on different nodes nothing is expected.
"""

from __future__ import annotations

from collections.abc import Iterable

from multinet.model.objects import Obj, key_of, section, uid_of
from topology.expectation import ExpectedInterface, ExpectedPod, takes_part
from topology.podnetwork import PodNetwork

INTERFACE = "eth0"
WIRE, ROUTED = "wire", "routed"


class DefaultOnly:
    """What every pod must have in a lab with ``network``; see :class:`topology.expectation.Oracle`."""

    def __init__(self, network: PodNetwork) -> None:
        self._network = network

    def observe(
        self,
        pods: Iterable[Obj],
        _nads: Iterable[Obj],
        _networks: Iterable[Obj],
        _namespaces: Iterable[Obj] = (),
    ) -> tuple[ExpectedPod, ...]:
        """The expectation for each pod that is on a node and not ending, sorted by ``namespace/name``."""
        found = [self._expect(pod) for pod in pods if takes_part(pod)]
        return tuple(sorted(found, key=lambda item: item.pod))

    def _expect(self, pod: Obj) -> ExpectedPod:
        name = self._network.name
        interface = ExpectedInterface(
            index=0,
            interface=INTERFACE,
            mac="",
            network=name,
            fq_name=("", "", name),
            nad="",
            vni=0,
            forwarding_mode=ROUTED if self._network.routed else WIRE,
            subnets=(),
            joined=False,
        )
        node = str(section(pod, "spec").get("nodeName") or "")
        return ExpectedPod(key_of(pod), uid_of(pod), node, (interface,), annotated=False)
