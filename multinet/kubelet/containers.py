"""One container of a pod: a command in the pod's sandbox, watched by a monitor that outlives the kubelet.

Images are not run: a container is its ``command`` and ``args`` as a process on the node's file system, in
the sandbox's namespaces. All that must survive a kubelet restart is in files ``<attempt>.started``,
``.log`` and ``.exit`` which the monitor writes (see ``pause.c``); this object only mirrors them.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multinet.cni import runtime_exec
from multinet.errors import WaitExpiredError
from multinet.kubelet.launcher import Launcher, StartError
from multinet.kubelet.processes import is_alive, signal_group, signal_process
from multinet.waits import wait_for

_log = logging.getLogger(__name__)
_KILL_LIMIT_S = 5.0
_UNKNOWN_CODE = 137
_START_FAILED_CODE = 128


@dataclass(frozen=True, slots=True)
class Run:
    """One start of the command; times are seconds since the epoch."""

    attempt: int
    monitor: int
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended. ``reason`` as Kubernetes names it: Completed, Error, StartError, ..."""

    code: int
    signal: int
    started_at: float
    finished_at: float
    reason: str
    message: str = ""


class Container:
    """The runs of one container. ``on_exit`` is called in the event loop when a run ended."""

    def __init__(self, name: str, directory: Path, launcher: Launcher, on_exit: Callable[[], None]) -> None:
        self.name = name
        self.run: Run | None = None
        self.exit: Exit | None = None
        self.previous: Exit | None = None
        self.attempts = 0
        # What a postStart hook and the probes say of the present run; without any, nothing is waited for.
        self.startup_passed = True
        self.readiness_passed = True
        self._directory = directory
        self._launcher = launcher
        self._on_exit = on_exit
        self._watcher: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the command runs."""
        return self.run is not None and self.exit is None

    @property
    def started(self) -> bool:
        """Whether the command runs and has come up."""
        return self.running and self.startup_passed

    @property
    def ready(self) -> bool:
        """Whether it may be sent traffic."""
        return self.started and self.readiness_passed

    @property
    def root(self) -> Path:
        """An empty directory, where the next run's own root is put together."""
        return self._directory / "root"

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.attempts - 1)

    @property
    def identity(self) -> str:
        """``multinet://<id>`` of the latest run, empty before the first."""
        if not self.attempts:
            return ""
        return f"multinet://{uuid.uuid5(uuid.NAMESPACE_URL, str(self._prefix(self.attempts))).hex}"

    def log_path(self, *, previous: bool = False) -> Path:
        """The log of the latest run, or of the one before it."""
        return self._prefix(self.attempts - int(previous)).with_suffix(".log")

    async def start(
        self,
        sandbox_pid: int,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        mounts: Path | None = None,
    ) -> None:
        """Start the command (empty: idle until SIGTERM); a failure becomes an :class:`Exit` of this run."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self.previous, self.exit = self.exit or self.previous, None
        self.attempts += 1
        prefix = self._prefix(self.attempts)
        for suffix in (".log", ".old"):
            # Nobody can ask for them any more: there are a container's log and that of the run before it.
            self._prefix(self.attempts - 2).with_suffix(suffix).unlink(missing_ok=True)
        try:
            monitor, pid = await self._launcher.container(
                sandbox_pid, prefix, cwd, command or self._launcher.idle, env, mounts=mounts
            )
        except StartError as error:
            now = time.time()
            prefix.with_suffix(".exit").write_text(f"{_START_FAILED_CODE} 0 {now}\n", encoding="ascii")
            self.run = Run(self.attempts, 0, 0, now)
            self.exit = Exit(_START_FAILED_CODE, 0, now, now, "StartError", error.why)
            return
        self.run = Run(self.attempts, monitor, pid, time.time())
        self._watch()

    def recover(self) -> None:
        """Take over what an earlier kubelet started."""
        attempts = [int(path.stem) for path in self._directory.glob("*.*") if path.stem.isdigit()]
        if not attempts:
            return
        self.attempts = max(attempts)
        self.previous = self._read_exit(self.attempts - 1)
        self.exit = self._read_exit(self.attempts)
        self.run = self._read_run(self.attempts)
        if self.run is None and self.exit is None:
            self.exit = _unknown(time.time())
        elif self.running:
            self._watch()

    def forget_end(self) -> None:
        """Take the latest run as one of before: it is to be done again."""
        if self.exit is not None:
            self.run, self.exit, self.previous = None, None, self.exit

    async def stop(self, grace_s: float, hurry: asyncio.Event) -> None:
        """SIGTERM; SIGKILL after ``grace_s`` seconds, or one second after ``hurry`` was set."""
        if self.run is None or self._watcher is None or not self.running:
            return
        signal_process(self.run.pid, signal.SIGTERM)
        hurried = asyncio.ensure_future(_after_hurry(hurry, self._watcher))
        try:
            await wait_for(f"container {self.name} to stop", asyncio.shield(hurried), grace_s)
        except WaitExpiredError:
            _log.info("container %s did not stop within %g s: killed", self.name, grace_s)
        finally:
            hurried.cancel()
        if self.running:
            signal_group(self.run.pid, signal.SIGKILL)
            await wait_for(f"container {self.name} to die", asyncio.shield(self._watcher), _KILL_LIMIT_S)

    def abandon(self) -> None:
        """Stop watching; the container runs on."""
        if self._watcher is not None:
            self._watcher.cancel()

    def _watch(self) -> None:
        run = self.run
        assert run is not None
        self._watcher = asyncio.get_running_loop().create_task(
            self._watch_run(run), name=f"watch {self.name}"
        )

    async def _watch_run(self, run: Run) -> None:
        if is_alive(run.monitor, str(self._prefix(run.attempt))):
            await runtime_exec.exited(run.monitor)
        self.exit = self._read_exit(run.attempt) or _unknown(run.started_at)
        self._on_exit()

    def _prefix(self, attempt: int) -> Path:
        return self._directory / str(attempt)

    def _read_run(self, attempt: int) -> Run | None:
        try:
            monitor, pid, moment = self._prefix(attempt).with_suffix(".started").read_text().split()
            return Run(attempt, int(monitor), int(pid), float(moment))
        except (OSError, ValueError):
            return None

    def _read_exit(self, attempt: int) -> Exit | None:
        try:
            code, number, moment = self._prefix(attempt).with_suffix(".exit").read_text().split()
        except (OSError, ValueError):
            return None
        run = self._read_run(attempt)
        finished = float(moment)
        reason = "StartError" if run is None else "Error" if int(code) else "Completed"
        return Exit(int(code), int(number), run.started_at if run else finished, finished, reason)


async def _after_hurry(hurry: asyncio.Event, watcher: asyncio.Task[None]) -> None:
    """Return when the watcher has ended, or a second after ``hurry``."""
    hurried = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait({hurried, watcher}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hurried.cancel()
    if not watcher.done():
        await asyncio.wait({watcher}, timeout=1.0)


def _unknown(started_at: float) -> Exit:
    message = "the container's monitor is gone and left no exit status"
    return Exit(_UNKNOWN_CODE, 0, started_at, time.time(), "ContainerStatusUnknown", message)
