"""``--target kubeconfig:FILE``: a live cluster, described by a YAML file.

::

    kubeconfig: ~/.kube/config           # relative to the file; the environment's when left out
    container: {name: main, image: "nicolaka/netshoot", command: [sleep, infinity]}
    implementation: {organization: me, project: my-cni, url: "https://example.org", version: "1.2"}
    profiles: [core, status]
    features: [status, ips]
    specVersion: "1.3"
    limits: [{row: NPWG-4.2-a, reason: "...", source: "https://..."}]
    nad:                                 # $NAME, $NAMESPACE, $SUBNETS, $SUBNET and $RANGES are put in
      annotations: {example.org/pool: "$SUBNETS"}
      config: '{"cniVersion": "1.0.0", "name": "$NAME", "type": "my-cni", "range": "$SUBNET"}'
    brokenDefault: {example.org/default-network: missing}   # asks for a default network that is not there
    nodes: [worker-1]                    # where pods are put; the scheduler's choice when left out

$NAME is the network's: two NADs of one network have it in common. $RANGES are the subnets as host-local has
them, ``[[{"subnet": "10.0.0.0/24"}], ...]``. Where addresses are given out node by node, name one node.

The kernel is asked by ``ip`` in the pod's container, so its image needs that; the wire can't be probed from
here, and rows about it are unknown.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conformance import livecluster
from conformance.profiles import NEWEST, SPEC_VERSIONS, Feature, Profile
from conformance.target import (
    CannotObserveError,
    CannotProvideError,
    Claim,
    Facts,
    Implementation,
    Limit,
    Network,
    definition,
)
from multinet.errors import InputError
from multinet.model.objects import Obj
from scenarios.actions.commands import kubectl_path
from traffic.endpoint import Endpoint

_EXEC_LIMIT_S = 20.0
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Who(_Part):
    organization: str
    project: str
    url: str
    version: str
    contact: tuple[str, ...] = ()


class _Limit(_Part):
    row: str
    reason: str
    source: str


class _Nad(_Part):
    annotations: dict[str, str] = {}
    config: str | None = None


class _Description(_Part):
    implementation: _Who
    kubeconfig: str = ""
    container: dict[str, Any]
    profiles: tuple[Profile, ...]
    features: frozenset[Feature] = frozenset()
    spec_version: Literal[SPEC_VERSIONS] = Field(NEWEST, alias="specVersion")  # type: ignore[valid-type]
    mode: str = "default"
    limits: tuple[_Limit, ...] = ()
    nad: _Nad
    broken_default: dict[str, str] = Field({}, alias="brokenDefault")
    nodes: tuple[str, ...] = ()

    def claim(self) -> Claim:
        """What it says of the implementation."""
        return Claim(
            Implementation(**dict(self.implementation)),
            frozenset(self.profiles),
            self.features,
            self.spec_version,
            self.mode,
            tuple(Limit(**dict(limit)) for limit in self.limits),
        )


def make(argument: str) -> LiveTarget:
    """The target that a file describes; ``InputError`` says what is wrong with it."""
    path = Path(argument).absolute()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise InputError("it is no map")
        found = _Description.model_validate(data)
        kubeconfig = found.kubeconfig or os.environ.get("KUBECONFIG", "")
        if not kubeconfig:
            raise InputError("it names no kubeconfig, and KUBECONFIG is not set")
    except (OSError, ValueError, yaml.YAMLError, InputError) as error:
        hint = "conformance/targets/kubeconfig.py shows what it needs"
        raise InputError(
            "no description of a cluster", where=str(path), why=_why(error), next_step=hint
        ) from error
    return LiveTarget(found, path.parent / Path(kubeconfig).expanduser())


def _why(error: Exception) -> str:
    """In a user's words."""
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, InputError):
        return error.what
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"the key {place!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"no key {place!r} is known"
    return f"{place}: {first['msg']}: {first['input']!r} was given"


class LiveTarget:
    """A cluster that is there already."""

    isolated = False

    def __init__(self, described: _Description, kubeconfig: Path) -> None:
        self.claim = described.claim()
        self.kubeconfig = kubeconfig
        self.nodes = described.nodes
        self._container = described.container
        self._nad = described.nad
        self._broken_default = described.broken_default

    def start(self, folder: Path) -> Facts:  # noqa: ARG002 - the protocol's signature
        """Nothing to start; the cluster must be there, with all that the suite needs of it."""
        if not self.kubeconfig.exists():
            raise InputError("no kubeconfig", where=str(self.kubeconfig))
        livecluster.check(self.kubeconfig)
        return {}

    def attach(self, facts: Facts) -> None:
        """The kubeconfig is the same in every process."""

    def stop(self) -> None:
        """The cluster stays."""

    def nad(self, network: Network) -> Obj:
        """The file's template, filled in."""
        if network.addressless or network.without_config or network.device:
            raise CannotProvideError("the file describes NADs with a subnet only")
        described = network.same_as or network
        values = {
            "$NAMESPACE": described.namespace,
            "$NAME": described.name,
            "$SUBNETS": ",".join(described.subnets),
            "$SUBNET": described.subnets[0] if described.subnets else "",
            "$RANGES": json.dumps([[{"subnet": subnet}] for subnet in described.subnets]),
        }
        annotations = {key: _filled(text, values) for key, text in self._nad.annotations.items()}
        config = None if self._nad.config is None else _filled(self._nad.config, values)
        return definition(network, annotations=annotations, config=config)

    def container(self) -> Obj:
        """The file's."""
        return dict(self._container)

    def broken_default(self) -> Mapping[str, str]:
        """The file's."""
        if not self._broken_default:
            raise CannotProvideError("the file describes no default network that can't be attached")
        return self._broken_default

    def interfaces(self, namespace: str, pod: str) -> Sequence[Endpoint]:
        """By ``ip`` in the pod's container."""
        name = f"{namespace}/{pod}"
        links = self._ip(namespace, pod, "-d", "addr", "show")
        routes = [(4, one) for one in self._ip(namespace, pod, "-4", "route", "show")]
        routes += [(6, one) for one in self._ip(namespace, pod, "-6", "route", "show")]
        return [_endpoint(name, link, routes) for link in links if link.get("link_type") != "loopback"]

    def _ip(self, namespace: str, pod: str, *words: str) -> list[dict[str, Any]]:
        argv = [str(kubectl_path()), "--kubeconfig", str(self.kubeconfig), "exec", "-n", namespace, pod]
        try:
            done = subprocess.run(
                [*argv, "--", "ip", "-j", *words],
                capture_output=True,
                text=True,
                timeout=_EXEC_LIMIT_S,
                check=True,
            )
            found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
        except (subprocess.SubprocessError, ValueError) as error:
            why = str(getattr(error, "stderr", "") or error)
            raise CannotObserveError(
                "ip can't be run in the pod", where=f"{namespace}/{pod}", why=why
            ) from error
        return found

    def control_netns(self) -> Sequence[str]:
        """No way to the nodes."""
        return []

    def logs(self) -> Mapping[str, Path]:
        """None from here."""
        return {}

    def take_down(self, node: str) -> None:
        """A live cluster is not disturbed."""
        raise CannotProvideError("nodes of a live cluster are not disturbed", where=node)

    def bring_up(self, node: str) -> None:
        """Nothing was disturbed."""

    def restart_control(self) -> None:
        """Nobody's business here."""
        raise CannotProvideError("a live cluster's control plane is not restarted")


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _endpoint(name: str, link: Mapping[str, Any], routes: list[tuple[int, dict[str, Any]]]) -> Endpoint:
    own = [
        (_DEFAULTS[family] if route["dst"] == "default" else str(route["dst"]), str(route.get("gateway", "")))
        for family, route in routes
        if route.get("dev") == link["ifname"]
    ]
    flags = link.get("flags", ())
    return Endpoint(
        name=name,
        interface=str(link["ifname"]),
        netns="",
        mac=str(link.get("address", "")),
        addresses=tuple(f"{one['local']}/{one['prefixlen']}" for one in link.get("addr_info", ())),
        gateways=tuple(gateway for target, gateway in own if target in _DEFAULTS.values() and gateway),
        ifindex=int(link["ifindex"]),
        kind=str((link.get("linkinfo") or {}).get("info_kind", "")),
        mtu=int(link.get("mtu", 0)),
        up="UP" in flags,
        running="LOWER_UP" in flags,
        routes=tuple(own),
    )
