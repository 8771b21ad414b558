"""``--target cni:PATH``: a CNI plugin, for the profile ``cni-plugin``.

``PATH`` is the executable. One whose configuration is not known here is called with its type alone; a JSON
file says how else: ``{"binary": PATH, "config": {"type": ...}, "needsPrevious": false, "ipam": true,
"onlyAddresses": false, "capabilities": [...], "features": [...], "cniPath": [FOLDER...],
"version": "1.6.2"}``; paths in it are relative to the file.

``PATH`` may also be a configuration list (``.conflist``), whose plugins are then tested as one: each call
goes through the list as a runtime's would (:mod:`conformance.chained`). They are looked for in ``CNI_PATH``,
or where plugins usually are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance import chained
from conformance.profiles import Feature, Profile
from conformance.snapshot import STATE_DIRS
from conformance.target import Claim, Facts, Implementation, PluginCall
from multinet.errors import InputError

_HOST_LOCAL = {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]]}
_STATIC = {"type": "static", "addresses": [{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]}
_USUAL = "/opt/cni/bin:/usr/lib/cni"
_KNOWN: Mapping[str, PluginCall] = {
    "bridge": PluginCall({"type": "bridge", "bridge": "conform0", "isGateway": True, "ipam": _HOST_LOCAL}),
    "ptp": PluginCall({"type": "ptp", "ipam": _HOST_LOCAL}),
    "macvlan": PluginCall({"type": "macvlan", "master": "uplink0", "ipam": _HOST_LOCAL}),
    "portmap": PluginCall(
        {"type": "portmap", "capabilities": {"portMappings": True}},
        needs_previous=True,
        ipam=False,
        capabilities=frozenset({"portMappings"}),
    ),
    "tuning": PluginCall({"type": "tuning"}, needs_previous=True, ipam=False),
    "host-local": PluginCall({"type": "host-local", "ipam": _HOST_LOCAL}, only_addresses=True),
    "static": PluginCall({"type": "static", "ipam": _STATIC}, only_addresses=True),
}


def make(argument: str) -> CniTarget:
    """The target for an executable or a JSON file."""
    path = Path(argument).absolute()
    if not argument or not path.is_file():
        raise InputError(f"no file {argument!r}", next_step="--target cni:/usr/lib/cni/bridge, for example")
    if path.suffix == ".json":
        return _from_file(path)
    if path.suffix == ".conflist":
        return _from_list(path)
    features = {Feature.CHECK}
    if (call := _KNOWN.get(path.name)) is not None:
        features.add(_kind(call))
    else:
        call = PluginCall({"type": path.name}, ipam=False)
    return CniTarget(path, call, (path.parent,), frozenset(features), "unknown")


def _kind(call: PluginCall) -> Feature:
    if call.only_addresses:
        return Feature.MANAGES_ADDRESSES
    return Feature.CHAINED if call.needs_previous else Feature.DELEGATES_IPAM


def _from_file(path: Path) -> CniTarget:
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(data, dict) or not isinstance(data["config"], dict) or "type" not in data["config"]:
            raise TypeError("config is no map with a type")
        binary = path.parent / str(data["binary"])
        call = PluginCall(
            data["config"],
            needs_previous=data.get("needsPrevious", False),
            ipam=data.get("ipam", True),
            only_addresses=data.get("onlyAddresses", False),
            capabilities=frozenset(data.get("capabilities", ())),
        )
        features = frozenset(map(Feature, data.get("features", ())))
    except (OSError, ValueError, KeyError, TypeError) as error:
        where, hint = str(path), "it needs at least binary and config"
        why = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError("no description of a plugin", where=where, why=why, next_step=hint) from error
    folders = tuple(path.parent / folder for folder in data.get("cniPath", (str(binary.parent),)))
    return CniTarget(binary, call, folders, features, str(data.get("version", "unknown")))


def _from_list(path: Path) -> ListTarget:
    folders = tuple(Path(folder) for folder in os.environ.get("CNI_PATH", _USUAL).split(os.pathsep))
    try:
        plugins = json.loads(path.read_text())["plugins"]
        if not isinstance(plugins, list) or not plugins:
            raise TypeError("plugins is no list of plugins")
        found = [_executable(str(plugin["type"]), folders) for plugin in plugins]
        able = {key for plugin in plugins for key, value in plugin.get("capabilities", {}).items() if value}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        hint = "see the CNI specification, section 1"
        raise InputError("no configuration list", where=str(path), why=why, next_step=hint) from error
    manages = any(plugin.get("ipam") for plugin in plugins)
    call = PluginCall({"plugins": plugins}, ipam=manages, capabilities=frozenset(able))
    features = {Feature.CHECK, Feature.DELEGATES_IPAM} if manages else {Feature.CHECK}
    return ListTarget(path, call, folders, frozenset(features), found)


def _executable(kind: str, folders: Iterable[Path]) -> Path:
    for folder in folders:
        if os.access(folder / kind, os.X_OK):
            return folder / kind
    where = os.pathsep.join(map(str, folders))
    raise InputError(f"no plugin {kind!r}", where=where, next_step="set CNI_PATH to the folders with plugins")


class CniTarget:
    """A plugin's executable; nothing to start."""

    isolated = True
    state_dirs = STATE_DIRS

    def __init__(
        self,
        binary: Path,
        call: PluginCall,
        cni_path: tuple[Path, ...],
        features: frozenset[Feature],
        version: str,
    ) -> None:
        self.binary = binary
        self.cni_path = cni_path
        self._call = call
        self._features = features
        self._version = version

    @property
    def claim(self) -> Claim:
        """Every plugin is measured by the profile for plugins."""
        about = Implementation("unknown", self.binary.name, self.binary.as_uri(), self._version)
        return Claim(about, frozenset({Profile.CNI_PLUGIN}), self._features)

    def call(self) -> PluginCall:
        """How it is called."""
        return self._call

    def start(self, folder: Path) -> Facts:  # noqa: ARG002 - the protocol's signature
        """Nothing runs; it must only be executable."""
        if not os.access(self.binary, os.X_OK):
            raise InputError("no executable", where=str(self.binary))
        return {}

    def attach(self, facts: Facts) -> None:
        """Nothing to reach."""

    def stop(self) -> None:
        """Nothing to stop."""


class ListTarget(CniTarget):
    """A list of plugins, behind one executable that the suite writes."""

    def __init__(
        self,
        path: Path,
        call: PluginCall,
        cni_path: tuple[Path, ...],
        features: frozenset[Feature],
        executables: list[Path],
    ) -> None:
        super().__init__(path, call, cni_path, features, "unknown")
        self._executables = executables

    def start(self, folder: Path) -> Facts:
        """Write the executable."""
        binary = folder / "list"
        chained.install(str(binary), map(str, self._executables))
        return {"binary": str(binary)}

    def attach(self, facts: Facts) -> None:
        """The executable is all there is."""
        self.binary = Path(facts["binary"])
