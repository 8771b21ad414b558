"""``--target cni:PATH``: a CNI plugin, for the profile ``cni-plugin``.

``PATH`` is the executable, for plugins whose configuration is known here, or a JSON file that says how to
call another one: ``{"binary": PATH, "config": {"type": ...}, "needsPrevious": false, "ipam": true,
"onlyAddresses": false, "capabilities": [...], "features": [...], "cniPath": [FOLDER...],
"version": "1.6.2"}``; paths in it are relative to the file. What a plugin needs to be
called at all nobody can guess.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.profiles import Feature, Profile
from conformance.snapshot import STATE_DIRS
from conformance.target import Claim, Facts, Implementation, PluginCall
from multinet.errors import InputError

_HOST_LOCAL = {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]]}
_STATIC = {"type": "static", "addresses": [{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]}
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
    if path.name not in _KNOWN:
        hint = f"describe it in a JSON file; known are {', '.join(sorted(_KNOWN))}"
        raise InputError(f"no configuration is known for a plugin {path.name!r}", next_step=hint)
    call = _KNOWN[path.name]
    return CniTarget(path, call, (path.parent,), frozenset({Feature.CHECK, _kind(call)}), "unknown")


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
