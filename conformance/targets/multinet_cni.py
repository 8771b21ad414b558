"""``--target multinet-cni``: the reference implementation's CNI plugin, called by the tests themselves.

Behind it runs a node agent with a made-up cluster (:mod:`conformance.agenthost`), in the network
namespace of the test session.
"""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path

from conformance.profiles import Feature, Profile
from conformance.target import Claim, Facts, Implementation, PluginCall
from multinet import __version__
from multinet.cni import install, wire
from multinet.errors import InputError, LabError

_START_LIMIT_S = 20.0
_END_LIMIT_S = 10.0
_SOCKET = "socket"


def make(argument: str) -> MultinetCni:
    """The target; it takes no argument."""
    if argument:
        raise InputError(
            f"multinet-cni takes no argument, not {argument!r}", next_step="--target multinet-cni"
        )
    return MultinetCni()


class MultinetCni:
    """The compiled plugin where there is one, else the Python one, and an agent."""

    isolated = True
    cni_path: tuple[Path, ...] = (install.output_dir(),)

    def __init__(self) -> None:
        self._agent: subprocess.Popen[str] | None = None
        self._facts: Facts = {}

    @property
    def claim(self) -> Claim:
        """What it says of itself."""
        about = Implementation("multinet", "multinet-cni", "", __version__)
        features = {Feature.CHECK, Feature.GC, Feature.STATUS_VERB, Feature.CHAINED}
        return Claim(about, frozenset({Profile.CNI_PLUGIN}), frozenset(features))

    @property
    def binary(self) -> Path:
        """The executable."""
        return install.plugin_path()

    @property
    def state_dirs(self) -> tuple[Path, ...]:
        """The agent's."""
        return (Path(self._facts[_SOCKET]).with_name("agent"),)

    def call(self) -> PluginCall:
        """A pod of the container's name, which the agent's cluster decides when it is asked for."""
        return PluginCall(
            {"type": install.PLUGIN},
            args=(("K8S_POD_NAMESPACE", "default"), ("K8S_POD_NAME", "{container}")),
            environment={wire.SOCKET_VARIABLE: str(self._facts.get(_SOCKET, ""))},
        )

    def start(self, folder: Path) -> Facts:
        """Start the agent; ``LabError`` when it does not serve in time."""
        argv = [sys.executable, "-m", "conformance.agenthost", "--folder", str(folder)]
        with (folder / "agent.log").open("w") as log:
            self._agent = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._agent.stdout is not None
        ready = select.select([self._agent.stdout], [], [], _START_LIMIT_S)[0]
        if not ready or self._agent.stdout.readline() != "ready\n":
            why = (folder / "agent.log").read_text(errors="replace")[-800:]
            self.stop()
            raise LabError("the node agent did not start", where=str(folder / "agent.log"), why=why)
        return {_SOCKET: str(folder / "agent.sock")}

    def attach(self, facts: Facts) -> None:
        """Calls of this process go to the agent that was started."""
        self._facts = facts

    def stop(self) -> None:
        """End the agent."""
        if self._agent is None:
            return
        assert self._agent.stdin is not None
        self._agent.stdin.close()
        try:
            self._agent.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
        assert self._agent.stdout is not None
        self._agent.stdout.close()
        self._agent = None
