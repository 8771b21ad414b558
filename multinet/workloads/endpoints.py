"""Which pods answer for a service, as EndpointSlices and Endpoints. Pure: objects in, objects out.

A pod's addresses are what its status says under ``podIPs``: those of the interface in the default network,
the only one a service ever knows. Addresses in other networks are in annotations, which nobody here reads.
Slices are of one family each; Endpoints know the service's first family only.

Slice names are made from the service's name and the ports, so whoever computes them again finds the same
ones. Source: kubernetes ``endpointslice`` and ``endpointslicemirroring`` controllers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from multinet.model.objects import Obj, labels_of, name_of, namespace_of, section, uid_of
from multinet.model.services import LABEL_MANAGED_BY, LABEL_SERVICE, Service, ServicePort

MANAGED_BY = "endpointslice-controller.k8s.io"
MIRRORED_BY = "endpointslicemirroring-controller.k8s.io"
LABEL_SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
_LABEL_HEADLESS = "service.kubernetes.io/headless"
_PER_SLICE = 100

_Ports = tuple[tuple[str, str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One pod behind a service."""

    pod: Obj
    address: str
    ports: _Ports
    ready: bool
    serving: bool
    terminating: bool
    hostname: str = ""

    def endpoint(self) -> Obj:
        """As an element of a slice."""
        node = str(section(self.pod, "spec").get("nodeName") or "")
        made: Obj = {
            "addresses": [self.address],
            "conditions": {"ready": self.ready, "serving": self.serving, "terminating": self.terminating},
            "targetRef": self._reference(),
        }
        named = {"nodeName": node, "hostname": self.hostname}
        return made | {key: value for key, value in named.items() if value}

    def address_of_subset(self) -> Obj:
        """As an address of an Endpoints object."""
        node = str(section(self.pod, "spec").get("nodeName") or "")
        named = {"nodeName": node, "hostname": self.hostname}
        return {
            "ip": self.address,
            "targetRef": self._reference(),
            **{key: value for key, value in named.items() if value},
        }

    def _reference(self) -> Obj:
        pod = self.pod
        return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def concern(pod: Mapping[str, Any] | None) -> object:
    """What of a pod matters to services; two pods of equal concern have the same endpoints."""
    if pod is None:
        return None
    status, spec = section(pod, "status"), section(pod, "spec")
    return (
        uid_of(pod),
        dict(labels_of(pod)),
        status.get("podIPs"),
        status.get("phase"),
        _is_ready(pod),
        bool(pod["metadata"].get("deletionTimestamp")),
        spec.get("nodeName"),
    )


def members(service: Service, pods: Iterable[Obj], family: int = 4) -> list[Member]:
    """The pods behind a service, by name; those without an address of ``family`` (4, 6) or done are not."""
    found = []
    for pod in sorted(pods, key=name_of):
        status = section(pod, "status")
        address = _address(status, family)
        if not address or status.get("phase") in ("Succeeded", "Failed"):
            continue
        if not service.selects(labels_of(pod)):
            continue
        serving, terminating = _is_ready(pod), bool(pod["metadata"].get("deletionTimestamp"))
        ready = service.publish_not_ready or (serving and not terminating)
        ports = _ports(service, pod)
        found.append(Member(pod, address, ports, ready, serving, terminating, _hostname(service, pod)))
    return found


def _hostname(service: Service, pod: Obj) -> str:
    """The name that a pod has below its governing service's; empty where it has none."""
    spec = section(pod, "spec")
    return str(spec.get("hostname") or "") if spec.get("subdomain") == service.name else ""


def slices(service: Service, obj: Obj, listed: Sequence[Member], family: int = 4) -> list[Obj]:
    """The EndpointSlices of a service (``obj`` is its object): one per set of ports and hundred members.

    ``listed`` are members by their addresses of ``family``.
    """
    kind, mark = f"IPv{family}", "" if family == 4 else f"#{family}"
    labels = {
        **labels_of(obj),
        LABEL_SERVICE: service.name,
        LABEL_MANAGED_BY: MANAGED_BY,
        **({_LABEL_HEADLESS: ""} if service.headless else {}),
    }
    made = []
    for ports, group in _by_ports(listed).items():
        for start in range(0, len(group), _PER_SLICE):
            part = [member.endpoint() for member in group[start : start + _PER_SLICE]]
            name = _slice_name(service.name, f"{ports}#{start}{mark}")
            made.append(_slice(obj, name, labels, kind, part, [_port(*each) for each in ports]))
    if not made:
        # As Kubernetes: a service always has a slice, if an empty one.
        made.append(_slice(obj, _slice_name(service.name, f"()#0{mark}"), labels, kind, [], []))
    return made


def endpoints(service: Service, obj: Obj, listed: Sequence[Member]) -> Obj:
    """The Endpoints object of a service, which older clients read."""
    subsets = []
    for ports, group in _by_ports(listed).items():
        subset: Obj = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            part = [
                member.address_of_subset()
                for member in group
                if member.ready is wanted and (wanted or not member.terminating)
            ]
            if part:
                subset[field] = part
        if subset:
            subsets.append(subset | {"ports": [_port(*each) for each in ports]})
    # Slices are made from the pods, not from this object.
    labels = {**labels_of(obj), "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    metadata = {"namespace": service.namespace, "name": service.name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def mirrored(obj: Obj) -> list[Obj]:
    """The EndpointSlices of an Endpoints object that somebody wrote for a service without a selector."""
    labels = {**labels_of(obj), LABEL_SERVICE: name_of(obj), LABEL_MANAGED_BY: MIRRORED_BY}
    made = []
    for number, subset in enumerate(obj.get("subsets") or ()):
        ports = [
            _port(str(port.get("name") or ""), str(port.get("protocol") or "TCP"), int(port["port"]), "")
            for port in subset.get("ports") or ()
        ]
        for family in (4, 6):
            part = [
                {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                | {key: address[key] for key in ("nodeName", "targetRef", "hostname") if address.get(key)}
                for field, ready in (("addresses", True), ("notReadyAddresses", False))
                for address in subset.get(field) or ()
                if ip_address(address["ip"]).version == family
            ]
            if part:
                name = _slice_name(name_of(obj), f"mirror {number} {family}")
                made.append(_slice(obj, name, labels, f"IPv{family}", part, ports))
    return made


def _slice(owner: Obj, name: str, labels: Obj, kind: str, listed: list[Obj], ports: list[Obj]) -> Obj:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace_of(owner),
            "name": name,
            "labels": labels,
            "ownerReferences": [reference],
        },
        "addressType": kind,
        "endpoints": listed,
        "ports": ports,
    }


def _by_ports(listed: Sequence[Member]) -> dict[_Ports, list[Member]]:
    found: dict[_Ports, list[Member]] = {}
    for member in listed:
        found.setdefault(member.ports, []).append(member)
    return dict(sorted(found.items()))


def _slice_name(service: str, seed: str) -> str:
    return f"{service}-{hashlib.sha256(seed.encode()).hexdigest()[:5]}"


def _port(name: str, protocol: str, number: int, app_protocol: str) -> Obj:
    made: Obj = {"name": name, "protocol": protocol, "port": number}
    return made | ({"appProtocol": app_protocol} if app_protocol else {})


def _ports(service: Service, pod: Obj) -> _Ports:
    found = []
    for port in service.ports:
        number = _target(port, pod)
        # A pod without a port of that name answers for the other ports only.
        if number is not None:
            found.append((port.name, port.protocol, number, port.app_protocol))
    return tuple(found)


def _target(port: ServicePort, pod: Obj) -> int | None:
    if not isinstance(port.target, str):
        return port.target
    for container in section(pod, "spec").get("containers") or ():
        for held in container.get("ports") or ():
            same = held.get("name") == port.target and (held.get("protocol") or "TCP") == port.protocol
            if same:
                return int(held["containerPort"])
    return None


def _address(status: Mapping[str, Any], family: int) -> str:
    listed = [str(item.get("ip") or "") for item in status.get("podIPs") or ()]
    listed = listed or [str(status.get("podIP") or "")]
    return next((address for address in listed if address and (":" in address) == (family == 6)), "")


def _is_ready(pod: Mapping[str, Any]) -> bool:
    listed = section(pod, "status").get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in listed)
