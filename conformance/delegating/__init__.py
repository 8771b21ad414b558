"""Delegating implementations as targets: what they are asked for, and the values their tests work with.

No cluster and no privilege: the suite is the runtime and executes the implementation's plugin, and the
recorder is every delegate (:mod:`conformance.delegating.bench`). An implementation that looks into pods'
network namespaces says that it is ``isolated``, and gets real ones, in namespaces of the session's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from conformance.target import Target
from multinet.model.objects import Obj

DELEGATES = ("delegate", "second", "default-delegate", "delegate-ipam")
DEFAULT = "default-net"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
STATUS = "k8s.v1.cni.cncf.io/network-status"
VERSION = "1.0.0"
_CRASHES = ("Traceback (most recent call last)", "panic: ", "goroutine 1 [", "Segmentation fault")


@dataclass(frozen=True, slots=True)
class Node:
    """What a delegating implementation finds on its node.

    ``path`` is ``CNI_PATH``; ``conf_dir`` has configurations of networks (NPWG 3.4.1), ``state_dir`` is for
    whatever it stores; ``default`` is the default network's configuration. ``ready_file``: where it is
    given, the default network is ready when it exists (6.1.2). ``isolation``: pods select NADs of their own
    namespace only (7.4).
    """

    kubeconfig: Path
    path: tuple[Path, ...]
    conf_dir: Path
    state_dir: Path
    default: Obj
    isolation: bool = False
    ready_file: Path | None = None


@runtime_checkable
class DelegatingTarget(Target, Protocol):
    """An implementation that is a CNI plugin and delegates to others."""

    @property
    def binary(self) -> Path:
        """The executable that the runtime calls."""

    def config(self, node: Node) -> Obj:
        """Its configuration on such a node, without ``cniVersion``; ``CannotProvideError`` if it has none."""


@runtime_checkable
class Resident(Protocol):
    """What a delegating target has besides, where a part of it keeps running on the node, as daemons do."""

    def resident(self, kubeconfig: Path, folder: Path) -> AbstractContextManager[None]:
        """It runs, for this API, with its files in ``folder``; once in each process of a test run."""

    def catch_up(self) -> None:
        """Return when it has seen what was written to the API so far; called before the runtime's calls."""

    def said(self) -> str:
        """What it wrote to its log since it was asked last."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a test, and the container id that the runtime gave it."""

    namespace: str
    name: str
    uid: str
    container: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of the implementation ended."""

    command: str
    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """It succeeded."""
        return self.status == 0

    @property
    def answer(self) -> Obj:
        """What it printed: a result or an error; an empty map for nothing, and for what is no JSON map."""
        try:
            value = json.loads(self.stdout)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def assert_orderly(self) -> None:
        """No crash: one JSON map or nothing on stdout, no stack trace on stderr, an error where it failed."""
        crash = next((word for word in _CRASHES if word in self.stderr), None)
        assert crash is None, f"{self.command} crashed: {self.stderr[self.stderr.index(crash or '') :][:600]}"
        assert self.status >= 0, f"{self.command} was killed by signal {-self.status}"
        try:
            value = json.loads(self.stdout) if self.stdout.strip() else {}
        except ValueError:
            raise AssertionError(
                f"{self.command}: stdout is not one JSON value: {self.stdout[:400]}"
            ) from None
        assert isinstance(value, dict), f"{self.command}: stdout is no JSON map: {self.stdout[:400]}"
        if not self.ok:
            assert {"code", "msg"} <= value.keys(), (
                f"{self.command} failed without an error: {self.stdout[:400]}"
            )

    def __str__(self) -> str:
        said = self.answer.get("msg", "") if not self.ok else ""
        return f"{self.command}: exit status {self.status} {said}".rstrip()


def meaning(result: Mapping[str, Any]) -> Obj:
    """A result without its empty members: ``"dns": {}`` says nothing, and libraries add it on the way."""
    return {key: value for key, value in result.items() if value not in ({}, [], None)}


def single(name: str | None, *capabilities: str, plugin: str = "delegate", **more: Any) -> Obj:
    """The configuration of one recorder; ``name`` None leaves it out."""
    made: Obj = {"cniVersion": VERSION, "type": plugin, **more}
    if name is not None:
        made["name"] = name
    if capabilities:
        made["capabilities"] = dict.fromkeys(capabilities, True)
    return made


def listed(name: str | None, *plugins: Obj, version: str = VERSION, **more: Any) -> Obj:
    """A list of recorders, made of :func:`single`."""
    own = [{key: value for key, value in one.items() if key not in ("cniVersion", "name")} for one in plugins]
    made: Obj = {"cniVersion": version, "plugins": own, **more}
    if name is not None:
        made["name"] = name
    return made
