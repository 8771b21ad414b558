"""What a runtime tells CNI plugins about a pod beside its name: port mappings and bandwidth.

The capabilities ``portMappings`` and ``bandwidth`` and their form are those of the CNI conventions
(containernetworking/cni ``CONVENTIONS.md``); the annotations are Kubernetes' traffic shaping. Only plugins
that declare a capability get its argument (:mod:`multinet.cni.runtime_invoke`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from multinet.errors import InputError
from multinet.kubelet.podspec import containers_of
from multinet.model.objects import Obj, annotations_of
from multinet.model.quantities import quantity

PORT_MAPPINGS = "portMappings"
BANDWIDTH = "bandwidth"
_DIRECTIONS = ("ingress", "egress")
# The burst that runtimes give when only a rate is asked for: the largest that the plugin takes.
_BURST_BITS = 2**31 - 1
_LEAST, _MOST = 10**3, 10**15


def capability_args(pod: Obj) -> Obj:
    """The arguments of this pod by capability; ``InputError`` for a rate that is none."""
    mappings = list(_port_mappings(pod))
    bandwidth = _bandwidth(pod)
    found: Obj = {PORT_MAPPINGS: mappings} if mappings else {}
    return found | ({BANDWIDTH: bandwidth} if bandwidth else {})


def _port_mappings(pod: Obj) -> Iterator[Obj]:
    sidecars = (
        item for item in containers_of(pod, "initContainers") if item.get("restartPolicy") == "Always"
    )
    for container in (*containers_of(pod), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield {
                    "hostPort": port["hostPort"],
                    "containerPort": port["containerPort"],
                    "protocol": str(port.get("protocol") or "TCP").lower(),
                    "hostIP": str(port.get("hostIP") or ""),
                }


def _bandwidth(pod: Obj) -> Obj:
    found: Obj = {}
    for direction in _DIRECTIONS:
        annotation = f"kubernetes.io/{direction}-bandwidth"
        text = annotations_of(pod).get(annotation)
        if text is None:
            continue
        rate = int(quantity(text, f"annotation {annotation}"))
        if not _LEAST <= rate <= _MOST:
            why = f"{text} bits per second; it must be between 1k and 1P"
            raise InputError("no usable bandwidth", where=f"annotation {annotation}", why=why)
        found |= {f"{direction}Rate": rate, f"{direction}Burst": _BURST_BITS}
    return found
