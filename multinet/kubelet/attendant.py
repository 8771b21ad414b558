"""Attends to one container: furnishes and starts it, does its hooks, asks its probes, stops it.

:class:`multinet.kubelet.containers.Container` is the process; what Kubernetes wants around it is here.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from multinet.errors import InputError, WaitExpiredError
from multinet.kube.recorder import EventType
from multinet.kubelet import handlers, mounts
from multinet.kubelet.containers import Container
from multinet.kubelet.context import NodeContext
from multinet.kubelet.environment import Sources, environment_of
from multinet.kubelet.handlers import Outcome, Place
from multinet.kubelet.podspec import PodFacts, command_of, grace_seconds, working_dir
from multinet.kubelet.probes import Probe, Reactions, probes_of, watch
from multinet.kubelet.sandbox import Sandbox
from multinet.kubelet.volumes import PodVolumes
from multinet.model.objects import Obj, section

_log = logging.getLogger(__name__)
# A preStop hook that used up the grace period leaves this much to the command (kubelet: 2 s).
_LEAST_GRACE_S = 2.0
_POST_START_LIMIT_S = 300.0


class Attendant:
    """One container of one pod. ``wake`` is called when its state changed."""

    def __init__(
        self, context: NodeContext, container: Container, volumes: PodVolumes, wake: Callable[[], None]
    ) -> None:
        self.container = container
        self._context = context
        self._volumes = volumes
        self._wake = wake
        self._pod: Obj = {}
        self._place: Place | None = None
        self._watch: asyncio.Task[None] | None = None
        self._kill: asyncio.Task[None] | None = None
        self._attempt = 0

    async def start(self, pod: Obj, spec: Mapping[str, Any], sandbox: Sandbox) -> None:
        """Start it. ``MissingSourceError``: something it needs is not there yet; ``InputError``: wrong."""
        probes, hook = probes_of(spec), _hook(spec, "postStart")
        _hook(spec, "preStop")
        sources = sources_of(self._context, sandbox)
        env = environment_of(pod, spec, sources)
        steps = self._furnish(self._volumes.mounts(pod, spec, env, sources))
        container = self.container
        container.startup_passed = hook is None and not any(probe.kind == "startup" for probe in probes)
        container.readiness_passed = not any(probe.kind == "readiness" for probe in probes)
        await container.start(sandbox.pid, command_of(spec, env), env, working_dir(spec), mounts=steps)
        self._attend(pod, spec, sandbox, env, probes, hook)

    def resume(self, pod: Obj, spec: Mapping[str, Any], sandbox: Sandbox) -> None:
        """Attend to a container that an earlier kubelet started, once."""
        if self._attempt == self.container.attempts:
            return
        try:
            probes = probes_of(spec)
            env = environment_of(pod, spec, sources_of(self._context, sandbox))
        except InputError as error:
            _log.warning("container %s runs without probes: %s", self.container.name, error)
            probes, env = (), {}
        known = _known_status(pod, self.container)
        startup = any(probe.kind == "startup" for probe in probes)
        self.container.startup_passed = not startup or bool(known.get("started"))
        readiness = any(probe.kind == "readiness" for probe in probes)
        self.container.readiness_passed = not readiness or bool(known.get("ready"))
        if self.container.startup_passed:
            probes = tuple(probe for probe in probes if probe.kind != "startup")
        self._attend(pod, spec, sandbox, env, probes, None)

    async def stop(self, pod: Obj, grace_s: float, hurry: asyncio.Event) -> None:
        """Run the preStop hook, then SIGTERM; SIGKILL after ``grace_s`` seconds or soon after ``hurry``."""
        self.rest()
        if not self.container.running:
            return
        self._context.recorder.record(pod, "Normal", "Killing", f"Stopping container {self.container.name}")
        await self._stop(pod, grace_s, hurry)

    def rest(self) -> None:
        """Ask no more probes."""
        if self._watch is not None:
            self._watch.cancel()

    def abandon(self) -> None:
        """Leave everything running."""
        self.rest()
        if self._kill is not None:
            self._kill.cancel()
        self.container.abandon()

    def _furnish(self, wanted: tuple[mounts.Mount, ...]) -> Path | None:
        if not wanted:
            return None
        root = self.container.root
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        steps = root.with_name("mounts")
        mounts.write(mounts.plan(root, wanted), steps)
        return steps

    def _attend(
        self,
        pod: Obj,
        spec: Mapping[str, Any],
        sandbox: Sandbox,
        env: Mapping[str, str],
        probes: tuple[Probe, ...],
        hook: Mapping[str, Any] | None,
    ) -> None:
        self.rest()
        self._attempt = self.container.attempts
        run = self.container.run
        if run is None or not self.container.running:
            return
        self._pod = pod
        host = sandbox.addresses[0] if sandbox.addresses else self._context.node_ip
        self._place = Place(spec, run.pid, working_dir(spec), env, host, self._context.launcher)
        if probes or hook is not None:
            work = self._watched(self._place, probes, hook)
            name = f"probes of {self.container.name}"
            self._watch = asyncio.get_running_loop().create_task(work, name=name)

    async def _watched(self, place: Place, probes: tuple[Probe, ...], hook: Mapping[str, Any] | None) -> None:
        if hook is not None and not await self._post_start(place, hook):
            return
        reactions = Reactions(self._failed, self._passed_startup, self._readiness, self._fails)

        async def ask(probe: Probe) -> Outcome:
            return await handlers.perform(probe.handler, place, probe.timeout_s)

        await watch(probes, ask, reactions)

    async def _post_start(self, place: Place, hook: Mapping[str, Any]) -> bool:
        outcome = await handlers.perform(hook, place, _POST_START_LIMIT_S)
        if outcome.ok or not self.container.running:
            return outcome.ok
        self._record("Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.text}")
        self._begin_kill(grace_seconds(self._pod), "FailedPostStartHook")
        return False

    def _failed(self, probe: Probe, text: str) -> None:
        if self.container.running:
            self._record("Warning", "Unhealthy", f"{probe.kind.capitalize()} probe failed: {text}")

    def _passed_startup(self) -> None:
        self.container.startup_passed = True
        self._wake()

    def _readiness(self, ready: bool) -> None:
        if self.container.readiness_passed != ready:
            self.container.readiness_passed = ready
            self._wake()

    def _fails(self, probe: Probe) -> None:
        if self.container.running:
            grace = grace_seconds(self._pod) if probe.grace_s is None else probe.grace_s
            self._begin_kill(grace, f"failed {probe.kind} probe, will be restarted")

    def _begin_kill(self, grace_s: float, why: str) -> None:
        self._record("Normal", "Killing", f"Container {self.container.name} {why}")
        work = self._stop(self._pod, grace_s, asyncio.Event())
        name = f"kill {self.container.name}"
        self._kill = asyncio.get_running_loop().create_task(work, name=name)
        self._kill.add_done_callback(_note_failure)

    async def _stop(self, pod: Obj, grace_s: float, hurry: asyncio.Event) -> None:
        begun = time.monotonic()
        place = self._place
        hook = _hook(place.container, "preStop") if place is not None else None
        if hook is not None and place is not None and grace_s > 0 and not hurry.is_set():
            await self._pre_stop(pod, hook, place, grace_s, hurry)
            grace_s = max(_LEAST_GRACE_S, grace_s - (time.monotonic() - begun))
        await self.container.stop(grace_s, hurry)

    async def _pre_stop(
        self, pod: Obj, hook: Mapping[str, Any], place: Place, grace_s: float, hurry: asyncio.Event
    ) -> None:
        doing = asyncio.ensure_future(handlers.perform(hook, place, grace_s))
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            await asyncio.wait({doing, hurried}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not doing.result().ok:
                text = f"PreStopHook failed: {doing.result().text}"
                self._context.recorder.record(pod, "Warning", "FailedPreStopHook", text)
        finally:
            doing.cancel()
            hurried.cancel()

    def _record(self, kind: EventType, reason: str, message: str) -> None:
        self._context.recorder.record(self._pod, kind, reason, message)


def sources_of(context: NodeContext, sandbox: Sandbox) -> Sources:
    """Where the environment and the volumes of a pod get their values."""
    return Sources(PodFacts(context.node, context.node_ips, sandbox.addresses), context.references.get)


def _hook(spec: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A lifecycle hook of the container, checked; None where it has none."""
    hook: Mapping[str, Any] | None = (spec.get("lifecycle") or {}).get(name)
    if not hook:
        return None
    handlers.check(hook, spec, f"container {spec.get('name')}, {name}")
    return hook


def _known_status(pod: Obj, container: Container) -> Mapping[str, Any]:
    """What the API's status says of the very run that is running."""
    status = section(pod, "status")
    listed = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return next((item for item in listed if item.get("containerID") == container.identity), {})


def _note_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and isinstance(error := task.exception(), WaitExpiredError):
        _log.warning("a container that failed its probe does not die: %s", error)
