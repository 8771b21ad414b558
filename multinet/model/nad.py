"""NetworkAttachmentDefinitions: which are ours, and what each asks for.

Contrail keeps its settings in annotations of the NAD and only its type in ``spec.config``::

    opencontrail.org/cidr                  make a network with this subnet, or with several (comma or JSON
                                           list; IPv4 and IPv6: an interface gets an address of each family)
    opencontrail.org/network               use an existing one: {"domain": .., "project": .., "name": ..}
    opencontrail.org/ip_fabric_forwarding  "true" or "false" (default)
    opencontrail.org/ip_fabric_snat        "true" or "false" (default)

Ours alone is ``multinet.opencontrail.org/device``: the name of a spare NIC, which a pod on a node that has
it gets for itself. It needs no cidr; without one the interface has no address.

A NAD is stored by Kubernetes whatever it says, so a problem has to be told: :class:`NadError` has a reason
in CamelCase (for conditions and Events), a message and a next step.
"""

from __future__ import annotations

import ast
import functools
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from multinet.errors import InputError
from multinet.model import naming
from multinet.model.naming import FqName
from multinet.model.networks import IPNetwork, Subnet
from multinet.model.objects import (
    ANNOTATION_CONDITION,
    API_GROUP,
    annotations_of,
    key_of,
    name_of,
    namespace_of,
    section,
)

OWN_TYPES = frozenset({"contrail-k8s-cni", "multinet-cni"})

ANNOTATION_CIDR = "opencontrail.org/cidr"
ANNOTATION_NETWORK = "opencontrail.org/network"
ANNOTATION_FORWARDING = "opencontrail.org/ip_fabric_forwarding"
ANNOTATION_SNAT = "opencontrail.org/ip_fabric_snat"
ANNOTATION_DEVICE = "multinet.opencontrail.org/device"
_OWN_ANNOTATIONS = (
    ANNOTATION_CIDR,
    ANNOTATION_NETWORK,
    ANNOTATION_FORWARDING,
    ANNOTATION_SNAT,
    ANNOTATION_DEVICE,
)
_OWN_PREFIXES = ("opencontrail.org/", f"{API_GROUP}/")
_KNOWN = frozenset((*_OWN_ANNOTATIONS, ANNOTATION_CONDITION))
_REFERENCE_KEYS = ("domain", "project", "name")

# What Linux takes as a device's name (dev_valid_name in net/core/dev.c, 15 bytes), less what is odd.
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}")
_NETWORK_TEXT_LIMIT = 4096
_CIDR_STEP = f'write blocks with their prefix length: {ANNOTATION_CIDR}: "10.1.1.0/24, 2001:db8::/64"'
_NETWORK_STEP = (
    f'write {ANNOTATION_NETWORK}: \'{{"domain": "default-domain", "project": "...", "name": "..."}}\''
)


class NadError(InputError):
    """The NAD can't be used; ``reason`` is a CamelCase word for conditions and Events."""

    def __init__(
        self, reason: str, what: str, *, where: str = "", why: str = "", next_step: str = ""
    ) -> None:
        super().__init__(what, where=where, why=why, next_step=next_step)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a usable NAD which its author should know."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NadIntent:
    """What a NAD asks for.

    ``create``: ``target`` is the fq name of the network to make with ``subnets``. ``map``: ``target`` names
    a network which somebody else made. ``foreign``: the NAD is another plugin's; nothing else is set.
    ``device``: the network is what the spare NIC of that name is wired to, on each node that has one.
    """

    kind: Literal["create", "map", "foreign"]
    nad: str
    target: FqName | None = None
    subnets: tuple[Subnet, ...] = ()
    fabric_snat: bool = False
    ip_fabric_forwarding: bool = False
    plugin_type: str = ""
    notes: tuple[Note, ...] = ()
    device: str = ""

    @property
    def cidrs(self) -> tuple[str, ...]:
        """The subnets' blocks as text."""
        return tuple(str(subnet.cidr) for subnet in self.subnets)

    @property
    def shown(self) -> str:
        """Subnets and device in words."""
        return shown(self.cidrs, self.device)


def shown(cidrs: Sequence[str], device: str) -> str:
    """What a network consists of, in words."""
    words = [f"subnet {', '.join(cidrs)}" if cidrs else "", f"device {device}" if device else ""]
    return " and ".join(part for part in words if part)


def parse(obj: Mapping[str, Any], *, cluster: str = naming.DEFAULT_CLUSTER, project: str = "") -> NadIntent:
    """Judge a NetworkAttachmentDefinition; raises ``NadError`` when it is ours and can't be used."""
    where = f"NetworkAttachmentDefinition {key_of(obj)}"
    annotations = annotations_of(obj)
    plugin_type = _plugin_type(obj, where)
    ours = plugin_type in OWN_TYPES
    if not ours and (plugin_type or not any(key in annotations for key in _OWN_ANNOTATIONS)):
        if plugin_type:
            return NadIntent("foreign", key_of(obj), plugin_type=plugin_type)
        raise NadError(
            "EmptyDefinition",
            "the NAD says nothing about its network",
            where=where,
            why="there is no spec.config and no opencontrail.org annotation",
            next_step=_CIDR_STEP,
        )
    notes = _unknown_annotations(annotations)
    cidr = annotations.get(ANNOTATION_CIDR)
    target = annotations.get(ANNOTATION_NETWORK) or ""
    device = _device(annotations, where)
    if device and cidr is None and target.strip():
        raise NadError(
            "DeviceInvalid",
            "a device can't be in a network which somebody else made",
            where=where,
            why=f"{ANNOTATION_DEVICE} and {ANNOTATION_NETWORK} are both there",
            next_step=f"remove one of them; addresses for the device come by {ANNOTATION_CIDR}",
        )
    if cidr is not None or device:
        if target.strip():
            text = f"{ANNOTATION_NETWORK} is not used, because {ANNOTATION_CIDR} is there: remove one of them"
            notes.append(Note("NetworkAnnotationUnused", text))
        target_name = naming.nad_network_fq_name(namespace_of(obj), name_of(obj), cluster, project=project)
        reserved = naming.default_network_fq_name(cluster, project=project)
        if target_name == reserved:
            raise _reserved(obj, where, reserved)
        if device:
            _flag_notes(annotations, notes, "on a NAD that hands out a device")
            subnets = () if cidr is None else _subnets(cidr, f"{where}, {ANNOTATION_CIDR}")
            return NadIntent(
                "create",
                key_of(obj),
                target_name,
                subnets,
                plugin_type=plugin_type,
                notes=tuple(notes),
                device=device,
            )
        return _create(obj, where, cidr or "", target_name, notes, plugin_type)
    if target.strip():
        _flag_notes(annotations, notes, "on a NAD that maps to an existing network: set it on the network")
        fq_name = read_reference(target, where)
        notes += _unknown_keys(target)
        return NadIntent("map", key_of(obj), fq_name, plugin_type=plugin_type, notes=tuple(notes))
    raise NadError(
        "NetworkMissing",
        "the NAD names no network",
        where=where,
        why=f"it carries neither {ANNOTATION_CIDR} nor {ANNOTATION_NETWORK}",
        next_step=f"{_CIDR_STEP}; or {_NETWORK_STEP}",
    )


def _unknown_annotations(annotations: Mapping[str, str]) -> list[Note]:
    """A mistyped key asks for something that would be left out in silence."""
    unknown = sorted(key for key in annotations if key.startswith(_OWN_PREFIXES) and key not in _KNOWN)
    known = ", ".join(_OWN_ANNOTATIONS)
    return [
        Note("AnnotationUnknown", f"{key} is not known and has no effect: remove it, or write one of {known}")
        for key in unknown
    ]


def _unknown_keys(reference: str) -> list[Note]:
    read = _literal(reference)
    unknown = sorted(str(key) for key in read if key not in _REFERENCE_KEYS) if isinstance(read, dict) else []
    return [
        Note("AnnotationUnknown", f"the key {key!r} of {ANNOTATION_NETWORK} has no effect: remove it")
        for key in unknown
    ]


def _plugin_type(obj: Mapping[str, Any], where: str) -> str:
    """The CNI type of the config (of the first plugin of a list); empty where there is no config."""
    config = section(obj, "spec").get("config")
    if config is None or (isinstance(config, str) and not config.strip()):
        return ""
    step = 'write spec.config: \'{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}\''
    where = f"{where}, spec.config"
    try:
        read = json.loads(config)
    except (TypeError, ValueError, RecursionError) as error:
        why = str(error)
        if isinstance(config, str) and any("\u2018" <= c <= "\u201f" for c in config):
            why += "; it holds typographic quotes, which a word processor puts there"
        raise NadError(
            "ConfigNotJSON", "spec.config is not JSON", where=where, why=why, next_step=step
        ) from error
    if not isinstance(read, dict):
        why = f"it is a JSON {type(read).__name__}"
        raise NadError("ConfigInvalid", "spec.config is no map", where=where, why=why, next_step=step)
    plugins = read.get("plugins")
    if isinstance(plugins, list) and plugins and isinstance(plugins[0], dict):
        read = plugins[0]
    plugin_type = read.get("type")
    if not isinstance(plugin_type, str) or not plugin_type:
        why = 'the key "type" is missing or no string'
        raise NadError("ConfigInvalid", "spec.config has no type", where=where, why=why, next_step=step)
    return plugin_type


def _reserved(obj: Mapping[str, Any], where: str, target: FqName) -> NadError:
    return NadError(
        "NameReserved",
        f"the name {key_of(obj)} is reserved",
        where=where,
        why=f"its network would be {naming.fq_text(target)}, the cluster's default network",
        next_step="give the NAD another name",
    )


def _create(
    obj: Mapping[str, Any], where: str, cidr: str, target: FqName, notes: list[Note], plugin_type: str
) -> NadIntent:
    annotations = annotations_of(obj)
    forwarding = _flag(annotations, ANNOTATION_FORWARDING, notes)
    snat = _flag(annotations, ANNOTATION_SNAT, notes)
    if forwarding and snat:
        text = f"{ANNOTATION_SNAT} has no effect, because {ANNOTATION_FORWARDING} is on"
        notes.append(Note("SnatUnused", text))
    return NadIntent(
        "create",
        key_of(obj),
        target,
        _subnets(cidr, f"{where}, {ANNOTATION_CIDR}"),
        fabric_snat=snat and not forwarding,
        ip_fabric_forwarding=forwarding,
        plugin_type=plugin_type,
        notes=tuple(notes),
    )


def _subnets(text: str, where: str) -> tuple[Subnet, ...]:
    found = tuple(_subnet(item, where) for item in _blocks(text, where))
    for one, other in combinations(found, 2):
        if one.cidr.overlaps(other.cidr):
            raise NadError(
                "SubnetsOverlap",
                f"the blocks {one.cidr} and {other.cidr} overlap",
                where=where,
                why="an address would belong to two subnets of one network",
                next_step="write blocks that are apart",
            )
    return found


def _blocks(text: str, where: str) -> list[str]:
    """The items of a comma list or of a JSON (or Python) list of strings."""
    if text.strip()[:1] not in ("[", "{", "("):
        return text.split(",")
    read = _literal(text)
    if not isinstance(read, list) or not read or not all(isinstance(item, str) for item in read):
        raise NadError(
            "CIDRInvalid",
            f"{text!r} is no list of CIDRs",
            where=where,
            why="a list is written in JSON, with at least one string in it",
            next_step=_CIDR_STEP,
        )
    return read


def _subnet(cidr: str, where: str) -> Subnet:
    text = cidr.strip()
    block, slash, _ = text.partition("/")
    why = ""
    if not text:
        why = "the value is empty"
    elif not slash:
        why = f"there is no prefix length after {block!r}"
    if why:
        raise NadError("CIDRInvalid", f"{cidr!r} is no CIDR", where=where, why=why, next_step=_CIDR_STEP)
    try:
        subnet, fault = _completed(text)
    except ValueError as error:
        raise NadError(
            "CIDRInvalid", f"{cidr!r} is no CIDR", where=where, why=str(error), next_step=_CIDR_STEP
        ) from error
    _refuse(subnet, fault, where)
    return subnet


# The same few texts are read again with every look at a NAD.
@functools.lru_cache(maxsize=4096)
def _completed(text: str) -> tuple[Subnet, tuple[str, str]]:
    """The subnet of a block and what is wrong with it; ``ValueError`` when the text is no block.

    Host bits are dropped, netmask and hostmask forms are understood, as Contrail does.
    """
    subnet = Subnet(ipaddress.ip_network(text, strict=False)).completed()
    return subnet, _fault(subnet)


def check_subnet(subnet: Subnet, where: str) -> None:
    """Refuse blocks that no network can have, whoever asks: NAD or config API."""
    _refuse(subnet, _fault(subnet), where)


def _refuse(subnet: Subnet, fault: tuple[str, str], where: str) -> None:
    why, step = fault
    if why:
        what = f"the block {subnet.cidr} can't be used"
        raise NadError("CIDRUnusable", what, where=where, why=why, next_step=step)


def _fault(subnet: Subnet) -> tuple[str, str]:
    """Why no network can have a block, and what to do; empty where it can."""
    why = _unfit(subnet.cidr)
    if not why and (subnet.usable < 1 or subnet.gateway is None):
        why = "network, broadcast, gateway and DNS address leave no address for a pod"
        return why, "take a /29 or larger" if subnet.cidr.version == 4 else "take a /64"
    return why, _CIDR_STEP


@functools.lru_cache(maxsize=4096)
def _unfit(network: IPNetwork) -> str:
    """What makes all of a block unfit for pods; empty where nothing does."""
    largest = 8 if network.version == 4 else 16
    if network.prefixlen < largest:
        return f"it is larger than /{largest}"
    if network.is_multicast or network.is_loopback or network.is_link_local or network.is_unspecified:
        return "multicast, loopback and link-local addresses can't be given to pods"
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        return "IPv4-mapped addresses can't be put on an interface"
    return ""


def _flag(annotations: Mapping[str, str], key: str, notes: list[Note]) -> bool:
    value = str(annotations.get(key, "false"))
    if value.strip().lower() not in ("true", "false"):
        notes.append(Note("FlagInvalid", f'{key} is {value!r}, taken as "false": write "true" or "false"'))
    return value.strip().lower() == "true"


def _flag_notes(annotations: Mapping[str, str], notes: list[Note], where: str) -> None:
    for key in (ANNOTATION_FORWARDING, ANNOTATION_SNAT):
        if _flag(annotations, key, notes):
            notes.append(Note("FlagUnused", f"{key} has no effect {where}"))


def _device(annotations: Mapping[str, str], where: str) -> str:
    """The name of the spare NIC; empty where the NAD asks for none."""
    name = annotations.get(ANNOTATION_DEVICE)
    if name is None:
        return ""
    if name == "lo" or not _DEVICE.fullmatch(name):
        raise NadError(
            "DeviceInvalid",
            f"{name!r} can't be the name of a spare NIC",
            where=f"{where}, {ANNOTATION_DEVICE}",
            why="a name has 1 to 15 letters, digits, or characters of -_.@, and lo is no NIC",
            next_step=f"write the name it has on the node (ip link): {ANNOTATION_DEVICE}: nic0",
        )
    return name


def read_reference(text: str, where: str, *, json_too: bool = True) -> FqName:
    """``opencontrail.org/network``, on a NAD, pod or namespace; raises ``NadError``."""
    where = f"{where}, {ANNOTATION_NETWORK}"
    read = _literal(text, json_too=json_too)
    if not isinstance(read, dict):
        why = f"{text!r} is no map" if read is not None else f"{text[:80]!r} can't be read"
        raise NadError(
            "NetworkInvalid",
            "the network to map to can't be read",
            where=where,
            why=why,
            next_step=_NETWORK_STEP,
        )
    parts = [read.get(key) for key in _REFERENCE_KEYS]
    if not all(isinstance(part, str) and part for part in parts):
        raise NadError(
            "NetworkInvalid",
            "the network to map to is not named completely",
            where=where,
            why="domain, project and name must be non-empty strings",
            next_step=_NETWORK_STEP,
        )
    return (str(parts[0]), str(parts[1]), str(parts[2]))


def _literal(text: str, *, json_too: bool = True) -> Any:
    """JSON, or a Python literal as Contrail's documents write it; None when it is neither."""
    if len(text) > _NETWORK_TEXT_LIMIT:
        return None
    if json_too:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    # A backslash would make the Python parser warn about unknown escapes; no name holds one.
    if "\\" in text:
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
