"""The helper executable that makes sandboxes and runs containers: the compiled one, or its Python equal.

A Python process can't unshare or fork safely once it has threads and an event loop, and forking it costs
milliseconds; a static program of its own starts in less than one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multinet.cni import install, runtime_exec
from multinet.errors import LabError, WaitExpiredError

_FALLBACK = Path(__file__).with_name("pause.py")
_START_LIMIT_S = 10.0


class StartError(LabError):
    """A sandbox or a container's command could not be started; ``why`` is what the helper said."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts sandboxes and containers. ``helper`` is the argument list before the verb (see ``pause.c``)."""

    helper: tuple[str, ...]

    @classmethod
    def default(cls) -> Launcher:
        """The compiled helper where it was built, else the Python one."""
        compiled = install.output_dir() / install.PAUSE
        if os.access(compiled, os.X_OK):
            return cls((str(compiled),))
        return cls.fallback()

    @classmethod
    def fallback(cls) -> Launcher:
        """The Python helper: the same behaviour, some 20 ms slower per start."""
        return cls((sys.executable, "-ISE", str(_FALLBACK)))

    async def sandbox(
        self, hostname: str, identity: str, *, host_network: bool = False, etc: Path | None = None
    ) -> int:
        """Make a sandbox; return the PID of its PID 1. It outlives this process."""
        options = ["--host-network"] if host_network else []
        options += ["--etc", str(etc)] if etc is not None else []
        argv = [*self.helper, "sandbox", *options, hostname, identity]
        return int(await self._report("start sandbox", argv, {}))

    async def container(
        self,
        target: int,
        prefix: Path,
        cwd: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        mounts: Path | None = None,
    ) -> tuple[int, int]:
        """Start a command in a sandbox; return the PIDs of its monitor and of itself.

        ``mounts`` is a file of steps (:mod:`multinet.kubelet.mounts`) that furnish it before.
        """
        options = ["--mounts", str(mounts)] if mounts is not None else []
        argv = [*self.helper, "run", *options, str(target), str(prefix), cwd, "--", *command]
        monitor, pid = (await self._report("start container", argv, env)).split()
        return int(monitor), int(pid)

    def exec_argv(self, target: int, cwd: str, command: Sequence[str], *, tty: bool) -> list[str]:
        """The argument list that runs ``command`` in a sandbox on the caller's stdin, stdout and stderr."""
        return [*self.helper, "exec", *(["-t"] if tty else []), str(target), cwd, "--", *command]

    @property
    def idle(self) -> tuple[str, ...]:
        """A command that does nothing until SIGTERM."""
        return (*self.helper, "idle")

    async def _report(self, what: str, argv: Sequence[str], env: Mapping[str, str]) -> str:
        try:
            finished = await runtime_exec.run(what, argv, env=env, limit_s=_START_LIMIT_S)
        except OSError as error:
            raise StartError(f"could not {what}", why=f"{argv[0]}: {error.strerror}") from error
        except WaitExpiredError as error:
            raise StartError(f"could not {what}", why=error.what) from error
        if finished.returncode != 0:
            why = finished.stderr.decode(errors="replace").strip() or f"exit status {finished.returncode}"
            raise StartError(f"could not {what}", why=why)
        return finished.stdout.decode().strip()
