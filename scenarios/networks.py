"""Networks in scenarios that can't work: what a NAD's annotation or a VirtualNetwork's subnets say.

Design note: a bad VirtualNetwork is refused by the controller too, but only in a condition that a run has to
wait for; the file has the line.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any

from multinet.errors import InputError
from multinet.model.networks import VNI_LIMIT, Subnet
from scenarios.manifests import Manifest
from scenarios.positions import Position, YamlPath

CIDR = "opencontrail.org/cidr"
_CIDR_HINT = "write one network as address/prefix, such as 10.10.10.0/24"
_FQ_NAME_HINT = "write [domain, project, name], such as [default-domain, k8s-default, blue]"


def _error(where: Position, what: str, why: str = "", next_step: str = "") -> InputError:
    return InputError(what, where=str(where), why=why, next_step=next_step)


def check_nad(manifest: Manifest) -> Iterator[InputError]:
    """A NAD's spec.config and CIDR."""
    spec = manifest.body.get("spec")
    config = spec.get("config") if isinstance(spec, dict) else None
    if isinstance(config, str) and config:
        try:
            json.loads(config)
        except json.JSONDecodeError as error:
            yield _error(
                manifest.at("spec", "config"),
                f"spec.config of NAD {manifest.name!r} is not JSON",
                f"{error.msg} at character {error.pos + 1}",
                "write it as one JSON object in single quotes",
            )
    cidr = manifest.annotations.get(CIDR)
    if isinstance(cidr, str):
        for block in _blocks(cidr):
            yield from _cidr(manifest, block)


def _blocks(text: str) -> list[str]:
    """The blocks of a list, in JSON or with commas; a single one, and what is no list, as it stands."""
    with contextlib.suppress(ValueError):
        listed = json.loads(text)
        if isinstance(listed, list) and all(isinstance(block, str) for block in listed):
            return listed
    return [block.strip() for block in text.split(",")] if "," in text else [text]


def _cidr(manifest: Manifest, cidr: str) -> Iterator[InputError]:
    where = manifest.at("metadata", "annotations", CIDR)
    what = f"{cidr!r} is no CIDR for NAD {manifest.name!r}"
    try:
        network = ipaddress.ip_network(cidr.strip(), strict=False)
    except ValueError as error:
        hint = "write one network as address/prefix, such as 10.10.10.0/24"
        yield _error(where, what, str(error), hint)
        return
    if "/" not in cidr:
        yield _error(where, what, "there is no prefix length", f"write {cidr}/24, for example")
    elif network.num_addresses <= 4:
        why = f"it has {network.num_addresses} addresses, and network, gateway, DNS and broadcast take four"
        yield _error(where, what, why, "use a prefix of /29 or shorter")


def check_virtual_network(manifest: Manifest) -> Iterator[InputError]:
    """The fq name, VNI and subnets of a VirtualNetwork."""
    spec = manifest.body.get("spec")
    if not isinstance(spec, dict):
        why = "a VirtualNetwork needs at least its fqName"
        yield _error(manifest.at(), f"VirtualNetwork {manifest.name!r} has no spec", why, "add spec:")
        return
    yield from _fq_name(manifest, spec.get("fqName"))
    vni = spec.get("vni")
    if vni is not None and (not isinstance(vni, int) or isinstance(vni, bool) or not 0 <= vni <= VNI_LIMIT):
        what = f"{vni!r} is no VNI for VirtualNetwork {manifest.name!r}"
        why = f"a VNI is a number from 1 to {VNI_LIMIT}"
        yield _error(manifest.at("spec", "vni"), what, why, "leave it out, and one is chosen")
    subnets = spec.get("subnets")
    if subnets is not None and not isinstance(subnets, list):
        what = f"subnets of VirtualNetwork {manifest.name!r} is no list"
        yield _error(manifest.at("spec", "subnets"), what, "", "write - cidr: 10.10.10.0/24 below it")
        return
    for index, subnet in enumerate(subnets or ()):
        yield from _subnet(manifest, ("spec", "subnets", index), subnet)


def _fq_name(manifest: Manifest, name: Any) -> Iterator[InputError]:
    if not (isinstance(name, list) and len(name) == 3 and all(isinstance(p, str) and p for p in name)):
        what = f"fqName of VirtualNetwork {manifest.name!r} is not three texts"
        yield _error(manifest.at("spec", "fqName"), what, "", _FQ_NAME_HINT)


def _subnet(manifest: Manifest, path: YamlPath, subnet: Any) -> Iterator[InputError]:
    name = f"VirtualNetwork {manifest.name!r}"
    if not isinstance(subnet, Mapping) or not isinstance(subnet.get("cidr"), str):
        yield _error(manifest.at(*path), f"a subnet of {name} has no cidr", "", _CIDR_HINT)
        return
    cidr = str(subnet["cidr"])
    where, what = manifest.at(*path, "cidr"), f"{cidr!r} is no CIDR for {name}"
    try:
        ipaddress.ip_network(cidr, strict=False)
    except ValueError as error:
        yield _error(where, what, str(error), _CIDR_HINT)
        return
    if "/" not in cidr:
        yield _error(where, what, "there is no prefix length", f"write {cidr}/24, for example")
        return
    for key in ("gateway", "dns"):
        address = subnet.get(key)
        if not address:
            continue
        try:
            ipaddress.ip_address(address if isinstance(address, str) else repr(address))
            Subnet.from_spec({"cidr": cidr, key: address})
        except ValueError as error:
            what = f"{address!r} is no {key} address for {name}"
            yield _error(manifest.at(*path, key), what, str(error), f"take an address in {cidr}")
        except InputError as error:
            yield _error(manifest.at(*path, key), f"{error.what} in {name}", error.why, error.next_step)
