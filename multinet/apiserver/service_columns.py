"""The columns of services and their endpoints. Source: kubernetes ``pkg/printers/internalversion``."""

from __future__ import annotations

from multinet.apiserver.columns import AGE, NAME
from multinet.apiserver.resources import Column
from multinet.model.objects import Obj, section

_SHOWN = 3


def _kind(service: Obj, _now: float) -> str:
    return str(section(service, "spec").get("type") or "ClusterIP")


def _cluster_ip(service: Obj, _now: float) -> str:
    return str(section(service, "spec").get("clusterIP") or "<none>")


def _external_ip(service: Obj, _now: float) -> str:
    spec = section(service, "spec")
    listed = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or "<none>")
    if spec.get("type") == "LoadBalancer":
        given = section(service, "status").get("loadBalancer") or {}
        listed = [str(item.get("ip") or item.get("hostname")) for item in given.get("ingress") or ()] + listed
        return ",".join(listed) or "<pending>"
    return ",".join(listed) or "<none>"


def _ports(service: Obj, _now: float) -> str:
    shown = []
    for port in section(service, "spec").get("ports") or ():
        outside = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port.get('port')}{outside}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _selector(service: Obj, _now: float) -> str:
    selector = section(service, "spec").get("selector") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or "<none>"


def _endpoint_list(endpoints: Obj, _now: float) -> str:
    shown = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ({"port": ""},)
    ]
    return _cut(shown) or "<none>"


def _slice_ports(endpoint_slice: Obj, _now: float) -> str:
    listed = endpoint_slice.get("ports")
    shown = ["*" if port.get("port") is None else str(port["port"]) for port in listed or ()]
    return _cut(shown) or "<unset>"


def _slice_endpoints(endpoint_slice: Obj, _now: float) -> str:
    shown = [str(a) for item in endpoint_slice.get("endpoints") or () for a in item.get("addresses") or ()]
    return _cut(shown) or "<unset>"


def _cut(shown: list[str]) -> str:
    more = f" + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else ""
    return ",".join(shown[:_SHOWN]) + more


SERVICE = (
    NAME,
    Column("Type", _kind),
    Column("Cluster-IP", _cluster_ip),
    Column("External-IP", _external_ip),
    Column("Port(s)", _ports),
    AGE,
    Column("Selector", _selector, priority=1),
)
ENDPOINTS = (NAME, Column("Endpoints", _endpoint_list), AGE)
ENDPOINT_SLICE = (
    NAME,
    Column("AddressType", lambda endpoint_slice, _now: str(endpoint_slice.get("addressType", ""))),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)
