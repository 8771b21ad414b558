"""The network selection annotation ``k8s.v1.cni.cncf.io/networks`` (NPWG 4): the whole grammar.

Two forms: a comma list of ``name`` or ``namespace/name``, and a JSON list of maps. The parser is total: a
string gives a tuple of selections, or a :class:`SelectionError` that points at the character. Values that
need the network to judge (is the address in its subnet, is it free) are judged by the controller.

``name@interface`` is in no ratified version; it is accepted with the extension ``"multus"`` only.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from multinet.model.jsonpos import JsonFault, read
from multinet.model.objects import Obj
from multinet.model.selected import (
    Bandwidth,
    NetworkSelection,
    PortMapping,
    SelectionError,
    check_interface,
    check_name,
    check_namespace,
)
from multinet.model.selection_keys import element

__all__ = [
    "EXTENSION_MULTUS",
    "Bandwidth",
    "NetworkSelection",
    "PortMapping",
    "SelectionError",
    "parse",
    "render",
]

EXTENSION_MULTUS = "multus"


def parse(
    text: str, *, pod_namespace: str, extensions: frozenset[str] = frozenset()
) -> tuple[NetworkSelection, ...]:
    """Read the annotation's value; blank text and ``[]`` select nothing. Raises ``SelectionError`` only."""
    reading = _known if len(text) <= _SHORT else _parse
    return reading(text, pod_namespace, extensions)


def _parse(text: str, pod_namespace: str, extensions: frozenset[str]) -> tuple[NetworkSelection, ...]:
    start = len(text) - len(text.lstrip())
    if start == len(text):
        return ()
    if text[start] == "[":
        found = _parse_json(text, start, pod_namespace)
    elif text[start] == "{":
        raise SelectionError(
            text,
            start,
            "the selection is a single JSON map",
            "the JSON form is a list of maps, also for one network (NPWG 4.1.2)",
            "put [ and ] around it",
        )
    else:
        found = _parse_commas(text, pod_namespace, extensions)
    _check_across(text, found)
    return found


# A workload's replicas have one text, and each is read several times. Long ones would fill the memory.
_SHORT = 1024
_known = functools.lru_cache(maxsize=1024)(_parse)


def render(selections: Iterable[NetworkSelection]) -> str:
    """The JSON form of ``selections``: parsing it again gives equal selections."""
    return json.dumps([_to_map(selection) for selection in selections])


def _parse_json(text: str, start: int, pod_namespace: str) -> tuple[NetworkSelection, ...]:
    try:
        listed = read(text, start)
    except JsonFault as fault:
        raise SelectionError(
            text, fault.position, "the JSON form can't be read", fault.why, fault.next_step
        ) from fault
    return tuple(element(text, item, pod_namespace) for item in listed.value)


def _parse_commas(text: str, pod_namespace: str, extensions: frozenset[str]) -> tuple[NetworkSelection, ...]:
    found: list[NetworkSelection] = []
    at = 0
    for item in text.split(","):
        stripped = item.strip()
        begin = at + len(item) - len(item.lstrip()) if stripped else at
        found.append(_comma_item(text, begin, stripped, pod_namespace, extensions))
        at += len(item) + 1
    return tuple(found)


def _comma_item(
    text: str, at: int, item: str, pod_namespace: str, extensions: frozenset[str]
) -> NetworkSelection:
    if not item:
        raise SelectionError(
            text,
            at,
            "an item of the list is empty",
            "there is a comma with nothing before or after it",
            "remove the comma, or write the network that is missing",
        )
    if item[0] in "{[":
        raise SelectionError(
            text,
            at,
            "the two forms are mixed",
            "a comma list of names can't hold JSON",
            'write all of it as one JSON list: [{"name": "a"}, {"name": "b"}]',
        )
    network, sign, interface = item.partition("@")
    if sign and EXTENSION_MULTUS not in extensions:
        raise SelectionError(
            text,
            at + len(network),
            f"{item!r} names an interface with @",
            "name@interface is an extension of Multus and in no version of the standard",
            f'use the JSON form, with "interface": "{interface}"',
        )
    if sign:
        check_interface(text, at + len(network) + 1, interface)
    namespace, slash, name = network.rpartition("/")
    if slash:
        check_namespace(text, at, namespace)
    check_name(text, at + len(namespace) + len(slash), name)
    return NetworkSelection(name, namespace or pod_namespace, interface=interface, position=at)


def _check_across(text: str, found: tuple[NetworkSelection, ...]) -> None:
    names: dict[str, int] = {}
    addresses: set[str] = set()
    routed: NetworkSelection | None = None
    for number, item in enumerate(found):
        if item.interface and item.interface in names:
            raise SelectionError(
                text,
                item.position,
                f"the interface name {item.interface!r} is asked for twice",
                f"item {names[item.interface] + 1} has it already (NPWG 4.1.2.1.5)",
                "give each item its own name, or leave the names out",
            )
        names[item.interface] = number
        for address in item.ips:
            pair = f"{item.nad} {address.partition('/')[0]}"
            if pair in addresses:
                raise SelectionError(
                    text,
                    item.position,
                    f"the address {address} is asked for twice on {item.nad}",
                    "",
                    "ask for a different address, or leave ips out",
                )
            addresses.add(pair)
        if item.default_route is None:
            continue
        if routed is not None:
            raise SelectionError(
                text,
                item.position,
                "more than one item has default-route",
                f"{routed.nad} has it already; only one may (NPWG 4.1.2.1.9)",
                "keep the key on one item",
            )
        routed = item


def _to_map(item: NetworkSelection) -> Mapping[str, Any]:
    made: Obj = {"name": item.name, "namespace": item.namespace}
    optional: dict[str, Any] = {
        "interface": item.interface,
        "ips": list(item.ips),
        "mac": item.mac,
        "infiniband-guid": item.infiniband_guid,
        "ipam-claim-reference": item.ipam_claim_reference,
    }
    made.update({key: value for key, value in optional.items() if value})
    if item.default_route is not None:
        made["default-route"] = list(item.default_route)
    if item.cni_args is not None:
        made["cni-args"] = item.cni_args
    if item.port_mappings:
        made["portMappings"] = [mapping.to_spec() for mapping in item.port_mappings]
    if item.bandwidth is not None:
        made["bandwidth"] = item.bandwidth.to_spec()
    return made
