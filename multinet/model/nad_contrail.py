"""NetworkAttachmentDefinitions as Contrail R20/21 judges them (rows 1.2, 1.3, N8-N23).

Nothing here raises: the original logged an exception and went on, so the answer is "no network".
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from multinet.model import nad, naming
from multinet.model.nad import NadError, NadIntent
from multinet.model.naming import FqName
from multinet.model.networks import Subnet
from multinet.model.objects import key_of, metadata_of, name_of, namespace_of, section

_TYPE = "contrail-k8s-cni"


def is_accepted(obj: Mapping[str, Any]) -> bool:
    """Whether ``spec.config`` is one JSON map of exactly that type; every other key is of no interest."""
    config = section(obj, "spec").get("config")
    if not isinstance(config, str) or not config:
        return False
    try:
        read = json.loads(config)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) and read.get("type") == _TYPE


def target(obj: Mapping[str, Any], *, cluster: str, project: str = "") -> FqName | None:
    """The network's name as it was computed, before anything was checked (N23); None when unusable."""
    annotations = metadata_of(obj).get("annotations") or {}
    if nad.ANNOTATION_CIDR in annotations:
        return naming.nad_network_fq_name(namespace_of(obj), name_of(obj), cluster, project=project)
    text = str(annotations.get(nad.ANNOTATION_NETWORK) or "")
    return reference(text) if text else None


def reference(text: str) -> FqName | None:
    """``opencontrail.org/network``: a Python literal, so JSON's true, false and null break it (N10)."""
    try:
        return nad.read_reference(text, "", json_too=False)
    except NadError:
        return None


def intent(obj: Mapping[str, Any], *, cluster: str, project: str = "") -> NadIntent | None:
    """The network to make; None where there is none to make, or the CIDR made the original fail."""
    annotations = metadata_of(obj).get("annotations") or {}
    if nad.ANNOTATION_CIDR not in annotations:
        return None
    subnet = subnet_of(str(annotations[nad.ANNOTATION_CIDR]))
    if subnet is None:
        return None
    forwarding = str(annotations.get(nad.ANNOTATION_FORWARDING, "")).lower() == "true"
    snat = str(annotations.get(nad.ANNOTATION_SNAT, "")).lower() == "true"
    return NadIntent(
        "create",
        key_of(obj),
        naming.nad_network_fq_name(namespace_of(obj), name_of(obj), cluster, project=project),
        (subnet,),
        fabric_snat=snat and not forwarding,
        ip_fabric_forwarding=forwarding,
        plugin_type=_TYPE,
    )


def subnet_of(cidr: str) -> Subnet | None:
    """The subnet of a CIDR as netaddr reads it and the config API accepts it (N21); None where not."""
    block, slash, mask = cidr.strip().partition("/")
    if block.replace(".", "").isdigit() and block.count(".") < 3:
        # netaddr fills a short IPv4 address with zeros.
        block += ".0" * (3 - block.count("."))
    try:
        network = ipaddress.ip_network(f"{block}{slash}{mask}", strict=False)
    except ValueError:
        return None
    subnet = Subnet(network).completed()
    # A /31 or /32: the computed gateway is outside of the block, and the config API refuses that.
    return subnet if subnet.gateway is not None else None
