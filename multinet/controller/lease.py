"""Leader election on a Lease (coordination.k8s.io/v1), as client-go's leaderelection does it.

One controller works, others stand by with warm caches. Remote clocks are not trusted: a standby takes the
lease when the record it sees has not changed for the lease's duration by its own clock, so after a crash it
works within ``duration_s + retry_s``; after a clean stop, within ``retry_s``. The lease keeps two
controllers from doing work twice; it is not what keeps addresses unique: that is the InstanceIP's name.

A holder whose process is seen to be dead (same boot, same PID namespace) is succeeded at once, so that a
controller which crashed and was restarted beside its own corpse does not wait for its own lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from multinet.errors import MultinetError
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from multinet.kube.resources import LEASES
from multinet.model.objects import Obj, metadata_of, section
from multinet.waits import pause, wait_for

NAME = "multinet-controller"
NAMESPACE = "kube-system"
_RELEASE_LIMIT_S = 0.2

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Monotonic seconds; an event loop is one."""

    def time(self) -> float:
        """Seconds."""


class Lease:
    """The claim of one process to be the one that works."""

    def __init__(
        self,
        client: Client,
        identity: str,
        *,
        duration_s: float = 4.0,
        retry_s: float = 1.0,
        clock: Clock | None = None,
        wait: Callable[[str, float], Awaitable[None]] = pause,
        is_dead: Callable[[str], bool] | None = None,
    ) -> None:
        self._client = client
        self.identity = identity
        self._duration_s = duration_s
        self._retry_s = retry_s
        self._clock = clock
        self._wait = wait
        self._is_dead = is_dead or process_is_dead
        self._observed: tuple[object, ...] = ()
        self._observed_at = 0.0
        self._renewed_at = 0.0

    async def acquire(self, on_standby: Callable[[], None] = lambda: None) -> None:
        """Return when this process holds the lease; ``on_standby`` is called when another one does."""
        told = False
        while not await self._try():
            if not told:
                _log.info("standing by")
                on_standby()
                told = True
            await self._wait("the next look at the controllers' lease", self._retry_s)
        _log.info("this controller leads: %s", self.identity)

    async def hold(self) -> None:
        """Renew; return when the lease is lost, or could not be renewed for two thirds of its duration."""
        while True:
            await self._wait("the next renewal of the controllers' lease", self._retry_s)
            if await self._try():
                continue
            holder = self._observed[0] if self._observed else ""
            if holder not in ("", self.identity):
                _log.error("the lease is %s's: this controller stops working", holder)
                return
            if self._now() - self._renewed_at > self._duration_s * 2 / 3:
                _log.error("the lease could not be renewed: this controller stops working")
                return

    async def release(self) -> None:
        """Give the lease up at a clean stop, so that a standby need not wait for its end."""
        if not self._observed or self._observed[0] != self.identity:
            return
        try:
            # The API server may have been stopped before this process.
            await wait_for("the release of the controllers' lease", self._give_up(), _RELEASE_LIMIT_S)
        except MultinetError as error:
            _log.info("the lease was not released: %s", error)

    async def _give_up(self) -> None:
        found = await self._client.get(LEASES, NAME, NAMESPACE)
        if section(found, "spec").get("holderIdentity") == self.identity:
            await self._client.replace(LEASES, self._record(found, holder=""))

    async def _try(self) -> bool:
        """Take or renew the lease if that may be; whether this process has it now."""
        started = self._now()
        try:
            done = await wait_for("the controllers' lease", self._take(), self._duration_s / 2)
        except (AlreadyExistsError, ConflictError):
            return False
        except MultinetError as error:
            _log.warning("the lease can't be read or written: %s", error)
            return False
        if done:
            self._renewed_at = started
        return done

    async def _take(self) -> bool:
        try:
            found = await self._client.get(LEASES, NAME, NAMESPACE)
        except NotFoundError:
            await self._client.create(LEASES, self._record(None, holder=self.identity))
            self._note(self.identity)
            return True
        spec = section(found, "spec")
        holder = str(spec.get("holderIdentity") or "")
        record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._observed:
            self._observed, self._observed_at = record, self._now()
        expired = self._now() - self._observed_at >= self._duration_s
        if holder not in ("", self.identity) and not expired and not self._is_dead(holder):
            return False
        # With the version that was read: of two standbys one gets a conflict.
        await self._client.replace(LEASES, self._record(found, holder=self.identity))
        self._note(self.identity)
        return True

    def _note(self, holder: str) -> None:
        self._observed, self._observed_at = (holder,), self._now()

    def _record(self, found: Obj | None, *, holder: str) -> Obj:
        old = section(found or {}, "spec")
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        is_new = old.get("holderIdentity") != holder
        spec: Obj = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._duration_s)),
            "renewTime": moment,
            "acquireTime": moment if is_new else old.get("acquireTime"),
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (1 if is_new and holder else 0),
        }
        metadata: Obj = {"name": NAME, "namespace": NAMESPACE}
        if found is not None:
            metadata["resourceVersion"] = metadata_of(found).get("resourceVersion")
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _now(self) -> float:
        return (self._clock or asyncio.get_running_loop()).time()


def process_identity(pid: int | None = None) -> str:
    """``host_boot_pidnamespace_pid_starttime``: tells this process from any other, here and elsewhere."""
    number = os.getpid() if pid is None else pid
    return "_".join([socket.gethostname(), *_place(), str(number), _started(number)])


def process_is_dead(identity: str) -> bool:
    """Whether the process is known to be gone; False for one of another machine or PID namespace."""
    parts = identity.rsplit("_", 4)
    if len(parts) != 5 or not parts[3].isdigit() or (parts[1], parts[2]) != _place():
        return False
    return _started(int(parts[3])) != parts[4]


def _place() -> tuple[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        # Nowhere that another process could be compared with.
        return "unknown", f"unknown-{os.getpid()}"


def _started(pid: int) -> str:
    """When the process started, in clock ticks after the boot (proc(5), field 22); empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
