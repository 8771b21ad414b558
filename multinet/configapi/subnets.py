"""Subnets as clients of the original write them (``IpamSubnets`` on the link to an IPAM), and ours.

What the model has is honoured: block, gateway, DNS address. What it lacks (allocation pools, allocation from
the bottom, host routes, DHCP options) is refused when somebody asks for it, never left out silently.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from multinet.configapi.errors import RefusedError, bad_request, conflict
from multinet.errors import InputError
from multinet.model.nad import NadError, check_subnet
from multinet.model.networks import Subnet
from multinet.model.objects import Obj

_UNSUPPORTED = {
    "allocation_pools": "addresses are given from the whole block, top-down",
    "dns_nameservers": "the DNS service of a subnet is its dns_server_address",
    "host_routes": "a subnet has no routes of its own here",
    "dhcp_option_list": "interfaces are configured by the node agent, not by DHCP",
    "addr_from_start": "addresses are given from the top downwards",
}


@dataclass(frozen=True, slots=True)
class AskedSubnet:
    """One block that a client asked for, and what it said about it beyond the model (for the notes)."""

    subnet: Subnet
    said: Obj


def read_refs(refs: Iterable[Mapping[str, Any]]) -> list[AskedSubnet]:
    """The blocks on a network's links to IPAMs (each with ``to``); 400 or 409 for what can't be had."""
    asked = [
        _read(block, [str(part) for part in ref.get("to") or ()])
        for ref in refs
        for block in _blocks(_map(ref.get("attr"), "attr"))
    ]
    for one, other in combinations([item.subnet.cidr for item in asked], 2):
        if one.overlaps(other):
            raise conflict(
                f"Overlapping addresses: {[str(one), str(other)]}",
                next_step="take blocks that have no address in common",
            )
    return asked


def _blocks(attr: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if attr.get("host_routes"):
        raise _unsupported("host_routes", attr["host_routes"])
    blocks = attr.get("ipam_subnets") or []
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise bad_request(
            "ipam_subnets is no list of subnets",
            where="network_ipam_refs",
            next_step='write [{"subnet": {"ip_prefix": "10.1.1.0", "ip_prefix_len": 24}}]',
        )
    return blocks


def _read(block: Mapping[str, Any], ipam: list[str]) -> AskedSubnet:
    for key in _UNSUPPORTED:
        if block.get(key):
            raise _unsupported(key, block[key])
    if block.get("alloc_unit") not in (None, 0, 1):
        raise _unsupported("alloc_unit", block["alloc_unit"])
    prefix = _map(block.get("subnet"), "subnet")
    cidr = f"{prefix.get('ip_prefix', '')}/{prefix.get('ip_prefix_len', '')}"
    gateway = str(block.get("default_gateway") or "")
    if gateway in ("0.0.0.0", "::"):
        raise _unsupported("default_gateway", gateway, "a subnet always has a gateway here")
    spec = {"cidr": cidr, "gateway": gateway, "dns": str(block.get("dns_server_address") or "")}
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError as error:
        raise bad_request(f"Invalid subnet {cidr}", where="network_ipam_refs", why=str(error)) from error
    try:
        subnet = Subnet.from_spec({**spec, "cidr": str(network)}).completed()
        check_subnet(subnet, f"subnet {network}")
    except NadError as error:
        raise bad_request(error.what, where=error.where, why=error.why, next_step=_step(error)) from error
    except InputError as error:
        # The original answers 409 to a gateway or DNS address outside of the block.
        raise conflict(error.what, where=f"subnet {network}", why=error.why, next_step=error.next_step) from (
            error
        )
    keys = ("subnet_uuid", "subnet_name", "enable_dhcp")
    said = {key: block[key] for key in keys if block.get(key) is not None}
    return AskedSubnet(subnet, {**said, "ipam": ipam})


def _map(value: object, name: str) -> Mapping[str, Any]:
    if not value:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{name} {value!r} is no map", where="network_ipam_refs")
    return value


def _step(error: NadError) -> str:
    # The model's hint speaks of NAD annotations where no other was given.
    return "take another block" if "opencontrail.org/cidr" in error.next_step else error.next_step


def _unsupported(key: str, value: object, why: str = "") -> RefusedError:
    return bad_request(
        f"{key} {value!r} is not supported",
        where="network_ipam_refs",
        why=why or _UNSUPPORTED.get(key, "the networks of this implementation don't have it"),
        next_step=f"leave {key} out",
    )


def refuse_changed(before: Iterable[Subnet], after: Iterable[Subnet]) -> None:
    """409 where a block stays and its gateway or DNS address would change: interfaces have them already."""
    known = {subnet.cidr: subnet.completed() for subnet in before}
    for subnet in after:
        old = known.get(subnet.cidr)
        if old is not None and (old.gateway, old.dns) != (subnet.gateway, subnet.dns):
            raise conflict(
                f"gateway and DNS address of the subnet {subnet.cidr} can't be changed",
                why=f"they are {old.gateway} and {old.dns}, and interfaces were given them",
                next_step="remove the subnet, then add it with the other addresses",
            )
