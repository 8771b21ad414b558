"""NetworkPolicy (networking.k8s.io/v1): defaults, checks and columns.

Source: kubernetes ``pkg/apis/networking`` (defaults, validation) and ``pkg/printers/internalversion``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from multinet.apiserver.columns import AGE, NAME
from multinet.apiserver.errors import FieldError, field_forbidden, invalid_value, required, unsupported
from multinet.apiserver.resources import Column, ResourceType, Strategy, Version
from multinet.apiserver.schema import Schema
from multinet.errors import InputError
from multinet.model.labels import LabelSelector
from multinet.model.objects import Obj, section
from multinet.model.policies import PROTOCOLS
from multinet.model.policy_schema import SPEC

_TYPES = ("Egress", "Ingress")
_SIDES = (("ingress", "from"), ("egress", "to"))


def _prepare(policy: Obj, _old: Obj | None = None) -> None:
    spec = policy.get("spec")
    if not isinstance(spec, dict):
        return
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for direction, _ in _SIDES:
        for rule in _maps(spec.get(direction)):
            for port in _maps(rule.get("ports")):
                port.setdefault("protocol", "TCP")


def _valid(policy: Obj) -> Iterator[FieldError]:
    spec = section(policy, "spec")
    yield from _selector(spec.get("podSelector"), "spec.podSelector")
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        yield invalid_value("spec.policyTypes", types, "may not specify more than two policyTypes")
    for index, each in enumerate(types):
        if each not in _TYPES:
            yield unsupported(f"spec.policyTypes[{index}]", each, _TYPES)
    for direction, side in _SIDES:
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for at, port in enumerate(rule.get("ports") or ()):
                yield from _port(port, f"{path}.ports[{at}]")
            for at, peer in enumerate(rule.get(side) or ()):
                yield from _peer(peer, f"{path}.{side}[{at}]")


def _port(port: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    if port.get("protocol") not in PROTOCOLS:
        yield unsupported(f"{path}.protocol", port.get("protocol"), sorted(PROTOCOLS))
    number, last = port.get("port"), port.get("endPort")
    if isinstance(number, int) and not 1 <= number <= 65535:
        yield invalid_value(f"{path}.port", number, "must be between 1 and 65535, inclusive")
    if isinstance(number, str) and not (0 < len(number) <= 15):
        yield invalid_value(f"{path}.port", number, "must be no more than 15 characters")
    if last is None:
        return
    if number is None:
        text = "may not be specified when `port` is not specified"
    elif isinstance(number, str):
        text = "may not be specified when `port` is non-numeric"
    elif last < number:
        text = "must be greater than or equal to `port`"
    else:
        text = "" if last <= 65535 else "must be between 1 and 65535, inclusive"
    if text:
        yield invalid_value(f"{path}.endPort", last, text)


def _peer(peer: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    if not given:
        yield required(path, "must specify a peer")
    elif "ipBlock" in given and len(given) > 1:
        yield field_forbidden(path, "may not specify both ipBlock and another peer")
    for key in given:
        if key == "ipBlock":
            yield from _block(peer[key], f"{path}.ipBlock")
        else:
            yield from _selector(peer[key], f"{path}.{key}")


def _block(block: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    cidr = block.get("cidr")
    if not cidr:
        yield required(f"{path}.cidr")
        return
    blocks = [(f"{path}.cidr", cidr)]
    blocks += [(f"{path}.except[{at}]", each) for at, each in enumerate(block.get("except") or ())]
    read = {}
    for where, text in blocks:
        try:
            if "/" not in text:
                raise ValueError
            read[where] = ip_network(text, strict=False)
        except ValueError:
            yield invalid_value(
                where, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            )
    whole = read.get(f"{path}.cidr")
    for where, text in blocks[1:]:
        part = read.get(where)
        if whole is None or part is None:
            continue
        inside = part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]
        if not inside or part == whole:
            yield invalid_value(where, text, f'must be a strict subset of `cidr`: "{cidr}"')


def _selector(selector: Any, path: str) -> Iterator[FieldError]:
    try:
        LabelSelector.of(selector or {}, path)
    except InputError as error:
        yield invalid_value(error.where, selector, error.why)


def _maps(items: Any) -> list[Obj]:
    """The maps of a list; whatever else there is, the schema refuses."""
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def _shown(policy: Obj, _now: float) -> str:
    """``FormatLabelSelector``."""
    selector = section(policy, "spec").get("podSelector") or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    words = {"In": "in", "NotIn": "notin"}
    for item in selector.get("matchExpressions") or ():
        operator, values = item.get("operator"), ",".join(sorted(item.get("values") or ()))
        if operator in words:
            parts.append(f"{item.get('key')} {words[operator]} ({values})")
        else:
            parts.append(f"{'!' if operator == 'DoesNotExist' else ''}{item.get('key')}")
    return ",".join(parts) or "<none>"


_COLUMNS = (NAME, Column("Pod-Selector", _shown), AGE)
NETWORK_POLICY = ResourceType(
    "networking.k8s.io",
    "networkpolicies",
    "NetworkPolicy",
    True,
    (Version("v1", _COLUMNS, Schema({"type": "object", "properties": {"spec": SPEC}})),),
    short_names=("netpol",),
    strategy=Strategy(_prepare, _prepare, _valid, lambda policy, _old: _valid(policy)),
    generation=True,
)
