"""Pod sandboxes: made, found again after a restart, ended.

The file ``sandboxes/<pod uid>.json`` is the sandbox's record: other parts of a lab find the pod's
namespaces by it, and a restarted kubelet its sandboxes. It is written before the network is attached and
removed last, so that nothing is ever attached that no file speaks of. While a sandbox is being made, the
empty file ``<container id>.making`` speaks of it: the PID is not known before, the ID is in its arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from multinet import waits
from multinet.cni import runtime_exec
from multinet.errors import MultinetError
from multinet.kubelet import netns
from multinet.kubelet.cleanup import completed
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.podspec import hostname_of
from multinet.kubelet.processes import is_alive, marked, signal_process
from multinet.model.objects import Obj, name_of, namespace_of, section, uid_of

_log = logging.getLogger(__name__)
_END_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One sandbox. ``pid`` is its PID 1 as seen from the node; ``cni_netns`` the path plugins get.

    ``addresses`` are those of the pod's default interface; empty until the network is attached. ``api_uid``
    is the uid under which the API knows the pod: another one for a static pod, that of its mirror.
    """

    namespace: str
    name: str
    uid: str
    pid: int
    container_id: str
    node: str
    cni_netns: str = ""
    host_network: bool = False
    attached: bool = False
    addresses: tuple[str, ...] = ()
    api_uid: str = ""

    @property
    def netns(self) -> str:
        """The network namespace, valid as long as the sandbox runs."""
        return f"/proc/{self.pid}/ns/net"

    def is_alive(self) -> bool:
        """Whether its PID 1 runs."""
        return is_alive(self.pid, self.container_id)

    async def ended(self) -> None:
        """Return when its PID 1 has ended."""
        await runtime_exec.exited(self.pid)


class SandboxStore:
    """Makes and ends the sandboxes of one node, and keeps their files in ``directory``."""

    def __init__(self, directory: Path, node: str, launcher: Launcher) -> None:
        self._directory = directory
        self._node = node
        self._launcher = launcher
        directory.mkdir(parents=True, exist_ok=True)

    async def create(self, pod: Obj, etc: Path | None = None, *, api_uid: str = "") -> Sandbox:
        """Make the namespaces of a pod with PID 1 in them; the network is not attached yet.

        The files in ``etc`` cover those of the same names in the sandbox's ``/etc``.
        """
        container_id = uuid.uuid4().hex
        host_network = bool(section(pod, "spec").get("hostNetwork"))
        making = self._directory / f"{container_id}.making"
        making.touch()
        try:
            pid = await self._start(pod, container_id, host_network, etc)
            sandbox = Sandbox(
                namespace=namespace_of(pod),
                name=name_of(pod),
                uid=uid_of(pod),
                pid=pid,
                container_id=container_id,
                node=self._node,
                cni_netns="" if host_network else netns.publish(pid, netns.path_of(container_id)),
                host_network=host_network,
                api_uid=api_uid or uid_of(pod),
            )
            self._write(sandbox)
        except BaseException:
            _end_unfinished(container_id)
            raise
        finally:
            making.unlink(missing_ok=True)
        return sandbox

    async def _start(self, pod: Obj, container_id: str, host_network: bool, etc: Path | None) -> int:
        starting = asyncio.ensure_future(
            self._launcher.sandbox(hostname_of(pod), container_id, host_network=host_network, etc=etc)
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await completed(_discard(starting))
            raise

    def attached(self, sandbox: Sandbox, addresses: tuple[str, ...]) -> Sandbox:
        """Note that the network is attached."""
        sandbox = replace(sandbox, attached=True, addresses=addresses)
        self._write(sandbox)
        return sandbox

    async def end(self, sandbox: Sandbox) -> None:
        """Kill everything in the sandbox and let go of its network namespace."""
        if sandbox.is_alive():
            signal_process(sandbox.pid, signal.SIGKILL)
            await waits.wait_for(f"end of sandbox {sandbox.name}", sandbox.ended(), _END_LIMIT_S)
        netns.withdraw(sandbox.cni_netns)

    def forget(self, sandbox: Sandbox) -> None:
        """Remove its file: nothing of it is left."""
        self._path(sandbox.uid).unlink(missing_ok=True)

    def find(self, uid: str) -> Sandbox | None:
        """The sandbox on file for a pod, alive or not."""
        return self._read(self._path(uid))

    def recorded(self) -> Iterator[Sandbox]:
        """The sandboxes on file, alive or not. A damaged file is set aside and reported."""
        for path in sorted(self._directory.glob("*.json")):
            sandbox = self._read(path)
            if sandbox is not None:
                yield sandbox

    def end_unfinished(self) -> None:
        """End what a kubelet that was killed had not finished making."""
        recorded = {sandbox.container_id for sandbox in self.recorded()}
        for path in self._directory.glob("*.making"):
            if path.stem not in recorded:
                _log.warning("sandbox %s was never finished: it is ended", path.stem)
                _end_unfinished(path.stem)
            path.unlink(missing_ok=True)

    def _path(self, uid: str) -> Path:
        return self._directory / f"{uid}.json"

    @staticmethod
    def _read(path: Path) -> Sandbox | None:
        try:
            return _from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s: damaged, set aside: %r", path, error)
            path.replace(path.with_suffix(".damaged"))
            return None

    def _write(self, sandbox: Sandbox) -> None:
        path = self._path(sandbox.uid)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(_to_json(sandbox)), encoding="utf-8")
        temporary.replace(path)


def _end_unfinished(container_id: str) -> None:
    """Kill what bears this ID, the helper that makes the sandbox included."""
    for pid in marked(container_id):
        signal_process(pid, signal.SIGKILL)
    netns.withdraw(str(netns.path_of(container_id)))


async def _discard(starting: asyncio.Future[int]) -> None:
    """End a sandbox nobody waits for any more, as soon as its PID is known.

    Killing the helper instead would leave PID 1 behind: it is no longer in the helper's process group.
    """
    with contextlib.suppress(MultinetError):
        pid = await starting
        signal_process(pid, signal.SIGKILL)
        await runtime_exec.exited(pid)


_KEYS = {
    "container_id": "containerID",
    "cni_netns": "cniNetns",
    "host_network": "hostNetwork",
    "api_uid": "apiUID",
}


def _to_json(sandbox: Sandbox) -> Obj:
    record = {_KEYS.get(key, key): value for key, value in asdict(sandbox).items()}
    return record | {"netns": sandbox.netns}


def _from_json(record: dict[str, Any]) -> Sandbox:
    return Sandbox(
        namespace=record["namespace"],
        name=record["name"],
        uid=record["uid"],
        pid=int(record["pid"]),
        container_id=record["containerID"],
        node=record["node"],
        cni_netns=record["cniNetns"],
        host_network=bool(record["hostNetwork"]),
        attached=bool(record["attached"]),
        addresses=tuple(record["addresses"]),
        api_uid=str(record.get("apiUID") or record["uid"]),
    )
