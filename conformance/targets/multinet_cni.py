"""``--target multinet-cni``: the reference implementation's CNI plugin, called by the tests themselves.

Behind it runs a node agent with a made-up cluster (:mod:`conformance.agenthost`), in the network
namespace of the test session.
"""

from __future__ import annotations

from pathlib import Path

from conformance.child import Child
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
        self._agent: Child | None = None
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
        log = folder / "agent.log"
        self._agent = Child(["conformance.agenthost", "--folder", str(folder)], log)
        if self._agent.first_line(_START_LIMIT_S) != "ready\n":
            why = log.read_text(errors="replace")[-800:]
            self.stop()
            raise LabError("the node agent did not start", where=str(log), why=why)
        return {_SOCKET: str(folder / "agent.sock")}

    def attach(self, facts: Facts) -> None:
        """Calls of this process go to the agent that was started."""
        self._facts = facts

    def stop(self) -> None:
        """End the agent."""
        if self._agent is not None:
            self._agent.end(_END_LIMIT_S)
            self._agent = None
