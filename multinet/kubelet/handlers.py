"""What probes and lifecycle hooks do: a command in the container, a request to the pod, a connection.

Requests and connections start in the kubelet, which is in the node's network namespace: they take the way a
real kubelet's take, from the node to the pod's default network.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from multinet.cni import runtime_exec
from multinet.errors import InputError, WaitExpiredError
from multinet.kubelet.launcher import Launcher
from multinet.waits import pause, wait_for

_BODY_SHOWN = 200
_BODY_READ = 10 * 1024
_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """The container that a handler is about. ``host`` is the pod's default address, ``pid`` its command's."""

    container: Mapping[str, Any]
    pid: int
    cwd: str
    env: Mapping[str, str]
    host: str
    launcher: Launcher


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether it worked, and if not, what was seen."""

    ok: bool
    text: str = ""


def check(handler: Mapping[str, Any], container: Mapping[str, Any], where: str) -> None:
    """``InputError`` for a handler of a kind, or with a port, that can't be done."""
    kind = _kind(handler)
    if kind == "exec":
        if not (handler["exec"] or {}).get("command"):
            raise InputError("exec needs a command", where=where)
    elif kind in ("httpGet", "tcpSocket"):
        _port(handler[kind] or {}, container, where)
    elif kind == "sleep":
        _seconds(handler["sleep"], where)
    else:
        raise InputError(
            f"a handler of type {kind or '(none)'} is not supported",
            where=where,
            next_step="types that are: exec, httpGet, tcpSocket, sleep",
        )


async def perform(handler: Mapping[str, Any], place: Place, limit_s: float) -> Outcome:
    """Do it once; what takes longer than ``limit_s`` seconds has failed."""
    kind = _kind(handler)
    try:
        if kind == "exec":
            return await _exec(handler["exec"]["command"], place, limit_s)
        if kind == "sleep":
            await pause("a hook's sleep", min(_seconds(handler["sleep"], kind), limit_s))
            return Outcome(True)
        ask = _http if kind == "httpGet" else _tcp
        return await wait_for(f"the answer to {kind}", ask(handler[kind], place), limit_s)
    except WaitExpiredError:
        return Outcome(False, f"{kind} timed out after {limit_s:g}s")
    except (OSError, aiohttp.ClientError, ValueError) as error:
        return Outcome(False, f"{kind}: {error or type(error).__name__}")


def _kind(handler: Mapping[str, Any]) -> str:
    return next((key for key in ("exec", "httpGet", "tcpSocket", "sleep", "grpc") if key in handler), "")


async def _exec(command: list[str], place: Place, limit_s: float) -> Outcome:
    argv = place.launcher.exec_argv(place.pid, place.cwd, command, tty=False)
    done = await runtime_exec.run("a handler's command", argv, env=place.env, limit_s=limit_s)
    if done.returncode == 0:
        return Outcome(True)
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    return Outcome(False, said[:_BODY_SHOWN] or f"command exited with {done.returncode}")


async def _tcp(action: Mapping[str, Any], place: Place) -> Outcome:
    host = str(action.get("host") or place.host)
    _, writer = await asyncio.open_connection(host, _port(action, place.container, "tcpSocket"))
    writer.close()
    return Outcome(True)


async def _http(action: Mapping[str, Any], place: Place) -> Outcome:
    scheme = str(action.get("scheme") or "HTTP").lower()
    host = str(action.get("host") or place.host)
    shown = f"[{host}]" if ":" in host else host
    base = f"{scheme}://{shown}:{_port(action, place.container, 'httpGet')}"
    url = urljoin(base, "/" + str(action.get("path") or "/").lstrip("/"))
    headers = {"User-Agent": "kube-probe/multinet", "Accept": "*/*"}
    headers |= {str(item.get("name")): str(item.get("value")) for item in action.get("httpHeaders") or ()}
    connector = aiohttp.TCPConnector(ssl=_unverified(), force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for _ in range(_REDIRECTS):
            async with session.get(url, allow_redirects=False) as answer:
                body = await answer.content.read(_BODY_READ)
                target = urljoin(url, answer.headers.get("Location", "")) if answer.status // 100 == 3 else ""
                if target and urlsplit(target).netloc == urlsplit(url).netloc and target != url:
                    url = target
                    continue
                if 200 <= answer.status < 400:
                    return Outcome(True)
                said = body.decode(errors="replace").strip()[:_BODY_SHOWN]
                return Outcome(False, f"HTTP probe failed with statuscode: {answer.status} {said}".strip())
    return Outcome(False, f"stopped after {_REDIRECTS} redirects")


def _unverified() -> ssl.SSLContext:
    # As a real kubelet: a pod's certificate is nobody's proof.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _port(action: Mapping[str, Any], container: Mapping[str, Any], where: str) -> int:
    """The port by number, or by its name among the container's ports."""
    wanted = action.get("port")
    for port in container.get("ports") or ():
        if wanted and port.get("name") == wanted:
            wanted = port.get("containerPort")
            break
    if isinstance(wanted, str) and wanted.isdecimal():
        wanted = int(wanted)
    if not isinstance(wanted, int) or not 0 < wanted < 65536:
        raise InputError(f"couldn't find port {wanted!r}", where=where)
    return wanted


def _seconds(action: Mapping[str, Any] | None, where: str) -> float:
    value = (action or {}).get("seconds", 0)
    if not isinstance(value, int) or value < 0:
        raise InputError("sleep needs a number of seconds", where=where, why=repr(value))
    return float(value)
