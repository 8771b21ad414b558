"""Another pod network than our own: any CNI plugins of this machine, configured by the lab's author.

The nodes run those plugins unmodified and nothing of the implementation under test: no controller, no node
agent. Each node gets the configuration list with what differs from node to node filled in:

=====================  ========================================
``$(NODE_NAME)``       ``node1``
``$(NODE_NUMBER)``     ``1`` for the first node; for subnets, say
=====================  ========================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multinet.errors import EnvironmentLackError

#: Where distributions (Debian's containernetworking-plugins) and installers put plugins.
PLUGIN_DIRS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
#: Where such plugins keep leases and the like; nodes of a lab must not share it, nor have the machine's.
STATE_DIR = Path("/var/lib/cni")
# Plugins that give each pod a link to the node and route; the node answers ARP for nobody.
_ROUTED = frozenset({"ptp"})
_BRIDGE = "bridge"
_USUAL_BRIDGE = "cni0"
_DEVICE_KEYS = ("bridge", "master")
_NODE_NAME, _NODE_NUMBER = "$(NODE_NAME)", "$(NODE_NUMBER)"
#: What is filled in for each node.
PLACEHOLDERS = frozenset({_NODE_NAME, _NODE_NUMBER})


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A CNI network configuration list for all nodes of a lab.

    ``folders`` have plugins that are not where such are installed; they are looked at first.
    """

    name: str
    cni_version: str
    plugins: tuple[Mapping[str, Any], ...]
    folders: tuple[Path, ...] = ()

    @property
    def binaries(self) -> tuple[Path, ...]:
        """Where the nodes find plugins."""
        return (*self.folders, *PLUGIN_DIRS)

    def to_json(self) -> str:
        """For another process."""
        folders = [str(path) for path in self.folders]
        return json.dumps([self.name, self.cni_version, list(self.plugins), folders])

    @classmethod
    def from_json(cls, text: str) -> PodNetwork:
        """What :meth:`to_json` wrote."""
        name, version, plugins, folders = json.loads(text)
        return cls(name, version, tuple(plugins), tuple(map(Path, folders)))

    @property
    def routed(self) -> bool:
        """Whether pods get to each other by way of the node, not on one wire."""
        return self.plugins[0].get("type") in _ROUTED

    @property
    def devices(self) -> frozenset[str]:
        """Devices of a node that belong to the network, not to a pod: plugins keep them."""
        named = {str(plugin[key]) for plugin in self.plugins for key in _DEVICE_KEYS if key in plugin}
        unnamed = any(plugin.get("type") == _BRIDGE and "bridge" not in plugin for plugin in self.plugins)
        return frozenset(named | {_USUAL_BRIDGE} if unnamed else named)

    def conflist(self, node: str, number: int) -> str:
        """The text of the configuration file of one node; ``number`` counts from 1."""
        filled = {_NODE_NAME: node, _NODE_NUMBER: str(number)}
        plugins = [_filled(plugin, filled) for plugin in self.plugins]
        content = {"cniVersion": self.cni_version, "name": self.name, "plugins": plugins}
        return json.dumps(content, indent=2) + "\n"

    def check_installed(self) -> None:
        """``EnvironmentLackError`` when the machine lacks a plugin that the configuration names."""
        types = {str(plugin.get("type")) for plugin in self.plugins}
        types |= {
            str(ipam["type"]) for plugin in self.plugins if (ipam := plugin.get("ipam") or {}).get("type")
        }
        missing = sorted(
            name for name in types if not any(_is_plugin(where / name) for where in self.binaries)
        )
        if missing:
            raise EnvironmentLackError(
                f"this machine lacks the CNI plugins {', '.join(missing)}",
                why=f"they are not in {', '.join(map(str, self.binaries))}",
                next_step="apt-get install --no-install-recommends containernetworking-plugins",
            )


def _is_plugin(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, values) for item in value]
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace(name, text)
    return value
