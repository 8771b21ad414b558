"""The containers of one pod: which to start now, which later, which are done.

Order, from Kubernetes' "Init Containers" and "Sidecar Containers": init containers one after the other, each
to its end; one with ``restartPolicy: Always`` (a sidecar) runs on, and the next waits only until it has come
up; then all main containers. A new sandbox runs the init containers again. At the end the main containers
are stopped first, then the sidecars, last first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multinet.errors import InputError, WaitExpiredError
from multinet.kubelet.attendant import Attendant, sources_of
from multinet.kubelet.containers import Container
from multinet.kubelet.context import NodeContext
from multinet.kubelet.podspec import containers_of, is_sidecar, restart_policy
from multinet.kubelet.projection import MissingSourceError
from multinet.kubelet.sandbox import Sandbox
from multinet.kubelet.volumes import PodVolumes
from multinet.model.objects import Obj, uid_of

Spec = Mapping[str, Any]
_CONFIG_ERROR = "CreateContainerConfigError"


class PodContainers:
    """Init and main containers of a pod. ``waiting`` says why one that should run does not."""

    def __init__(self, context: NodeContext, pod: Obj, wake: Callable[[], None]) -> None:
        self.waiting: dict[str, tuple[str, str]] = {}
        self._context = context
        self._failures: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        directory = context.pods_dir / uid_of(pod)
        self._volumes = PodVolumes(directory)

        def make(kind: str) -> tuple[Container, ...]:
            return tuple(
                Container(str(spec["name"]), directory / str(spec["name"]), context.launcher, wake)
                for spec in containers_of(pod, kind)
            )

        self.init = make("initContainers")
        self.main = make("containers")
        self._attendants = {
            item.name: Attendant(context, item, self._volumes, wake) for item in (*self.init, *self.main)
        }

    def by_name(self, name: str) -> Container | None:
        """The container of that name, init or main."""
        found = self._attendants.get(name)
        return found.container if found is not None else None

    def recover(self) -> None:
        """Take over what an earlier kubelet started."""
        for attendant in self._attendants.values():
            attendant.container.recover()

    def sandbox_changed(self) -> None:
        """A new sandbox: what initialised the old one is to be done again."""
        for item in self.init:
            item.forget_end()

    def refuse_all(self, pod: Obj, message: str) -> None:
        """None of them can be started, for this reason."""
        for item in (*self.init, *self.main):
            self._refuse(pod, item, message)

    async def sync(self, pod: Obj, sandbox: Sandbox) -> float | None:
        """Start what is to run now; return in how many seconds to look again (None: on the next event)."""
        self.waiting.clear()
        self._volumes.refresh(pod, sources_of(self._context, sandbox))
        delays: list[float | None] = []
        for spec, container in zip(containers_of(pod, "initContainers"), self.init, strict=True):
            if not is_sidecar(spec) and _succeeded(container):
                continue
            delays.append(await self._sync_one(pod, sandbox, spec, container))
            if not (is_sidecar(spec) and container.started):
                self._hold((*self.init, *self.main), "PodInitializing")
                return _soonest(delays)
        for spec, container in zip(containers_of(pod), self.main, strict=True):
            delays.append(await self._sync_one(pod, sandbox, spec, container))
        return _soonest(delays)

    async def stop(self, pod: Obj, grace_s: float, hurry: asyncio.Event) -> None:
        """Stop all of them within ``grace_s`` seconds together."""
        begun = time.monotonic()
        sidecars = {str(spec["name"]) for spec in containers_of(pod, "initContainers") if is_sidecar(spec)}
        first = [item.name for item in (*self.init, *self.main) if item.name not in sidecars]
        await asyncio.gather(*(self._attendants[name].stop(pod, grace_s, hurry) for name in first))
        for item in reversed(self.init):
            if item.name in sidecars:
                left = max(0.0, grace_s - (time.monotonic() - begun))
                await self._attendants[item.name].stop(pod, left, hurry)

    def abandon(self) -> None:
        """Stop watching them; they run on."""
        for attendant in self._attendants.values():
            attendant.abandon()

    def _hold(self, containers: Sequence[Container], reason: str) -> None:
        for container in containers:
            if not container.attempts and container.name not in self.waiting:
                self.waiting[container.name] = (reason, "")

    async def _sync_one(self, pod: Obj, sandbox: Sandbox, spec: Spec, container: Container) -> float | None:
        attendant = self._attendants[container.name]
        if container.running:
            attendant.resume(pod, spec, sandbox)
            return None
        attendant.rest()
        if container.exit is not None:
            if not _restarts(pod, container):
                return None
            delay = self._restart_delay(container)
            if delay > 0:
                message = f"back-off {delay:.1f}s restarting failed container={container.name}"
                self.waiting[container.name] = ("CrashLoopBackOff", message)
                return delay
        try:
            await attendant.start(pod, spec, sandbox)
        except (MissingSourceError, WaitExpiredError) as error:
            self.waiting[container.name] = ("ContainerCreating", str(error))
            self._say_once(pod, container, "FailedMount", f"MountVolume.SetUp failed: {error}")
            return self._context.timing.sandbox.cap_s
        except InputError as error:
            self._refuse(pod, container, str(error))
            return None
        self._refused.pop(container.name, None)
        return self._started(pod, container)

    def _refuse(self, pod: Obj, container: Container, message: str) -> None:
        self.waiting[container.name] = (_CONFIG_ERROR, message)
        self._say_once(pod, container, "Failed", f"Error: {message}")

    def _say_once(self, pod: Obj, container: Container, reason: str, message: str) -> None:
        if self._refused.get(container.name) != message:
            self._refused[container.name] = message
            self._context.recorder.record(pod, "Warning", reason, message)

    def _started(self, pod: Obj, container: Container) -> float | None:
        recorder = self._context.recorder
        if container.exit is None:
            recorder.record(pod, "Normal", "Started", f"Started container {container.name}")
            return None
        recorder.record(pod, "Warning", "Failed", f"Error: {container.exit.message}")
        return 0.0

    def _restart_delay(self, container: Container) -> float:
        """Seconds until it may start again: the first restart at once, later ones backed off."""
        ended = container.exit
        assert ended is not None
        timing = self._context.timing
        if ended.finished_at - ended.started_at > timing.restart_reset_s:
            self._failures[container.name] = container.attempts
        tries = container.attempts - self._failures.get(container.name, 0)
        if tries <= 1:
            return 0.0
        return max(0.0, ended.finished_at + timing.restart.delay(tries - 1) - time.time())


def _succeeded(container: Container) -> bool:
    return container.exit is not None and container.exit.code == 0


def _soonest(delays: Sequence[float | None]) -> float | None:
    return min((delay for delay in delays if delay is not None), default=None)


def _restarts(pod: Obj, container: Container) -> bool:
    policy = restart_policy(pod)
    if container.exit is None:
        return True
    spec = next(
        (spec for spec in containers_of(pod, "initContainers") if str(spec["name"]) == container.name), None
    )
    if spec is not None and is_sidecar(spec):
        return True
    if spec is not None and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and container.exit.code != 0)
