"""``--target meta[:FAULT]``: the suite's own delegating plugin, whole or with one known fault.

``meta:extended`` is the plugin with device information and Multus' extensions; faults of those imply it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from conformance.delegating import Node
from conformance.mutants import faults
from conformance.mutants.extended import Extended
from conformance.profiles import Feature, Profile
from conformance.target import Claim, Facts, Implementation
from multinet.model.objects import Obj

_FEATURES = frozenset(
    {
        Feature.IPS,
        Feature.MAC,
        Feature.INTERFACE,
        Feature.CNI_ARGS,
        Feature.PORT_MAPPINGS,
        Feature.BANDWIDTH,
        Feature.INFINIBAND_GUID,
        Feature.STATUS,
        Feature.NAMESPACE_ISOLATION,
        Feature.DUAL_STACK,
    }
)
_PROFILES = frozenset({Profile.CORE, Profile.DELEGATING, Profile.STATUS, Profile.CNI_RUNTIME})
_MORE_FEATURES = frozenset(
    {Feature.DEVICE_INFO, Feature.NAME_AT_INTERFACE, Feature.DEFAULT_NETWORK_ANNOTATION}
)
_MORE_PROFILES = frozenset({Profile.DEVICE_INFO, Profile.MULTUS_EXTENSION})


def make(argument: str) -> MetaTarget:
    """``argument`` is a fault's name, ``extended``, or empty."""
    return MetaTarget(argument)


class MetaTarget:
    """One executable that the suite writes, so that a fault is part of its name."""

    def __init__(self, fault: str) -> None:
        extended = issubclass(faults.kind_of(fault), Extended)
        # Its files are in a folder of the machine's.
        self.isolated = extended
        self._fault = fault
        self.binary = Path()
        self.claim = Claim(
            implementation=Implementation("multinet", "meta", "", "1"),
            profiles=_PROFILES | _MORE_PROFILES if extended else _PROFILES,
            features=_FEATURES | _MORE_FEATURES if extended else _FEATURES,
            mode=fault or "default",
        )

    def start(self, folder: Path) -> Facts:
        """Write the executable."""
        binary = folder / "bin" / "meta"
        binary.parent.mkdir(parents=True)
        # Python without site starts in half the time; so the plugin is told where everything is.
        paths = [str(Path(__file__).parents[2]), str(Path(yaml.__file__).parents[1])]
        lines = [
            f"#!{sys.executable} -IS",
            "import sys",
            f"sys.path[:0] = {paths!r}",
            "from conformance.mutants.faults import run",
            f"sys.exit(run({self._fault!r}))",
        ]
        binary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        binary.chmod(0o755)
        return {"binary": str(binary)}

    def attach(self, facts: Facts) -> None:
        """The executable is all there is."""
        self.binary = Path(facts["binary"])

    def stop(self) -> None:
        """Nothing runs."""

    def config(self, node: Node) -> Obj:
        """Its configuration; see :mod:`conformance.mutants.meta`."""
        made: Obj = {
            "name": "meta",
            "type": "meta",
            "kubeconfig": str(node.kubeconfig),
            "confDir": str(node.conf_dir),
            "stateDir": str(node.state_dir),
            "default": node.default,
            "namespaceIsolation": node.isolation,
        }
        if node.ready_file is not None:
            made["readyFile"] = str(node.ready_file)
        return made
