"""Roles start warm: one process imports everything once, and each role is a fork of it.

Importing what an agent needs takes longer than all else at the start of a lab, and a lab has many agents. The
zygote is forked while the runner is small and has one thread, imports in parallel to the building of the
fabric, and then forks roles into node namespaces on request. This module is the runner's side;
:mod:`topology.zygote_child` is the other process.

The two talk in JSON messages over a SOCK_SEQPACKET pair: ``spawn`` answered by ``spawned`` (or ``failed``),
and ``exited`` whenever a role ends. No threads on either side.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multinet.errors import LabError
from multinet.waits import expired

MESSAGE_LIMIT = 256 * 1024
_SPAWN_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One process to start: ``entry`` ("module:function", called with ``argv``) in a node's namespaces.

    ``node_pid`` is a process in whose network, mount and UTS namespace the role shall live, or None to stay;
    ``env`` is the whole environment. Output goes to the end of ``log``.
    """

    id: str
    entry: str
    argv: tuple[str, ...]
    node_pid: int | None
    env: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True)
class Process:
    """A running role."""

    id: str
    pid: int


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a role: exit code, or 128+n for signal n."""

    id: str
    pid: int
    status: int


class Zygote:
    """The runner's handle on the zygote. ``on_exit`` is called from :meth:`process_events` and waits."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.on_exit: Callable[[Exit], None] = _ignore
        self._control = control
        self._exits: list[Exit] = []
        self._answers: dict[str, dict[str, Any]] = {}

    @classmethod
    def start(cls, preload: Sequence[str], *, log: Path | None = None) -> Zygote:
        """Fork the zygote, which begins to import ``preload`` at once. Its own output goes to ``log``.

        A module that can't be imported is noted in the log; the roles that need it will say so again.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (near, far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_LIMIT)
        runner = os.getpid()
        pid = os.fork()
        if pid == 0:
            near.close()
            from topology import zygote_child

            zygote_child.run(far, tuple(preload), runner, log)
        far.close()
        return cls(pid, near)

    def spawn(self, spec: RoleSpec) -> Process:
        """Start a role and return when it is forked; waits until the zygote has imported its module.

        Raises ``LabError`` when the role can't be put into its namespaces or the zygote is gone, and
        ``WaitExpiredError`` after 20 s.
        """
        self.request(spec)
        return self.started(spec.id)

    def request(self, spec: RoleSpec) -> None:
        """Ask for a role without waiting; several may be asked for, then :meth:`started`."""
        self._answers.pop(spec.id, None)  # of an earlier process, whose end came before anybody asked
        message = asdict(spec) | {"log": str(spec.log), "env": dict(spec.env)}
        try:
            self._control.send(json.dumps(message).encode())
        except OSError as error:
            raise _gone() from error

    def started(self, role_id: str) -> Process:
        """Wait for the answer to the request for ``role_id``."""
        deadline = time.monotonic() + _SPAWN_LIMIT_S
        while role_id not in self._answers:
            message = self._receive(deadline - time.monotonic())
            if message is None:
                raise expired(f"the start of {role_id}", _SPAWN_LIMIT_S, "see logs/zygote.log of the run")
            self._note(message)
        answer = self._answers.pop(role_id)
        if answer["kind"] == "failed":
            raise LabError(f"could not start {role_id}", why=answer["why"])
        self._hand_out()
        return Process(role_id, answer["pid"])

    def fileno(self) -> int:
        """Readable when :meth:`process_events` has something to do."""
        return self._control.fileno()

    def process_events(self) -> None:
        """Call ``on_exit`` for every role that ended; never blocks. ``LabError`` when the zygote died."""
        while (message := self._receive(0)) is not None:
            self._note(message)
        self._hand_out()

    def close(self) -> None:
        """End the zygote, and with it (PDEATHSIG) every role."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return

    def _receive(self, limit_s: float) -> dict[str, Any] | None:
        if not select.select([self._control], [], [], max(0.0, limit_s))[0]:
            return None
        data = self._control.recv(MESSAGE_LIMIT)
        if not data:
            raise _gone()
        message: dict[str, Any] = json.loads(data)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        if message["kind"] == "exited":
            self._exits.append(Exit(message["id"], message["pid"], message["status"]))
        else:
            self._answers[message["id"]] = message

    def _hand_out(self) -> None:
        while self._exits:
            self.on_exit(self._exits.pop(0))


def _ignore(_exit: Exit) -> None:
    return None


def _gone() -> LabError:
    return LabError(
        "the process that starts the lab's roles is gone, and every role with it",
        next_step="see logs/zygote.log of the run; the machine may be out of memory",
    )
