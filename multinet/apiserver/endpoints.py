"""EndpointSlices and Endpoints: structure, defaults and validation.

Source: kubernetes ``pkg/apis/discovery/validation`` and ``pkg/apis/core/validation`` (ValidateEndpoints).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from multinet.apiserver.errors import FieldError, duplicate, invalid_value, required, unsupported
from multinet.apiserver.names import dns_label, dns_subdomain
from multinet.apiserver.schema import Schema
from multinet.apiserver.schema_parts import OPEN, TEXT, fields, list_of
from multinet.apiserver.services import PROTOCOLS, port_findings
from multinet.model.objects import Obj

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ADDRESSES = 100
_REFERENCE = fields("kind namespace name uid apiVersion resourceVersion fieldPath")
_PORT = fields("name protocol appProtocol", "port")
_ENDPOINT = fields(
    "hostname nodeName zone",
    addresses=list_of(TEXT),
    conditions=fields(flags="ready serving terminating"),
    targetRef=_REFERENCE,
    hints=OPEN,
    deprecatedTopology=OPEN,
)
ENDPOINT_SLICE = Schema(
    {
        "type": "object",
        "properties": {"addressType": TEXT, "endpoints": list_of(_ENDPOINT), "ports": list_of(_PORT)},
    }
)
_ADDRESS = fields("ip hostname nodeName", targetRef=_REFERENCE)
_SUBSET = fields(addresses=list_of(_ADDRESS), notReadyAddresses=list_of(_ADDRESS), ports=list_of(_PORT))
ENDPOINTS = Schema({"type": "object", "properties": {"subsets": list_of(_SUBSET)}})


def prepare_slice(endpoint_slice: Obj, _old: Obj | None = None) -> None:
    """Fill in the defaults of an EndpointSlice."""
    endpoint_slice.setdefault("endpoints", [])
    held = endpoint_slice.get("ports")
    for port in held if isinstance(held, list) else ():
        if isinstance(port, dict):
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")


def validate_slice(endpoint_slice: Obj) -> Iterator[FieldError]:
    """Yield what is wrong with an EndpointSlice."""
    kind = endpoint_slice.get("addressType")
    if not kind:
        yield required("addressType")
    elif kind not in _ADDRESS_TYPES:
        yield unsupported("addressType", kind, _ADDRESS_TYPES)
    for index, endpoint in enumerate(endpoint_slice.get("endpoints") or ()):
        path = f"endpoints[{index}].addresses"
        addresses = endpoint.get("addresses") or []
        if not addresses:
            yield required(path, "must contain at least 1 address")
        elif len(addresses) > _MAX_ADDRESSES:
            yield FieldError(path, "FieldValueTooMany", f"Too many: must have at most {_MAX_ADDRESSES} items")
        for position, address in enumerate(addresses):
            if wrong := _address_fault(kind, address):
                yield invalid_value(f"{path}[{position}]", address, wrong)
    yield from _ports("ports", endpoint_slice.get("ports") or [])


def slice_change(endpoint_slice: Obj, old: Obj) -> Iterator[FieldError]:
    """Yield a change of the address type."""
    if endpoint_slice.get("addressType") != old.get("addressType"):
        yield invalid_value("addressType", endpoint_slice.get("addressType"), "field is immutable")


def _address_fault(kind: Any, address: Any) -> str:
    if kind == "FQDN":
        return dns_subdomain(str(address))
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    if f"IPv{parsed.version}" != kind:
        return f"must be a valid {kind} address"
    return unsuitable(address)


def unsuitable(address: str) -> str:
    """Why an address can't be an endpoint's, or ""."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        return f"may not be unspecified ({address})"
    if parsed.is_loopback:
        return "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    if parsed.is_link_local:
        return "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    return "may not be in the multicast range (224.0.0.0/4, ff00::/8)" if parsed.is_multicast else ""


def _ports(path: str, listed: list[Obj]) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, port in enumerate(listed):
        name = port.get("name") or ""
        if name and (wrong := dns_label(name)):
            yield invalid_value(f"{path}[{index}].name", name, wrong)
        if name in names:
            yield duplicate(f"{path}[{index}].name", name)
        names.add(name)
        if port.get("protocol") not in PROTOCOLS:
            yield unsupported(f"{path}[{index}].protocol", port.get("protocol"), PROTOCOLS)
        if port.get("port") is not None:
            yield from port_findings(f"{path}[{index}].port", port["port"])


def prepare_endpoints(endpoints: Obj, _old: Obj | None = None) -> None:
    """Fill in the defaults of an Endpoints object."""
    held = endpoints.get("subsets")
    for subset in held if isinstance(held, list) else ():
        for port in (subset.get("ports") or ()) if isinstance(subset, dict) else ():
            if isinstance(port, dict):
                port.setdefault("protocol", "TCP")


def validate_endpoints(endpoints: Obj) -> Iterator[FieldError]:
    """Yield what is wrong with an Endpoints object."""
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(field) or ()):
                ip = address.get("ip") or ""
                where = f"{path}.{field}[{position}].ip"
                try:
                    wrong = unsuitable(ip)
                except ValueError:
                    wrong = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                if wrong:
                    yield invalid_value(where, ip, wrong)
        yield from _ports(f"{path}.ports", subset.get("ports") or [])
