"""Which address families a service has, in which order: ``ipFamilyPolicy``, ``ipFamilies``, ``clusterIPs``.

What a user leaves out follows from the rest and from what the cluster is configured for; what was decided
stays, also when the policy would allow more. The API server's own words. Source: kubernetes
``pkg/registry/core/service/{alloc,strategy}.go``, ``pkg/apis/core/validation``
(ValidateServiceClusterIPsRelatedFields).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from multinet.apiserver.errors import FieldError, duplicate, invalid_value, required, unsupported
from multinet.model.objects import Obj

FAMILIES = ("IPv4", "IPv6")
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
POLICIES = (PREFER, REQUIRE, SINGLE)
NO_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NONE = "None"
_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def family_of(address: str) -> str:
    """``IPv4`` or ``IPv6``; ``ValueError`` for what is no address."""
    return f"IPv{ip_address(address).version}"


def is_headless(spec: Obj) -> bool:
    """Whether the service asks for no address of its own."""
    return spec.get("clusterIP") == _NONE


def prepare_create(spec: Obj) -> None:
    """Bring ``clusterIP`` and ``clusterIPs`` of a new service together."""
    listed = spec.get("clusterIPs")
    if spec.get("clusterIP") and not listed:
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif listed and not spec.get("clusterIP"):
        spec["clusterIP"] = listed[0]
    _default_policy(spec)


def prepare_update(spec: Obj, before: Obj) -> None:
    """Keep what was given where an update leaves it out, and what belongs together together."""
    same = (spec.get("clusterIPs") or []) == before.get("clusterIPs", [])
    one, then = spec.get("clusterIP"), before.get("clusterIP")
    if one != then and same and spec.get("clusterIPs"):
        # Who changes the first alone means it, and the list follows.
        spec["clusterIPs"] = [one] if one else []
    elif one == then and not same and spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec.update({key: before[key] for key in ("clusterIP", "clusterIPs") if key in before})
    elif not spec.get("clusterIPs") and spec.get("clusterIP") == then:
        spec["clusterIPs"] = before.get("clusterIPs", [])
    elif not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if not spec.get("ipFamilyPolicy") and "ipFamilyPolicy" in before:
        spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]
    if not spec.get("ipFamilies") and is_headless(spec) and "ipFamilies" in before:
        spec["ipFamilies"] = before["ipFamilies"]
    _default_policy(spec)
    if spec["ipFamilyPolicy"] == SINGLE and before.get("ipFamilyPolicy") not in (None, SINGLE):
        # Back to one family: what is not changed otherwise keeps its first.
        for field in ("clusterIPs", "ipFamilies"):
            if len(spec.get(field) or ()) > 1 and spec[field] == before.get(field):
                spec[field] = spec[field][:1]


def forget(spec: Obj, before: Obj) -> None:
    """An ExternalName has no address: what it had goes, unless somebody asks for it."""
    for field in _FIELDS:
        if spec.get(field) == before.get(field):
            spec.pop(field, None)


def _default_policy(spec: Obj) -> None:
    if not spec.get("ipFamilyPolicy"):
        # Somebody's own endpoints may be of any family.
        free = is_headless(spec) and not spec.get("selector")
        spec["ipFamilyPolicy"] = REQUIRE if free else SINGLE


def findings(spec: Obj) -> Iterator[FieldError]:
    """Yield what does not go together, whatever the cluster is configured for."""
    listed, families = spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    if spec.get("clusterIP"):
        if not listed:
            yield required("spec.clusterIPs")
        elif listed[0] != spec["clusterIP"]:
            yield invalid_value("spec.clusterIPs", listed, "first value must match `clusterIP`")
    elif listed:
        yield invalid_value("spec.clusterIPs", listed, "must be empty when `clusterIP` is not specified")
    for index, family in enumerate(families):
        if family not in FAMILIES:
            yield unsupported(f"spec.ipFamilies[{index}]", family, FAMILIES)
        if family in families[:index]:
            yield duplicate(f"spec.ipFamilies[{index}]", family)
    wrong = list(_address_findings(listed))
    yield from wrong
    if not wrong:
        yield from _pair_findings(spec, listed, families)


def _address_findings(listed: Sequence[str]) -> Iterator[FieldError]:
    for index, address in enumerate(listed):
        if index == 0 and address == _NONE:
            if len(listed) > 1:
                yield invalid_value("spec.clusterIPs", listed, "'None' must be the first and only value")
            continue
        try:
            ip_address(address)
        except ValueError:
            yield invalid_value(f"spec.clusterIPs[{index}]", address, NO_ADDRESS)


def _pair_findings(spec: Obj, listed: Sequence[str], families: Sequence[str]) -> Iterator[FieldError]:
    if len(listed) > 2:
        yield invalid_value("spec.clusterIPs", listed, "may only hold up to 2 values")
    given = [family_of(address) for address in listed if address != _NONE]
    if len(given) > 1 and len(set(given)) < len(given):
        text = "may specify no more than one IP for each IP family"
        yield invalid_value("spec.clusterIPs", listed, text)
    for index, (found, family) in enumerate(zip(given, families, strict=False)):
        if found != family and family in FAMILIES:
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            yield invalid_value(f"spec.clusterIPs[{index}]", listed[index], text)
    if spec.get("ipFamilyPolicy") == SINGLE:
        for field in ("clusterIPs", "ipFamilies"):
            if len(spec.get(field) or ()) > 1:
                text = f"must be RequireDualStack or PreferDualStack when multiple {field} are specified"
                yield invalid_value("spec.ipFamilyPolicy", SINGLE, text)


def change_findings(spec: Obj, before: Obj) -> Iterator[FieldError]:
    """Yield a change of what stays: the first address and family, and the second while there is one."""
    for field, one in (("clusterIPs", "clusterIP"), ("ipFamilies", "ipFamily")):
        now, then = spec.get(field) or [], before.get(field) or []
        if field == "ipFamilies" and not now:
            continue  # follows from the addresses
        if then and not now:
            yield invalid_value(f"spec.{field}[0]", now, f"primary {one} can not be unset")
            continue
        for index, (new, old) in enumerate(zip(now, then, strict=False)):
            if new != old:
                yield invalid_value(f"spec.{field}[{index}]", now, "may not change once set")
        if len(now) < len(then) and spec.get("ipFamilyPolicy") != SINGLE:
            text = f"must be set to 'SingleStack' when releasing the secondary {one}"
            yield invalid_value("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text)


def complete(spec: Obj, before: Obj | None, configured: Sequence[str]) -> Iterator[FieldError]:
    """Say which families the service has, in place; ``configured`` are the cluster's, its own first."""
    if before is not None and _is_settled(spec, before):
        return
    families: list[Any] = list(spec.get("ipFamilies") or [])
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address != _NONE and index >= len(families):
            families.append(family_of(address))
            if families[-1] not in configured:
                text = f"may not use {families[-1]} on a cluster which is not configured for it"
                yield invalid_value(f"spec.clusterIPs[{index}]", spec["clusterIPs"], text)
                return
    free = is_headless(spec) and not spec.get("selector")
    if not free:
        if spec["ipFamilyPolicy"] == REQUIRE and len(configured) < 2:
            detail = "this cluster is not configured for dual-stack services"
            yield invalid_value("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], detail)
        for index, family in enumerate(families):
            if family not in configured:
                yield invalid_value(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
    families = families or [configured[0]]
    if len(families) == 1 and spec["ipFamilyPolicy"] != SINGLE and (free or len(configured) > 1):
        families += [family for family in FAMILIES if family not in families]
    spec["ipFamilies"] = families


def _is_settled(spec: Obj, before: Obj) -> bool:
    """A service that prefers two families keeps what it has, whatever the cluster has become since."""
    unchanged = all((spec.get(field) or None) == before.get(field) for field in _FIELDS)
    return unchanged and spec["ipFamilyPolicy"] == PREFER
