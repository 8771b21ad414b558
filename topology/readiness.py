"""When is a lab ready: READY=1 from each role, and Ready nodes in the API.

Roles speak systemd's notify protocol (sd_notify(3)), each to a socket of its own, so that a datagram needs no
sender's name. A UNIX socket with a path is reached from any network namespace that sees the file.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multinet.errors import LabError
from multinet.waits import expired


class ReadyBoard:
    """The readiness sockets of a lab's roles."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sockets: dict[str, socket.socket] = {}
        self._ready_at: dict[str, float] = {}
        self._status: dict[str, str] = {}

    def open(self, role_id: str) -> str:
        """Make the socket of a role that is about to start (again); return NOTIFY_SOCKET's value."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{role_id}.sock"
        self._close_one(role_id)
        path.unlink(missing_ok=True)
        handle = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        handle.bind(str(path))
        self._sockets[role_id] = handle
        self._ready_at.pop(role_id, None)
        return str(path)

    def is_ready(self, role_id: str) -> bool:
        """True once the role has said READY=1 since its last start."""
        return role_id in self._ready_at

    def status(self, role_id: str) -> str:
        """The last STATUS= line of the role, for people."""
        return self._status.get(role_id, "")

    def wait(
        self, role_ids: Iterable[str], limit_s: float, *, also: Any, check: Callable[[], None]
    ) -> tuple[str, ...]:
        """Wait until all of ``role_ids`` are ready; return those that are not after ``limit_s``.

        ``also`` (something with a fileno) wakes the wait up too; ``check`` is called then and may raise.
        """
        deadline = time.monotonic() + limit_s
        missing = [role_id for role_id in role_ids if role_id not in self._ready_at]
        while missing:
            handles = [self._sockets[role_id] for role_id in missing]
            readable = select.select([*handles, also], [], [], max(0.0, deadline - time.monotonic()))[0]
            if not readable:
                break
            for role_id in missing:
                self._read(role_id)
            if also in readable:
                check()
            missing = [role_id for role_id in missing if role_id not in self._ready_at]
        return tuple(missing)

    def close(self) -> None:
        """Close all sockets."""
        for role_id in tuple(self._sockets):
            self._close_one(role_id)

    def _close_one(self, role_id: str) -> None:
        handle = self._sockets.pop(role_id, None)
        if handle is not None:
            handle.close()

    def _read(self, role_id: str) -> None:
        while True:
            try:
                text = self._sockets[role_id].recv(4096).decode(errors="replace")
            except BlockingIOError:
                return
            for line in text.splitlines():
                name, _, value = line.partition("=")
                if (name, value) == ("READY", "1"):
                    self._ready_at.setdefault(role_id, time.monotonic())
                elif name == "STATUS":
                    self._status[role_id] = value


def wait_nodes_ready(kubeconfig: Path, nodes: tuple[str, ...], limit_s: float) -> None:
    """Watch the API until every node has condition Ready=True; ``WaitExpiredError`` names those without.

    A blocking list and watch on :mod:`http.client`: an event loop and its HTTP library cost more to import
    than the whole wait takes.
    """
    from multinet.kube.config import load_kubeconfig

    access = load_kubeconfig(kubeconfig)
    url = urlsplit(access.server)
    deadline = time.monotonic() + limit_s
    context = ssl.create_default_context(cadata=access.ca)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=limit_s, context=context)
    headers = {"Authorization": f"Bearer {access.token}", "Accept": "application/json"}
    waiting = dict.fromkeys(nodes, "the node is not in the API")
    try:
        listed = _get(connection, "/api/v1/nodes", headers)
        body = json.load(listed)
        for item in body["items"]:
            _update(waiting, item)
        if not waiting:
            return
        version = body["metadata"]["resourceVersion"]
        stream = _get(connection, f"/api/v1/nodes?watch=1&resourceVersion={version}", headers)
        while waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(left)
            line = stream.readline()
            if not line:
                raise LabError("the API server ended the watch of nodes", where=access.server)
            event = json.loads(line)
            if event.get("type") in ("ADDED", "MODIFIED"):
                _update(waiting, event["object"])
    except TimeoutError as error:
        names = ", ".join(sorted(waiting))
        hint = "see logs/kubelet-<node>.log of the run"
        expiry = expired(f"condition Ready of {names} in the API", limit_s, hint)
        expiry.why = "; ".join(f"{name}: {why}" for name, why in sorted(waiting.items()))
        raise expiry from error
    except OSError as error:
        raise LabError("the lab's API can't be reached", where=access.server, why=str(error)) from error
    finally:
        connection.close()


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a core/v1 Node has condition Ready=True."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _update(waiting: dict[str, str], node: dict[str, Any]) -> None:
    """Take a node that is Ready out of those waited for; remember what the others say of themselves."""
    name = str(node["metadata"]["name"])
    if name not in waiting:
        return
    if is_ready(node):
        del waiting[name]
        return
    conditions = node.get("status", {}).get("conditions", [])
    said = next((entry for entry in conditions if entry["type"] == "Ready"), None)
    waiting[name] = f"{said.get('reason')}: {said.get('message')}" if said else "no condition Ready"


def _get(connection: http.client.HTTPSConnection, path: str, headers: dict[str, str]) -> Any:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise LabError(
            f"the lab's API answered {answer.status} to GET {path}",
            why=answer.read(2000).decode(errors="replace"),
        )
    return answer
