"""The keys of one element of the selection's JSON form (NPWG 4.1.2.1): one reader per key.

An unknown key is ignored and remembered, whether or not it has the dot which the standard demands of
implementation-specific keys: it must not change what the known keys do.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from multinet.model import naming
from multinet.model.jsonpos import Member, Node
from multinet.model.selected import (
    PROTOCOLS,
    RATES,
    Bandwidth,
    NetworkSelection,
    PortMapping,
    SelectionError,
    check_interface,
    check_name,
    check_namespace,
)

_MAC = re.compile(r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}", re.IGNORECASE)
_GUID = re.compile(r"(?:[0-9a-f]{2}:){7}[0-9a-f]{2}", re.IGNORECASE)


def element(text: str, node: Node, pod_namespace: str) -> NetworkSelection:
    """Read one map of the list."""
    if not isinstance(node.value, dict):
        hint = f'write {{"name": "{node.value}"}}' if isinstance(node.value, str) else ""
        raise SelectionError(
            text,
            node.at,
            f"an item of the list is a {node.kind}",
            "each item is a map with at least a name (NPWG 4.1.2)",
            hint or 'write {"name": "..."}',
        )
    if "name" not in node.value:
        raise SelectionError(
            text,
            node.at,
            "an item has no name",
            "name is the one key that is required (NPWG 4.1.2.1.1)",
            'add "name": "<the NetworkAttachmentDefinition>"',
        )
    read: dict[str, Any] = {}
    for key, member in node.value.items():
        if key in _READERS:
            attribute, reader = _READERS[key]
            read[attribute] = reader(text, member.node)
    # Missing or empty: the pod's own (NPWG 4.1.2.1.1).
    read["namespace"] = read.get("namespace") or pod_namespace
    if read.get("ips") and read.get("ipam_claim_reference"):
        raise SelectionError(
            text,
            node.value["ipam-claim-reference"].at,
            "an item has both ips and ipam-claim-reference",
            "the addresses can come from one of the two only (NPWG 4.1.2.1.11)",
            "remove one of the two keys",
        )
    ignored = tuple(key for key in node.value if key not in _READERS)
    return NetworkSelection(**read, position=node.at, ignored=ignored)


def _string(text: str, node: Node, key: str) -> str:
    if not isinstance(node.value, str):
        raise SelectionError(text, node.at, f"{key} is a {node.kind}", "it must be a string")
    return node.value


def _items(text: str, node: Node, key: str, *, may_be_empty: bool = False) -> list[Node]:
    if not isinstance(node.value, list):
        raise SelectionError(text, node.at, f"{key} is a {node.kind}", "it must be a list")
    if not node.value and not may_be_empty:
        raise SelectionError(
            text, node.at, f"{key} is empty", "it must have an element", "leave the key out instead"
        )
    return node.value


def _members(text: str, node: Node, key: str) -> dict[str, Member]:
    if not isinstance(node.value, dict):
        raise SelectionError(text, node.at, f"{key} is a {node.kind}", "it must be a map")
    return node.value


def _name(text: str, node: Node) -> str:
    name = _string(text, node, "name")
    check_name(text, node.at, name)
    return name


def _namespace(text: str, node: Node) -> str:
    namespace = _string(text, node, "namespace")
    if namespace:
        check_namespace(text, node.at, namespace)
    return namespace


def _interface(text: str, node: Node) -> str:
    name = _string(text, node, "interface")
    check_interface(text, node.at, name)
    return name


def _ips(text: str, node: Node) -> tuple[str, ...]:
    return tuple(_ip_with_prefix(text, item) for item in _items(text, node, "ips"))


def _ip_with_prefix(text: str, node: Node) -> str:
    written = _string(text, node, "an element of ips")
    bare, slash, prefix = written.partition("/")
    address = _host_address(text, node.at, written, bare)
    if not slash:
        return str(address)
    if not (
        prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= address.max_prefixlen
    ):
        raise SelectionError(
            text,
            node.at,
            f"{written!r} has no valid prefix length",
            f"0 to {address.max_prefixlen} is possible",
        )
    network = ipaddress.ip_network(f"{bare}/{prefix}", strict=False)
    ends = {network.network_address}
    if network.version == 4:
        ends.add(network.broadcast_address)
    if network.num_addresses > 2 and address in ends:
        raise SelectionError(
            text,
            node.at,
            f"{written!r} is the network or broadcast address of its block",
            "a pod can't have it",
            "ask for an address between the two, or leave ips out",
        )
    return f"{address}/{int(prefix)}"


def _host_address(
    text: str, at: int, written: str, bare: str
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(bare)
    except ValueError as error:
        raise SelectionError(text, at, f"{written!r} is no IP address", str(error)) from error
    why = ""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        why = "an address with a zone has no meaning outside of its host"
    elif isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        why = "an IPv4-mapped address can't be put on an interface"
    elif address.is_unspecified or address.is_multicast or address.is_loopback:
        why = "unspecified, multicast and loopback addresses can't be a pod's or a gateway's"
    if why:
        raise SelectionError(text, at, f"{written!r} can't be used", why, "give a unicast address")
    return address


def _mac(text: str, node: Node) -> str:
    written = _string(text, node, "mac")
    why = ""
    if _MAC.fullmatch(written) is None:
        why = "a MAC address is six bytes in hexadecimal, separated by colons"
    elif int(written[:2], 16) & 1:
        why = "its first byte is odd, so it is a multicast or broadcast address"
    elif not any(character in "123456789abcdefABCDEF" for character in written):
        why = "the all-zero address is nobody's"
    if why:
        raise SelectionError(
            text, node.at, f"{written!r} is no interface's MAC address", why, 'e.g. "02:23:45:67:89:01"'
        )
    return written.lower().replace("-", ":")


def _default_route(text: str, node: Node) -> tuple[str, ...]:
    gateways = []
    for item in _items(text, node, "default-route", may_be_empty=True):
        written = _string(text, item, "an element of default-route")
        gateways.append(str(_host_address(text, item.at, written, written)))
    return tuple(gateways)


def _whole(text: str, node: Node, key: str, low: int, high: int) -> int:
    # bool is an int to Python and none to JSON.
    if type(node.value) is not int or not low <= node.value <= high:
        shown = node.value if type(node.value) in (int, float) else f"a {node.kind}"
        raise SelectionError(
            text, node.at, f"{key} is {shown}", f"it must be a whole number from {low} to {high}"
        )
    return node.value


def _port_mappings(text: str, node: Node) -> tuple[PortMapping, ...]:
    return tuple(_port_mapping(text, item) for item in _items(text, node, "portMappings"))


def _port_mapping(text: str, node: Node) -> PortMapping:
    members = _members(text, node, "an element of portMappings")
    ports = []
    for key in ("hostPort", "containerPort"):
        if key not in members:
            raise SelectionError(
                text, node.at, f"a port mapping has no {key}", "it is required (NPWG 4.1.2.1.7)"
            )
        ports.append(_whole(text, members[key].node, key, 1, 65535))
    protocol, host_ip = "tcp", ""
    if "protocol" in members:
        at = members["protocol"].node
        protocol = _string(text, at, "protocol").lower()
        if protocol not in PROTOCOLS:
            raise SelectionError(text, at.at, f"the protocol {at.value!r} is unknown", "TCP, UDP or SCTP")
    if "hostIP" in members:
        at = members["hostIP"].node
        written = _string(text, at, "hostIP")
        host_ip = str(_host_address(text, at.at, written, written))
    return PortMapping(ports[0], ports[1], protocol, host_ip)


def _bandwidth(text: str, node: Node) -> Bandwidth:
    members = _members(text, node, "bandwidth")
    read = {
        attribute: _whole(text, members[key].node, key, 1, (1 << 63) - 1)
        for key, attribute in RATES.items()
        if key in members
    }
    if not read:
        raise SelectionError(text, node.at, "bandwidth limits nothing", f"it needs one of {', '.join(RATES)}")
    for direction in ("ingress", "egress"):
        if f"{direction}_burst" in read and f"{direction}_rate" not in read:
            raise SelectionError(
                text,
                members[f"{direction}Burst"].at,
                f"{direction}Burst is there without {direction}Rate",
                "a burst needs the rate it belongs to (NPWG 4.1.2.1.8)",
            )
    return Bandwidth(**read)


def _cni_args(text: str, node: Node) -> Any:
    _members(text, node, "cni-args")
    return node.plain()


def _infiniband_guid(text: str, node: Node) -> str:
    written = _string(text, node, "infiniband-guid")
    if _GUID.fullmatch(written) is None:
        raise SelectionError(
            text, node.at, f"{written!r} is no InfiniBand GUID", "it is eight bytes separated by colons"
        )
    return written.lower()


def _ipam_claim(text: str, node: Node) -> str:
    written = _string(text, node, "ipam-claim-reference")
    if not naming.is_dns_subdomain(written):
        raise SelectionError(text, node.at, f"{written!r} is no object name", "it must name an IPAMClaim")
    return written


_READERS: dict[str, tuple[str, Callable[[str, Node], Any]]] = {
    "name": ("name", _name),
    "namespace": ("namespace", _namespace),
    "interface": ("interface", _interface),
    "ips": ("ips", _ips),
    "mac": ("mac", _mac),
    "default-route": ("default_route", _default_route),
    "portMappings": ("port_mappings", _port_mappings),
    "bandwidth": ("bandwidth", _bandwidth),
    "cni-args": ("cni_args", _cni_args),
    "infiniband-guid": ("infiniband_guid", _infiniband_guid),
    "ipam-claim-reference": ("ipam_claim_reference", _ipam_claim),
}
