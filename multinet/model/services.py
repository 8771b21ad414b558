"""Services and their endpoints as values: what a Service asks for, who answers for it.

Source: k8s.io/api ``core/v1`` (Service) and ``discovery/v1`` (EndpointSlice). Addresses are in the
shortest form, as kernels write them; endpoints of other kinds than IPv4 and IPv6 are read and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from multinet.model.objects import Obj, join_key, labels_of, name_of, namespace_of, section

LABEL_SERVICE = "kubernetes.io/service-name"
LABEL_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_NONE = "None"
_EXTERNAL = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service; ``target`` is a number or a container port's name, ``node_port`` 0 for none."""

    name: str
    protocol: str
    port: int
    target: int | str
    node_port: int = 0
    app_protocol: str = ""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ServicePort:
        """Read one element of ``spec.ports``."""
        return cls(
            name=str(spec.get("name") or ""),
            protocol=str(spec.get("protocol") or "TCP"),
            port=int(spec["port"]),
            target=spec.get("targetPort") or int(spec["port"]),
            node_port=int(spec.get("nodePort") or 0),
            app_protocol=str(spec.get("appProtocol") or ""),
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A service. ``addresses`` are its cluster IPs, one of a family at most; ``affinity_s`` 0: no affinity.

    ``families`` are the IP versions that its endpoints have, the preferred one first.
    """

    namespace: str
    name: str
    addresses: tuple[str, ...]
    headless: bool
    selector: tuple[tuple[str, str], ...]
    ports: tuple[ServicePort, ...]
    affinity_s: int = 0
    local_external: bool = False
    local_internal: bool = False
    publish_not_ready: bool = False
    external: bool = False
    families: tuple[int, ...] = (4,)

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return join_key(self.namespace, self.name)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels is behind the service; one without a selector selects nothing."""
        return bool(self.selector) and all(labels.get(key) == value for key, value in self.selector)

    @classmethod
    def from_object(cls, service: Mapping[str, Any]) -> Service:
        """Read a Service; ``KeyError``, ``TypeError`` or ``ValueError`` when it can't be one."""
        spec = section(service, "spec")
        address, kind = str(spec.get("clusterIP") or ""), spec.get("type")
        listed = [str(each) for each in spec.get("clusterIPs") or ([address] if address else ())]
        headless = address == _NONE
        families = [int(str(each).removeprefix("IPv")) for each in spec.get("ipFamilies") or ()]
        affinity = 0
        if spec.get("sessionAffinity") == "ClientIP":
            client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
            affinity = int(client.get("timeoutSeconds") or 10800)
        external_name = kind == "ExternalName"
        return cls(
            namespace=namespace_of(service),
            name=name_of(service),
            addresses=() if headless or external_name else tuple(str(ip_address(each)) for each in listed),
            headless=headless,
            selector=() if external_name else tuple(sorted((spec.get("selector") or {}).items())),
            ports=tuple(ServicePort.from_spec(port) for port in spec.get("ports") or ()),
            affinity_s=affinity,
            local_external=spec.get("externalTrafficPolicy") == "Local",
            local_internal=spec.get("internalTrafficPolicy") == "Local",
            publish_not_ready=bool(spec.get("publishNotReadyAddresses")),
            external=kind in _EXTERNAL,
            families=tuple(families) or (4,),
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that answers for one port of a service; ``pod`` is ``namespace/name`` where it is one's."""

    address: str
    port: int
    node: str = ""
    pod: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """What a slice says: by port name and protocol, who is ready. ``service`` is ``namespace/name``."""

    service: str
    endpoints: tuple[tuple[str, str, Endpoint], ...]

    @classmethod
    def from_object(cls, endpoint_slice: Mapping[str, Any]) -> EndpointSlice:
        """Read an EndpointSlice; ready endpoints of the IP families only, nothing else can be sent to."""
        name = labels_of(endpoint_slice).get(LABEL_SERVICE, "")
        service = join_key(namespace_of(endpoint_slice), name) if name else ""
        if endpoint_slice.get("addressType") not in ("IPv4", "IPv6"):
            return cls(service, ())
        return cls(service, tuple(_ready(endpoint_slice)))


def _ready(endpoint_slice: Mapping[str, Any]) -> Iterator[tuple[str, str, Endpoint]]:
    for item in endpoint_slice.get("endpoints") or ():
        # A condition that is not there is to be taken for true (discovery/v1, EndpointConditions).
        if (item.get("conditions") or {}).get("ready") is False or not item.get("addresses"):
            continue
        reference: Obj = item.get("targetRef") or {}
        pod = ""
        if reference.get("kind") == "Pod":
            pod = join_key(str(reference.get("namespace") or ""), str(reference.get("name") or ""))
        # Addresses after the first are the same endpoint's; consumers take the first.
        address, node = str(ip_address(item["addresses"][0])), str(item.get("nodeName") or "")
        for port in endpoint_slice.get("ports") or ():
            if port.get("port"):
                name, protocol = str(port.get("name") or ""), str(port.get("protocol") or "TCP")
                yield name, protocol, Endpoint(address, int(port["port"]), node, pod)
