"""Services: defaults and validation; addresses and node ports are given in :mod:`.service_addresses`.

Source: kubernetes ``pkg/apis/core/v1/defaults.go``, ``pkg/apis/core/validation`` (ValidateService) and
``pkg/registry/core/service``; the parts a user of a lab meets, in the API server's own words. Address
families are the business of :mod:`.service_families`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from multinet.apiserver import service_families
from multinet.apiserver.errors import (
    FieldError,
    duplicate,
    expect,
    field_forbidden,
    invalid_value,
    required,
    unsupported,
)
from multinet.apiserver.names import dns_label, dns_subdomain, label_value, qualified_name
from multinet.apiserver.schema import Schema
from multinet.apiserver.schema_parts import TEXT, fields, list_of, nullable, opened
from multinet.apiserver.service_families import is_headless
from multinet.model.objects import Obj

PROTOCOLS = ("SCTP", "TCP", "UDP")
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_EXTERNAL = ("NodePort", "LoadBalancer")
_POLICIES = ("Cluster", "Local")
_AFFINITY_S = 10800
_AFFINITY_MAX_S = 86400
_CHOICES = (
    ("type", _TYPES),
    ("sessionAffinity", ("ClientIP", "None")),
    ("externalTrafficPolicy", _POLICIES),
    ("internalTrafficPolicy", _POLICIES),
    ("ipFamilyPolicy", service_families.POLICIES),
)
_PORT = fields("name protocol appProtocol", "port nodePort", targetPort={"x-kubernetes-int-or-string": True})
_SPEC = fields(
    "type clusterIP sessionAffinity externalName externalTrafficPolicy internalTrafficPolicy ipFamilyPolicy "
    "loadBalancerIP loadBalancerClass trafficDistribution",
    "healthCheckNodePort",
    "publishNotReadyAddresses allocateLoadBalancerNodePorts",
    clusterIPs=list_of(TEXT),
    externalIPs=list_of(TEXT),
    ipFamilies=list_of(TEXT),
    loadBalancerSourceRanges=list_of(TEXT),
    ports=list_of(_PORT),
    selector={"type": "object", "additionalProperties": TEXT},
    sessionAffinityConfig=fields(clientIP=fields("", "timeoutSeconds")),
)
_STATUS = opened(loadBalancer=opened(ingress=list_of(opened("ip hostname"))))
SERVICE = Schema({"type": "object", "properties": {"spec": _SPEC, "status": nullable(_STATUS)}})


def prepare_create(service: Obj) -> None:
    """Fill in the defaults of a new service."""
    service["status"] = {"loadBalancer": {}}
    spec = _readable(service.setdefault("spec", {}))
    _default(spec)
    if spec["type"] != "ExternalName":
        service_families.prepare_create(spec)


def prepare_update(service: Obj, old: Obj) -> None:
    """Keep what was given to the service where the update leaves it out, and drop what its type lost.

    A node port goes with the type that had it, unless the update names another one.
    """
    spec = _readable(service.setdefault("spec", {}))
    before = old["spec"]
    if spec.get("type", "ClusterIP") != "ExternalName":
        service_families.prepare_update(spec, before)
    elif before.get("type") != "ExternalName":
        service_families.forget(spec, before)
        if spec.get("internalTrafficPolicy") == before.get("internalTrafficPolicy"):
            spec.pop("internalTrafficPolicy", None)
    held = {(port.get("port"), port.get("protocol")): port.get("nodePort") for port in ports_of(before)}
    for port in ports_of(spec):
        known = held.get((port.get("port"), port.get("protocol", "TCP")))
        if spec.get("type") in _EXTERNAL:
            if not port.get("nodePort") and known:
                port["nodePort"] = known
        elif known and port.get("nodePort") == known:
            del port["nodePort"]
    if spec.get("type") not in _EXTERNAL and before.get("type") in _EXTERNAL:
        spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)
    _default(spec)


def _readable(spec: Obj) -> Obj:
    expect(spec, dict, "spec")
    expect(spec.get("ports"), list, "spec.ports")
    for port in spec.get("ports") or ():
        expect(port, dict, "spec.ports[]")
    return spec


def _default(spec: Obj) -> None:
    kind = spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        if isinstance(config, dict) and isinstance(config.setdefault("clientIP", {}), dict):
            config["clientIP"].setdefault("timeoutSeconds", _AFFINITY_S)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    for port in ports_of(spec):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
        if not port.get("nodePort"):
            port.pop("nodePort", None)
    if kind in _EXTERNAL:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")


def ports_of(spec: Obj) -> list[Obj]:
    """The ports of a service, none where there is no such key."""
    held: list[Obj] = spec.get("ports") or []
    return held


def validate(service: Obj) -> Iterator[FieldError]:
    """Yield what is wrong with a service's spec."""
    spec = service["spec"]
    kind = spec.get("type")
    for field, allowed in _CHOICES:
        if field in spec and spec[field] not in allowed:
            yield unsupported(f"spec.{field}", spec[field], allowed)
    if not spec.get("ports") and not is_headless(spec) and kind != "ExternalName":
        yield required("spec.ports")
    yield from _port_list_findings(spec)
    for key, value in (spec.get("selector") or {}).items():
        for text, wrong in ((key, qualified_name(key)), (value, label_value(value))):
            if wrong:
                yield invalid_value("spec.selector", text, wrong)
    if kind == "ExternalName":
        yield from _external_name_findings(spec)
    elif spec.get("externalTrafficPolicy") and kind not in _EXTERNAL:
        yield invalid_value(
            "spec.externalTrafficPolicy",
            spec["externalTrafficPolicy"],
            "may only be set for externally-accessible services",
        )
    yield from _affinity_findings(spec)
    if kind != "ExternalName":
        yield from service_families.findings(spec)


def _external_name_findings(spec: Obj) -> Iterator[FieldError]:
    if spec.get("clusterIP") or spec.get("clusterIPs"):
        yield field_forbidden("spec.clusterIPs", "may not be set for ExternalName services")
    name = str(spec.get("externalName") or "").removesuffix(".")
    if not name:
        yield required("spec.externalName")
    elif wrong := dns_subdomain(name):
        yield invalid_value("spec.externalName", spec["externalName"], wrong)


def _affinity_findings(spec: Obj) -> Iterator[FieldError]:
    config = spec.get("sessionAffinityConfig")
    if spec.get("sessionAffinity") == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        if not isinstance(seconds, int) or not 0 < seconds <= _AFFINITY_MAX_S:
            yield invalid_value(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                seconds,
                f"must be greater than 0 and less than {_AFFINITY_MAX_S}",
            )
    elif config:
        detail = "must not be set when session affinity is None"
        yield field_forbidden("spec.sessionAffinityConfig", detail)


def _port_list_findings(spec: Obj) -> Iterator[FieldError]:
    listed = ports_of(spec)
    names: set[str] = set()
    pairs: set[tuple[Any, Any]] = set()
    node_ports: set[tuple[Any, Any]] = set()
    for index, port in enumerate(listed):
        path = f"spec.ports[{index}]"
        yield from _name_findings(port, path, names, needed=len(listed) > 1)
        yield from _number_findings(port, path)
        pair = (port.get("port"), port.get("protocol"))
        if pair in pairs:
            yield duplicate(path, {"port": pair[0], "protocol": pair[1]})
        pairs.add(pair)
        if "nodePort" not in port:
            continue
        if spec.get("type") not in _EXTERNAL:
            detail = f"may not be used when `type` is '{spec.get('type')}'"
            yield field_forbidden(f"{path}.nodePort", detail)
        held = (port["nodePort"], port.get("protocol"))
        if held in node_ports:
            yield duplicate(f"{path}.nodePort", port["nodePort"])
        node_ports.add(held)


def _name_findings(port: Obj, path: str, names: set[str], *, needed: bool) -> Iterator[FieldError]:
    name = port.get("name") or ""
    if not name:
        if needed:
            yield required(f"{path}.name")
    elif wrong := dns_label(name):
        yield invalid_value(f"{path}.name", name, wrong)
    elif name in names:
        yield duplicate(f"{path}.name", name)
    names.add(name)


def _number_findings(port: Obj, path: str) -> Iterator[FieldError]:
    if port.get("protocol") not in PROTOCOLS:
        yield unsupported(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    yield from port_findings(f"{path}.port", port.get("port"))
    target = port.get("targetPort")
    if isinstance(target, str):
        if wrong := port_name(target):
            yield invalid_value(f"{path}.targetPort", target, wrong)
    else:
        yield from port_findings(f"{path}.targetPort", target)


def port_findings(path: str, number: Any) -> Iterator[FieldError]:
    """Yield what is wrong with a port number."""
    if not isinstance(number, int) or not 1 <= number <= 65535:
        yield invalid_value(path, number, "must be between 1 and 65535, inclusive")


def port_name(name: str) -> str:
    """Why this is no port name (RFC 6335 service name), or ""."""
    if not 1 <= len(name) <= 15:
        return "must be no more than 15 characters"
    if not all(character.isascii() and (character.islower() or character.isdigit() or character == "-")
               for character in name):  # fmt: skip
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not any(character.isalpha() for character in name):
        return "must contain at least one letter (a-z)"
    if "--" in name:
        return "must not contain consecutive hyphens"
    return "must not begin or end with a hyphen" if name[0] == "-" or name[-1] == "-" else ""


def validate_update(service: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield a change of addresses, which may only come and go with the type ExternalName."""
    spec, before = service["spec"], old["spec"]
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return
    yield from service_families.change_findings(spec, before)
