"""CNI results: our own, and as JSON values whoever made them, in each version's shape and chained.

Inside, a result has the shape of the newest version; :func:`as_version` gives it the shape of another one.
What a shape has no room for is left out; keys that this module does not know stay, since they belong to
somebody else in the chain.

Source: CNI specification 1.1.0 ("ADD Success"), and its tags: 0.1.0 and 0.2.0 know one address of each family
(``ip4``, ``ip6``), 0.3.x and 0.4.0 an address's ``version``, 1.1.0 ``mtu`` and more of interfaces and routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from multinet.cni import spec
from multinet.cni.spec import CNIError
from multinet.model.objects import Obj

_LEGACY_KEYS = ("ip4", "ip6")
_LIST_KEYS = ("interfaces", "ips", "routes")
# What 1.1.0 added; plugins of older versions may refuse what they don't know.
_NEW_IN_INTERFACES = frozenset({"mtu", "socketPath", "pciID"})
_NEW_IN_ROUTES = frozenset({"mtu", "advmss", "priority", "table", "scope"})


@dataclass(frozen=True, slots=True)
class ResultInterface:
    """An interface that exists now; ``sandbox`` is CNI_NETNS, or empty for one on the node itself."""

    name: str
    mac: str
    sandbox: str = ""
    mtu: int = 0

    def to_object(self) -> Obj:
        """The newest version's JSON form."""
        made: Obj = {"name": self.name, "mac": self.mac}
        if self.sandbox:
            made["sandbox"] = self.sandbox
        if self.mtu:
            made["mtu"] = self.mtu
        return made


@dataclass(frozen=True, slots=True)
class ResultAddress:
    """An address (``a.b.c.d/len``) on the interface at position ``interface`` of the result."""

    address: str
    interface: int | None = None
    gateway: str = ""

    def to_object(self) -> Obj:
        """The newest version's JSON form."""
        made: Obj = {"address": self.address}
        if self.interface is not None:
            made["interface"] = self.interface
        if self.gateway:
            made["gateway"] = self.gateway
        return made


@dataclass(frozen=True, slots=True)
class ResultRoute:
    """A route that exists now; without ``gw`` it goes by the interface's gateway."""

    dst: str
    gw: str = ""

    def to_object(self) -> Obj:
        """The newest version's JSON form."""
        return {"dst": self.dst, "gw": self.gw} if self.gw else {"dst": self.dst}


@dataclass(frozen=True, slots=True)
class Result:
    """What ADD made, without any version's shape."""

    interfaces: tuple[ResultInterface, ...] = ()
    ips: tuple[ResultAddress, ...] = ()
    routes: tuple[ResultRoute, ...] = ()
    nameservers: tuple[str, ...] = ()

    def to_object(self, version: str, previous: Mapping[str, Any] | None = None) -> Obj:
        """The answer of a plugin that was given ``previous`` as prevResult, in the shape of ``version``."""
        made: Obj = {
            "interfaces": [item.to_object() for item in self.interfaces],
            "ips": [item.to_object() for item in self.ips],
            "routes": [item.to_object() for item in self.routes],
            "dns": {"nameservers": list(self.nameservers)} if self.nameservers else {},
        }
        return as_version(made if previous is None else chained(previous, made), version)


def as_version(result: Mapping[str, Any], version: str) -> Obj:
    """The same result in the shape of ``version``.

    ``CNIError`` with code 1 for a version we don't speak, with code 7 for what is no result.
    """
    spec.check_version(version)
    newest = _newest(result)
    shape = spec.version_key(version)
    if shape < (0, 3, 0):
        return _legacy(newest, version)
    made: Obj = {**newest, "cniVersion": version}
    if shape < (1, 1, 0):
        made["interfaces"] = [_without(item, _NEW_IN_INTERFACES) for item in newest["interfaces"]]
        made["routes"] = [_without(item, _NEW_IN_ROUTES) for item in newest["routes"]]
    if shape < (1, 0, 0):
        made["ips"] = [{**item, "version": _family(item["address"])} for item in newest["ips"]]
    return made


def chained(previous: Mapping[str, Any], added: Mapping[str, Any]) -> Obj:
    """What a plugin answers that attached ``added`` where ``previous`` (prevResult) was there before.

    Nothing of either is lost. ``CNIError`` (code 7) when ``previous`` is no result.
    """
    before, after = _newest(previous), _newest(added)
    shift = len(before["interfaces"])
    ips = [
        {**item, "interface": item["interface"] + shift} if "interface" in item else item
        for item in after["ips"]
    ]
    dns = {**after["dns"], **before["dns"]}
    servers = [*before["dns"].get("nameservers", ()), *after["dns"].get("nameservers", ())]
    if servers:
        dns["nameservers"] = list(dict.fromkeys(servers))
    return {
        **before,
        "interfaces": [*before["interfaces"], *after["interfaces"]],
        "ips": [*before["ips"], *ips],
        "routes": [*before["routes"], *after["routes"]],
        "dns": dns,
    }


def previous_result(config: Mapping[str, Any]) -> Obj | None:
    """The configuration's prevResult, None without one; ``CNIError`` (code 7) when it is no result."""
    previous = config.get("prevResult")
    if previous is None:
        return None
    if not isinstance(previous, Mapping):
        raise _no_result("prevResult", f"it is a {type(previous).__name__}")
    return _newest(previous)


def _newest(result: Mapping[str, Any]) -> Obj:
    made: Obj = {key: value for key, value in result.items() if key not in _LEGACY_KEYS}
    for key in _LIST_KEYS:
        made[key] = _objects(result.get(key), key)
    for position, item in enumerate(made["ips"]):
        made["ips"][position] = _checked_address(item, len(made["interfaces"]))
    made["routes"] = [_checked_route(item) for item in made["routes"]]
    for key in _LEGACY_KEYS:
        entry = result.get(key)
        if entry is not None:
            _add_legacy(made, entry, key)
    dns = result.get("dns")
    if dns is not None and not isinstance(dns, Mapping):
        raise _no_result("dns", f"it is a {type(dns).__name__}")
    made["dns"] = dict(dns or {})
    servers = made["dns"].get("nameservers", [])
    if not isinstance(servers, list) or not all(isinstance(server, str) for server in servers):
        raise _no_result("dns.nameservers", "it is no list of texts")
    return made


def _add_legacy(made: Obj, entry: object, key: str) -> None:
    if not isinstance(entry, Mapping):
        raise _no_result(key, f"it is a {type(entry).__name__}")
    address = {"address": entry.get("ip")}
    if entry.get("gateway"):
        address["gateway"] = entry["gateway"]
    made["ips"].append(_checked_address(address, 0))
    made["routes"] += [_checked_route(item) for item in _objects(entry.get("routes"), f"{key}.routes")]


def _legacy(newest: Obj, version: str) -> Obj:
    made: Obj = {"cniVersion": version}
    for item in newest["ips"]:
        family = _family(item["address"])
        if f"ip{family}" in made:
            continue
        routes = [route for route in newest["routes"] if _family(route["dst"]) == family]
        entry: Obj = {"ip": item["address"]}
        if item.get("gateway"):
            entry["gateway"] = item["gateway"]
        if routes:
            entry["routes"] = [_without(route, _NEW_IN_ROUTES) for route in routes]
        made[f"ip{family}"] = entry
    return {**made, "dns": newest["dns"]}


def _objects(value: object, key: str) -> list[Obj]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _no_result(key, "it is no list of objects")
    return [dict(item) for item in value]


def _checked_address(item: Mapping[str, Any], interfaces: int) -> Obj:
    address = item.get("address")
    try:
        ip_interface(address if isinstance(address, str) else "")
    except ValueError as error:
        raise _no_result("ips", f"{address!r} is no address") from error
    position = item.get("interface")
    usable = isinstance(position, int) and not isinstance(position, bool) and 0 <= position < interfaces
    if position is not None and not usable:
        raise _no_result("ips", f"{position!r} is no position in its interfaces")
    absent = {"version"} if position is not None else {"version", "interface"}
    return _without(item, absent)


def _checked_route(item: Obj) -> Obj:
    destination = item.get("dst")
    try:
        ip_interface(destination if isinstance(destination, str) else "")
    except ValueError as error:
        raise _no_result("routes", f"{destination!r} is no destination") from error
    return item


def _family(address: str) -> str:
    return str(ip_interface(address).version)


def _without(item: Mapping[str, Any], keys: Iterable[str]) -> Obj:
    return {key: value for key, value in item.items() if key not in keys}


def _no_result(key: str, why: str) -> CNIError:
    return CNIError(spec.INVALID_CONFIG, f"this is no CNI result: {key} can't be read", why[:200])
