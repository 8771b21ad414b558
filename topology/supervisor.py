"""Keeps a lab's role processes: starts them, knows which are ready, notices when one dies.

One lock guards it, because a caller with an event loop lets a restart wait in another thread. Events then
come in that thread. Whoever holds the lock reads the zygote's messages for everybody.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from multinet.errors import LabError
from multinet.waits import expired
from topology.backend import EventSink
from topology.linux import tail
from topology.readiness import ReadyBoard
from topology.roles import Paths, Role
from topology.zygote import Exit, RoleSpec, Zygote

_STOP_LIMIT_S = 3.0


@dataclass(slots=True)
class _Running:
    """``pid`` is 0 and ``status`` set once the process has ended."""

    role: Role
    node_pid: int
    pid: int = 0
    status: int | None = None
    end_expected: bool = False


class Supervisor:
    """All roles of one lab."""

    def __init__(self, zygote: Zygote, paths: Paths, on_event: EventSink) -> None:
        self._zygote = zygote
        self._paths = paths
        self._on_event = on_event
        self._board = ReadyBoard(paths.notify)
        self._running: dict[str, _Running] = {}
        self._begun: set[str] = set()
        self._closed = False
        self._lock = threading.RLock()
        zygote.on_exit = self._note_exit

    def start(self, placed: Mapping[Role, int], limit_s: float) -> None:
        """Start roles (each in the namespaces of the given process) at once; return when all are ready.

        ``LabError`` when one ends first, ``WaitExpiredError`` when one is not ready in time; both name the
        role, the node and the log file and carry its last lines.
        """
        begun = time.monotonic()
        for role, node_pid in placed.items():
            self._running[role.id] = _Running(role, node_pid)
            self._zygote.request(self._spec(role, node_pid))
        for role in placed:
            self._running[role.id].pid = self._zygote.started(role.id).pid
        self._await_ready(tuple(role.id for role in placed), limit_s)
        seconds = time.monotonic() - begun
        for role in placed:
            self._begun.discard(role.id)
            self._tell_ready(self._running[role.id], seconds)

    def begin(self, role: Role, node_pid: int) -> None:
        """Have a role started without waiting for anything; :meth:`await_role` does that."""
        self._running[role.id] = _Running(role, node_pid)
        self._begun.add(role.id)
        self._zygote.request(self._spec(role, node_pid))

    def await_role(self, role_name: str, node: str, limit_s: float) -> None:
        """Return when a role is ready; raises as :meth:`start`."""
        begun = time.monotonic()
        with self._lock:
            running = self._find(role_name, node)
            self._await_ready((running.role.id,), limit_s)
            if running.role.id in self._begun:
                self._begun.discard(running.role.id)
                self._tell_ready(running, time.monotonic() - begun)

    def signal(self, role_name: str, node: str, number: int, *, end_expected: bool = True) -> None:
        """Signal a role's process; ``LabError`` when there is none."""
        running = self._find(role_name, node)
        if running.status is not None:
            raise LabError(f"{role_name} on {node} is not running", why=f"it ended with {running.status}")
        running.end_expected = running.end_expected or end_expected
        os.kill(running.pid, number)

    def restart(self, role_name: str, node: str, limit_s: float, *, wait: bool = True) -> None:
        """End a role's process if there is one, start it anew and (``wait``) wait until it is ready."""
        with self._lock:
            running = self._find(role_name, node)
            if running.status is None:
                with contextlib.suppress(ProcessLookupError):  # killed before; its end is yet to be told
                    self.signal(role_name, node, signal.SIGTERM)
                if not self._await_ends((running,), _STOP_LIMIT_S):
                    os.kill(running.pid, signal.SIGKILL)
                    self._await_ends((running,), _STOP_LIMIT_S)
            self._start_again({running.role: running.node_pid}, limit_s, wait=wait)

    def fell(self, node: str) -> None:
        """Kill all roles of a node at the same moment; returns when they have ended."""
        with self._lock:
            doomed = [running for running in self._running.values() if running.role.node == node]
            for running in doomed:
                self._know_pid(running)
            doomed = [running for running in doomed if running.status is None]
            for running in doomed:
                running.end_expected = True
                os.kill(running.pid, signal.SIGKILL)
            self._await_ends(doomed, _STOP_LIMIT_S)

    def raise_again(self, node: str, limit_s: float, *, wait: bool = True) -> None:
        """Start all roles of a node whose roles have ended; with ``wait`` it raises as :meth:`start`."""
        with self._lock:
            placed = {one.role: one.node_pid for one in self._running.values() if one.role.node == node}
            self._start_again(placed, limit_s, wait=wait)

    def _start_again(self, placed: Mapping[Role, int], limit_s: float, *, wait: bool) -> None:
        if wait:
            self.start(placed, limit_s)
            return
        for role, node_pid in placed.items():
            self.begin(role, node_pid)

    def stop(self) -> None:
        """SIGTERM to all roles, and wait a little for their ends; for complete logs."""
        if self._closed:
            return
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        alive = [running for running in self._running.values() if running.status is None]
        for running in alive:
            self._know_pid(running)
        alive = [running for running in alive if running.pid]
        for running in alive:
            running.end_expected = True
            os.kill(running.pid, signal.SIGTERM)
        if not self._await_ends(alive, _STOP_LIMIT_S):
            late = [running.role.id for running in alive if running.status is None]
            self._on_event("log", {"source": "topology", "text": f"ended by force: {', '.join(late)}"})

    def close(self) -> None:
        """End all roles at once."""
        self._closed = True
        self._board.close()
        self._zygote.close()

    def fileno(self) -> int:
        """Readable when :meth:`process_events` has something to do."""
        return self._zygote.fileno()

    def process_events(self) -> None:
        """Turn ends of processes into events; never blocks."""
        if self._closed or not self._lock.acquire(blocking=False):
            return
        try:
            self._zygote.process_events()
        finally:
            self._lock.release()

    def _spec(self, role: Role, node_pid: int) -> RoleSpec:
        env = {**os.environ, "NOTIFY_SOCKET": self._board.open(role.id)}
        return RoleSpec(role.id, role.entry, role.argv, node_pid, env, self._paths.log(role.name, role.node))

    def _find(self, role_name: str, node: str) -> _Running:
        try:
            running = self._running[f"{role_name}-{node}"]
        except KeyError:
            known = ", ".join(sorted(self._running))
            raise LabError(f"there is no {role_name} on {node}", next_step=f"roles are: {known}") from None
        self._know_pid(running)
        return running

    def _know_pid(self, running: _Running) -> None:
        if not running.pid and running.status is None:
            with self._lock:
                pid = self._zygote.started(running.role.id).pid
                if running.status is None:  # else its end was told together with its start
                    running.pid = pid

    def _tell_ready(self, running: _Running, seconds: float) -> None:
        data = {"role": running.role.name, "node": running.role.node, "pid": running.pid}
        self._on_event("role-ready", {**data, "seconds": round(seconds, 3)})

    def _note_exit(self, exit_: Exit) -> None:
        running = self._running[exit_.id]
        if running.pid not in (0, exit_.pid):
            return
        running.status = exit_.status
        log = self._paths.log(running.role.name, running.role.node)
        data = {
            "role": running.role.name,
            "node": running.role.node,
            "pid": exit_.pid,
            "status": exit_.status,
        }
        data |= {"expected": running.end_expected, "log": str(log)}
        self._on_event("role-exited", data if running.end_expected else data | {"tail": tail(log)})

    def _await_ready(self, role_ids: tuple[str, ...], limit_s: float) -> None:
        def check() -> None:
            self.process_events()
            for role_id in role_ids:
                running = self._running[role_id]
                if running.status is not None and not self._board.is_ready(role_id):
                    raise self._ended_early(running)

        check()
        missing = self._board.wait(role_ids, limit_s, also=self._zygote, check=check)
        if missing:
            running = self._running[missing[0]]
            log = self._paths.log(running.role.name, running.role.node)
            error = expired(
                f"READY from {', '.join(missing)}", limit_s, f"see {log}; its last lines:\n{tail(log)}"
            )
            error.where = f"{running.role.name} on {running.role.node}"
            error.why = self._board.status(missing[0])
            raise error

    def _ended_early(self, running: _Running) -> LabError:
        log = self._paths.log(running.role.name, running.role.node)
        return LabError(
            f"{running.role.name} ended with status {running.status} before it was ready",
            where=f"{running.role.name} on {running.role.node}",
            why=tail(log) or "its log is empty",
            next_step=f"see {log}",
        )

    def _await_ends(self, ones: list[_Running] | tuple[_Running, ...], limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while any(running.status is None for running in ones):
            if not select.select([self._zygote], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
            self._zygote.process_events()
        return True
