"""``--target multus:PATH``: the thin plugin of Multus, by the path of its executable.

Nothing of it is part of this project: build or install it beside, and give the path. It looks into pods'
network namespaces before it delegates, so the suite runs in namespaces of its own and makes real ones.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from conformance.delegating import Node
from conformance.profiles import Feature, Profile
from conformance.target import Claim, Facts, Implementation
from multinet.errors import InputError
from multinet.model.objects import Obj

_PROFILES = frozenset(
    {
        Profile.CORE,
        Profile.DELEGATING,
        Profile.STATUS,
        Profile.DEFAULT_ROUTE,
        Profile.PORT_MAPPING,
        Profile.BANDWIDTH,
        Profile.INFINIBAND,
        Profile.DEVICE_INFO,
        Profile.MULTUS_EXTENSION,
        Profile.CNI_RUNTIME,
    }
)
_NOT_CLAIMED = {Feature.IPAM_CLAIM_REFERENCE, Feature.DYNAMIC, Feature.DELEGATES_IPAM}
_LIMIT_S = 20.0


def make(argument: str) -> MultusTarget:
    """``argument`` is the path of the executable."""
    path = Path(argument).absolute()
    if not argument or not os.access(path, os.X_OK) or path.is_dir():
        raise InputError(f"no executable {argument!r}", next_step="--target multus:/opt/cni/bin/multus, say")
    return MultusTarget(path)


class MultusTarget:
    """One executable; it keeps nothing running."""

    isolated = True

    def __init__(self, binary: Path) -> None:
        self.binary = binary
        about = Implementation(
            "k8snetworkplumbingwg",
            "multus-cni",
            "https://github.com/k8snetworkplumbingwg/multus-cni",
            _version(binary),
        )
        self.claim = Claim(about, _PROFILES, frozenset(Feature) - _NOT_CLAIMED, mode="thin")

    def start(self, folder: Path) -> Facts:  # noqa: ARG002 - the protocol's signature
        """Nothing runs."""
        return {}

    def attach(self, facts: Facts) -> None:
        """The executable is all there is."""

    def stop(self) -> None:
        """Nothing runs."""

    def config(self, node: Node) -> Obj:
        """Its configuration, as ``docs/configuration.md`` of its repository has it."""
        made: Obj = {
            "name": "multus-cni-network",
            "type": "multus",
            "kubeconfig": str(node.kubeconfig),
            "confDir": str(node.conf_dir),
            "cniDir": str(node.state_dir),
            "binDir": str(node.path[0]),
            "delegates": [node.default],
            "namespaceIsolation": node.isolation,
            "logToStderr": True,
            "logLevel": "verbose",
        }
        if node.ready_file is not None:
            made["readinessindicatorfile"] = str(node.ready_file)
        return made


def _version(binary: Path) -> str:
    """What it says of itself: ``multus: version:v4.2.3(...)``."""
    done = subprocess.run(
        [str(binary), "--version"], capture_output=True, text=True, check=False, timeout=_LIMIT_S
    )
    found = re.search(r"version:v?([^\s(,]+)", done.stdout)
    return found.group(1) if found else "unknown"
