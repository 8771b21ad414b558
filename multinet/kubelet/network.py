"""Whether this node's pod network can be used: a configuration is there, and its plugins say yes.

The plugin's agent may start at the same time as the kubelet or come back later, so changes are not waited
for by the clock: the configuration directory and the directories given as hints (where the agent's socket
appears) are watched with inotify, and each change asks again. A bounded retry covers plugins that give no
such sign.

Before it says for the first time that a network is ready, what no sandbox here needs any more is taken down
(CNI 1.1.0, "GC"): what a kubelet that was killed, or a node that was switched off, left attached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from multinet.cni.runtime import Attachment, NetworkConfig, PluginError, Runtime, load_network
from multinet.errors import InputError
from multinet.kube.backoff import Backoff
from multinet.kubelet.inotify import DirectoryWatch
from multinet.kubelet.wakeup import wait_or_timeout

_log = logging.getLogger(__name__)
_RECHECK_S = 10.0
_COLLECTIONS = 6


class NodeNetwork:
    """The node's CNI configuration and its readiness, kept current by :meth:`run`.

    ``asked`` is set once the plugins were asked for the first time; ``needed`` tells the attachments of all
    sandboxes on file.
    """

    def __init__(
        self,
        runtime: Runtime,
        conf_dir: Path,
        hints: Sequence[Path] = (),
        needed: Callable[[], Iterable[Attachment]] = tuple,
    ) -> None:
        self.asked = asyncio.Event()
        self.config: NetworkConfig | None = None
        self.problem = "it was not asked yet"
        self._runtime = runtime
        self._conf_dir = conf_dir
        self._hints = tuple(hints)
        self._needed = needed
        self._failed_collections: dict[str, int] = {}
        self._collected: set[str] = set()
        self._backoff = Backoff(first_s=0.05, cap_s=1.0)
        self._callbacks: list[Callable[[], None]] = []

    @property
    def ready(self) -> bool:
        """Whether pods can be attached now."""
        return not self.problem

    @property
    def message(self) -> str:
        """Why the node is not ready, in the words of a real kubelet; empty when it is."""
        if self.ready:
            return ""
        return (
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            f"message:Network plugin returns error: {self.problem}"
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` each time readiness or the configuration changed."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        with DirectoryWatch((self._conf_dir, *self._hints)) as directories:
            while True:
                directories.changed.clear()
                await self.refresh()
                failures = 0 if self.ready else failures + 1
                limit = _RECHECK_S if self.ready else self._backoff.delay(failures)
                await wait_or_timeout(directories.changed, limit)

    async def refresh(self) -> None:
        """Read the configuration and ask its plugins once."""
        before = (self.config, self.problem)
        try:
            self.config = load_network(self._conf_dir)
            await self._runtime.status(self.config)
            await self._collect(self.config)
            self.problem = ""
        except (InputError, PluginError) as error:
            self.problem = str(error)
        self.asked.set()
        if (self.config, self.problem) == before:
            return
        _log.info("pod network: %s", self.problem or "ready")
        for callback in self._callbacks:
            callback()

    async def _collect(self, config: NetworkConfig) -> None:
        """Take down what is left over from earlier, once per network; when that fails, a few times more."""
        name = config.name
        if name in self._collected:
            return
        self._collected.add(name)
        try:
            await self._runtime.gc(config, self._needed)
        except PluginError as error:
            failures = self._failed_collections[name] = self._failed_collections.get(name, 0) + 1
            again = "" if failures == _COLLECTIONS else "; it is tried again"
            _log.warning("what is left over in network %s was not all taken down: %s%s", name, error, again)
            if again:
                self._collected.discard(name)
