"""One network of the delegating plugin: its configuration list, and how its plugins are executed (CNI, 3)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multinet.model.objects import Obj

VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
_WITH_FAMILY = ("0.3.0", "0.3.1", "0.4.0")
_OLD = ("0.1.0", "0.2.0")


class RefusedError(Exception):
    """A CNI error: ``code`` and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Attachment:
    """One attachment of a pod, with all that its DEL needs; ``entry`` is the name its status shows."""

    network: Obj
    ifname: str
    entry: str
    wishes: Obj = field(default_factory=dict)
    args: Obj = field(default_factory=dict)
    default: bool = False
    gateways: list[str] | None = None
    result: Obj | None = None

    @property
    def name(self) -> str:
        """The network's name."""
        return str(self.network["name"])


def network(config: Any, name: str) -> Obj:
    """A single plugin's configuration or a list as a list; a missing name is ``name`` (NPWG 3.4.2)."""
    if not isinstance(config, dict):
        raise RefusedError(7, f"{name}: the configuration is no JSON map")
    plugins = config.get("plugins", [config])
    if not isinstance(plugins, list) or not plugins:
        raise RefusedError(7, f"{name}: plugins must be a list of at least one")
    for plugin in plugins:
        if not isinstance(plugin, dict) or not isinstance(plugin.get("type"), str) or not plugin["type"]:
            raise RefusedError(7, f"{name}: a plugin needs a type")
        if not isinstance(plugin.get("args", {}), dict):
            raise RefusedError(7, f"{name}: args must be a map")
    return {"name": config.get("name") or name, "cniVersion": version_of(config), "plugins": plugins}


def version_of(config: Obj) -> str:
    """The highest supported one of ``cniVersion`` and ``cniVersions`` (CNI, 1: version considerations)."""
    offered = [config.get("cniVersion") or "0.3.1", *(config.get("cniVersions") or [])]
    return str(max(filter(VERSIONS.__contains__, offered), default=offered[0], key=VERSIONS.index))


def capabilities(net: Mapping[str, Any]) -> set[str]:
    """What at least one plugin of the list declares."""
    declared = (plugin.get("capabilities") for plugin in net["plugins"])
    return {key for one in declared if isinstance(one, dict) for key, value in one.items() if value is True}


def request(net: Mapping[str, Any], plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
    """What one plugin receives (CNI, 3: deriving the request configuration)."""
    made = {**plugin, "name": net["name"], "cniVersion": net["cniVersion"]}
    declared = plugin.get("capabilities") or {}
    made.pop("capabilities", None)
    wishes = {key: value for key, value in attached.wishes.items() if declared.get(key) is True}
    if wishes:
        made["runtimeConfig"] = wishes
    if attached.args:
        own = plugin.get("args") or {}
        made["args"] = {**own, "cni": {**(own.get("cni") or {}), **attached.args}}
    if previous is not None:
        made["prevResult"] = previous
    return made


def execute(config: Obj, env: Mapping[str, str], path: Sequence[str]) -> Obj | None:
    """Run one plugin; its result, or ``RefusedError`` with what it said."""
    kind = config["type"]
    binary = shutil.which(kind, path=os.pathsep.join(path)) if "/" not in kind else None
    if binary is None:
        raise RefusedError(100, f"no plugin {kind!r} in {os.pathsep.join(path)}")
    done = subprocess.run(
        [binary], input=json.dumps(config), env=dict(env), text=True, capture_output=True, check=False
    )
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError:
        raise RefusedError(100, f"{kind}: output is no JSON: {done.stdout[:200]!r}") from None
    if done.returncode != 0:
        said = answer if isinstance(answer, dict) else {}
        raise RefusedError(
            int(said.get("code", 100)), f"{kind}: {said.get('msg', done.stderr.strip()[:200])}"
        )
    return answer if isinstance(answer, dict) else None


def converted(result: Obj, version: str) -> Obj:
    """The result as a configuration of that version must have it (CNI, 5)."""
    addresses = [dict(item) for item in result.get("ips") or []]
    for key in ("ip4", "ip6"):
        if key in result:
            addresses.append({"address": result[key]["ip"]})
    made: Obj = {"cniVersion": version, "dns": result.get("dns") or {}}
    if version in _OLD:
        for item in addresses:
            made.setdefault("ip6" if ":" in item["address"] else "ip4", {"ip": item["address"]})
        return made
    for item in addresses:
        item.pop("version", None)
        if version in _WITH_FAMILY:
            item["version"] = "6" if ":" in item["address"] else "4"
    made |= {"ips": addresses, "interfaces": result.get("interfaces") or []}
    if result.get("routes"):
        made["routes"] = result["routes"]
    return made
