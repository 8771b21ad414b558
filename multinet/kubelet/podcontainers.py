"""The containers of one pod: which to start now, which later, which are done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multinet.errors import InputError
from multinet.kubelet.containers import Container
from multinet.kubelet.context import NodeContext
from multinet.kubelet.podspec import (
    PodFacts,
    check_volumes,
    command_of,
    containers_of,
    environment_of,
    restart_policy,
)
from multinet.kubelet.sandbox import Sandbox
from multinet.model.objects import Obj, uid_of


class PodContainers:
    """Init and main containers of a pod. ``waiting`` says why one that should run does not."""

    def __init__(self, context: NodeContext, pod: Obj, on_exit: Callable[[], None]) -> None:
        self.waiting: dict[str, tuple[str, str]] = {}
        self._context = context
        self._failures: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        directory = context.pods_dir / uid_of(pod)

        def make(kind: str) -> tuple[Container, ...]:
            return tuple(
                Container(str(spec["name"]), directory / str(spec["name"]), context.launcher, on_exit)
                for spec in containers_of(pod, kind)
            )

        self.init = make("initContainers")
        self.main = make("containers")

    def by_name(self, name: str) -> Container | None:
        """The container of that name, init or main."""
        return next((item for item in (*self.init, *self.main) if item.name == name), None)

    def recover(self) -> None:
        """Take over what an earlier kubelet started."""
        for container in (*self.init, *self.main):
            container.recover()

    async def sync(self, pod: Obj, sandbox: Sandbox) -> float | None:
        """Start what is to run now; return in how many seconds to look again (None: on the next event)."""
        self.waiting.clear()
        for spec, container in zip(containers_of(pod, "initContainers"), self.init, strict=True):
            if container.exit is not None and container.exit.code == 0:
                continue
            delay = await self._sync_one(pod, sandbox, spec, container)
            self._hold(self.main, "PodInitializing")
            return delay
        specs = containers_of(pod)
        delays = [
            await self._sync_one(pod, sandbox, spec, container)
            for spec, container in zip(specs, self.main, strict=True)
        ]
        return min((delay for delay in delays if delay is not None), default=None)

    async def stop(self, grace_s: float, hurry: asyncio.Event) -> None:
        """Stop all of them at the same time."""
        await asyncio.gather(*(item.stop(grace_s, hurry) for item in (*self.init, *self.main)))

    def abandon(self) -> None:
        """Stop watching them; they run on."""
        for container in (*self.init, *self.main):
            container.abandon()

    def _hold(self, containers: Sequence[Container], reason: str) -> None:
        for container in containers:
            if not container.attempts:
                self.waiting[container.name] = (reason, "")

    async def _sync_one(
        self, pod: Obj, sandbox: Sandbox, spec: Mapping[str, Any], container: Container
    ) -> float | None:
        if container.running:
            return None
        if container.exit is not None:
            if not _restarts(pod, container):
                return None
            delay = self._restart_delay(container)
            if delay > 0:
                message = f"back-off {delay:.1f}s restarting failed container={container.name}"
                self.waiting[container.name] = ("CrashLoopBackOff", message)
                return delay
        facts = PodFacts(self._context.node, self._context.node_ip, sandbox.addresses)
        try:
            check_volumes(pod, spec)
            env = environment_of(pod, spec, facts)
        except InputError as error:
            self._refuse(pod, container, str(error))
            return None
        await container.start(sandbox.pid, command_of(spec, env), env, str(spec.get("workingDir") or "/"))
        return self._started(pod, container)

    def _refuse(self, pod: Obj, container: Container, message: str) -> None:
        self.waiting[container.name] = ("CreateContainerConfigError", message)
        if self._refused.get(container.name) != message:
            self._refused[container.name] = message
            self._context.recorder.record(pod, "Warning", "Failed", f"Error: {message}")

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


def _restarts(pod: Obj, container: Container) -> bool:
    policy = restart_policy(pod)
    if container.exit is None:
        return True
    init = container.name in {str(spec["name"]) for spec in containers_of(pod, "initContainers")}
    if init and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and container.exit.code != 0)
