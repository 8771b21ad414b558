"""``--target reference[:MODE]``: the implementation of this project, in a lab on this machine.

A mode is a dialect, or ``isolation``: the default dialect, with pods kept to networks of their own namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from conformance import labhost
from conformance.labtarget import LabTarget
from conformance.profiles import Feature, Profile
from conformance.target import (
    CannotProvideError,
    Claim,
    Facts,
    Implementation,
    Limit,
    Network,
    definition,
)
from multinet.errors import InputError
from multinet.model.nad import ANNOTATION_DEVICE
from multinet.model.objects import Obj

_NODES = 3
_DEFAULT, _CLASSIC_MODE, _ISOLATION = _MODES = ("default", "contrail-classic", "isolation")
_CONFIG = {"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}
_PROFILES = frozenset(
    {
        Profile.CORE,
        Profile.NON_DELEGATING,
        Profile.STATUS,
        Profile.DEFAULT_ROUTE,
        Profile.BANDWIDTH,
        Profile.PORT_MAPPING,
        Profile.CONTRAIL_MULTINET,
    }
)
_FEATURES = frozenset(
    {
        Feature.IPS,
        Feature.MAC,
        Feature.INTERFACE,
        Feature.DEFAULT_ROUTE,
        Feature.DUAL_STACK,
        Feature.STATUS,
        Feature.BANDWIDTH,
        Feature.PORT_MAPPINGS,
    }
)
_LIMITS = (
    Limit(
        "CTRL-S-12",
        "a name in JSON is a DNS-1123 name, as the standard has it; the namespace is a key of its own",
        "docs/dialects.md, decision grammar",
    ),
)
_CLASSIC = frozenset({Profile.CONTRAIL_MULTINET})
_CLASSIC_LIMITS = (
    Limit("CTRL-S-12", "a name in JSON is taken as it is, and found nowhere", "docs/dialects.md, P3"),
    Limit("CTRL-S-13", "a list with commas is not trimmed", "docs/dialects.md, P2"),
)


def make(argument: str) -> ReferenceTarget:
    """The reference in one of its modes; ``default`` when none is named."""
    mode = argument or _DEFAULT
    if mode not in _MODES:
        raise InputError(f"no mode {mode!r}", next_step=f"choose {' or '.join(_MODES)}")
    return ReferenceTarget(mode)


class ReferenceTarget(LabTarget):
    """A lab for the whole session; the last node is the one that may be disturbed."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    @property
    def claim(self) -> Claim:
        """The default dialect claims the standard; the classic one what Contrail's documents promise."""
        about = Implementation(
            organization="multinet",
            project="multinet",
            url="https://github.com/tungstenfabric",
            version=metadata.version("multinet"),
        )
        if self._mode == _CLASSIC_MODE:
            features = frozenset({Feature.INTERFACE, Feature.STATUS})
            return Claim(about, _CLASSIC, features, mode=self._mode, limits=_CLASSIC_LIMITS)
        if self._mode == _ISOLATION:
            features = _FEATURES | {Feature.NAMESPACE_ISOLATION}
            return Claim(about, _PROFILES - _CLASSIC, features, mode=self._mode)
        return Claim(about, _PROFILES, _FEATURES, mode=self._mode, limits=_LIMITS)

    def start(self, folder: Path) -> Facts:
        """Start the lab."""
        dialect = _CLASSIC_MODE if self._mode == _CLASSIC_MODE else _DEFAULT
        settings = ("--namespace-isolation",) if self._mode == _ISOLATION else ()
        return self._lab.start(folder, nodes=_NODES, dialect=dialect, controller=settings)

    def nad(self, network: Network) -> Obj:
        """A network is made by its CIDR, or named as the one that another NAD made."""
        if network.addressless:
            raise CannotProvideError("every network of this implementation has addresses")
        if network.device and self._mode == _CLASSIC_MODE:
            raise CannotProvideError("this dialect hands out no network cards")
        annotations = {ANNOTATION_DEVICE: labhost.DEVICE} if network.device else {}
        if network.same_as is not None:
            other = network.same_as
            name = {
                "domain": "default-domain",
                "project": f"k8s-{other.namespace}",
                "name": f"k8s-{other.name}-pod-network",
            }
            annotations["opencontrail.org/network"] = json.dumps(name)
        elif network.subnets:
            annotations["opencontrail.org/cidr"] = ",".join(network.subnets)
        config = None if network.without_config else json.dumps(_CONFIG)
        return definition(network, annotations=annotations, config=config)

    def broken_default(self) -> Mapping[str, str]:
        """A pod may name the network of its first interface (docs/dialects.md, P14)."""
        missing = {"domain": "default-domain", "project": "k8s-default", "name": "missing"}
        return {"opencontrail.org/network": json.dumps(missing)}

    def take_down(self, node: str) -> None:
        """Kill the node agent."""
        labhost.order(self._facts, "kill", "vrouter", node)

    def bring_up(self, node: str) -> None:
        """Start the node agent again."""
        labhost.order(self._facts, "restart", "vrouter", node)

    def restart_control(self) -> None:
        """Restart the controller."""
        labhost.order(self._facts, "restart", "controller", "cp")
