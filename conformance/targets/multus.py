"""``--target multus:PATH``: Multus, by the path of its thin plugin, or of the thick one's daemon.

Nothing of it is part of this project: build or install it beside, and give the path. The daemon's shim,
``multus-shim``, is looked for beside it, or named after a comma. Which of them a file is, it says itself.

Multus looks into pods' network namespaces before it delegates, so the suite runs in namespaces of its own and
makes real ones.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.delegating import Node, Resident
from conformance.delegating.multus_daemon import Daemon
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
_THIN, _DAEMON, _SHIM = "multus", "multus-daemon", "multus-shim"
_LIMIT_S = 60.0
_HINT = "--target multus:/opt/cni/bin/multus, say, or multus:/opt/multus/multus-daemon"


def make(argument: str) -> ThinMultus:
    """``argument`` is the path of the thin plugin or of the daemon; a shim elsewhere follows a comma."""
    first, _, second = argument.partition(",")
    path = _executable(first)
    kind, version = _says(path)
    if kind == _THIN and not second:
        return ThinMultus(path, version)
    if kind != _DAEMON:
        why = f"it calls itself {kind!r}" if kind else "its --version is none of theirs"
        raise InputError("neither Multus' thin plugin nor its daemon", where=first, why=why, next_step=_HINT)
    shim = _executable(second or str(path.with_name(_SHIM)))
    if (found := _says(shim)[0]) != _SHIM:
        raise InputError("no shim of Multus", where=str(shim), why=f"it calls itself {found!r}")
    return ThickMultus(path, shim, version)


def _executable(text: str) -> Path:
    path = Path(text).absolute()
    if not text or not os.access(path, os.X_OK) or path.is_dir():
        raise InputError(f"no executable {text!r}", next_step=_HINT)
    return path


def _says(binary: Path) -> tuple[str, str]:
    """What it calls itself, and its version: ``multus-daemon: version:v4.3.0(...)``."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, check=False, timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError("it does not tell its version", where=str(binary), why=str(error)) from error
    found = re.match(r"([\w-]+): version:v?([^\s(,]+)", done.stdout)
    return (found.group(1), found.group(2)) if found else ("", "")


class ThinMultus:
    """One executable; it keeps nothing running."""

    isolated = True
    mode = "thin"

    def __init__(self, binary: Path, version: str) -> None:
        self.binary = binary
        about = Implementation(
            "k8snetworkplumbingwg",
            "multus-cni",
            "https://github.com/k8snetworkplumbingwg/multus-cni",
            version,
        )
        self.claim = Claim(about, _PROFILES, frozenset(Feature) - _NOT_CLAIMED, mode=self.mode)

    def start(self, folder: Path) -> Facts:  # noqa: ARG002 - the protocol's signature
        """Nothing runs yet."""
        return {}

    def attach(self, facts: Facts) -> None:
        """The executable is all there is."""

    def stop(self) -> None:
        """Nothing runs any more."""

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


class ThickMultus(ThinMultus, Resident):
    """A daemon beside each API of the suite, and the shim, which hands the runtime's calls to it."""

    mode = "thick"

    def __init__(self, daemon: Path, shim: Path, version: str) -> None:
        super().__init__(shim, version)
        self._executable = daemon
        self._daemon: Daemon | None = None

    @contextmanager
    def resident(self, kubeconfig: Path, folder: Path) -> Iterator[None]:
        """The daemon runs."""
        with Daemon(self._executable, kubeconfig, folder) as self._daemon:
            yield
        self._daemon = None

    def catch_up(self) -> None:
        """The daemon reads pods and NADs from copies: it has seen what was written so far."""
        if self._daemon is not None:
            self._daemon.catch_up()

    def said(self) -> str:
        """The daemon's log since it was asked last."""
        return self._daemon.said() if self._daemon is not None else ""

    def config(self, node: Node) -> Obj:
        """The thin plugin's, with the daemon's socket; the shim passes it on."""
        assert self._daemon is not None
        return {**super().config(node), "daemonSocketDir": str(self._daemon.socket_dir)}
