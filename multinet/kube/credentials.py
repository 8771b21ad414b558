"""Credentials that change while we run: token files and exec plugins.

A fixed token costs nothing per request. A token file is read again once a minute, as client-go does, since
a service account's token is renewed in place. An exec plugin speaks ``client.authentication.k8s.io``
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins) and
runs again when its answer expires or the server answered 401.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from multinet.errors import InputError, WaitExpiredError
from multinet.kube.config import ClusterAccess, ExecPlugin
from multinet.kube.errors import UnreachableError
from multinet.waits import wait_for

_log = logging.getLogger(__name__)

_TOKEN_FILE_PERIOD_S = 60.0
_TOKEN_RETRY_S = 5.0
_PLUGIN_LIMIT_S = 60.0
_EXPIRY_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True)
class ExecCredential:
    """What a plugin answered: a token, or a certificate with its key (PEM), or both; Unix time of expiry."""

    token: str | None
    cert: str | None
    key: str | None
    expires: float | None


class Credentials:
    """Supplies the ``Authorization`` header and keeps the TLS context's certificate up to date."""

    def __init__(self, access: ClusterAccess, context: ssl.SSLContext | None) -> None:
        self._access = access
        self._context = context
        self._header = f"Bearer {access.token}" if access.token else None
        self._renewable = access.token_file is not None or access.exec_plugin is not None
        self._fresh_until = 0.0
        self._supplied = False
        self._lock = asyncio.Lock()

    async def header(self) -> str | None:
        """The ``Authorization`` header to send now, or ``None`` for no header."""
        if self._renewable and time.time() >= self._fresh_until:
            await self._renew()
        return self._header

    async def renew_after_refusal(self, refused: str | None) -> bool:
        """The server answered 401 to ``refused``: get new credentials; false if there are no others."""
        if not self._renewable:
            return False
        if self._header == refused:
            self._fresh_until = 0.0
            await self._renew()
        # A certificate may have been renewed though the header is the same; one more try is cheap.
        return self._header != refused or self._access.exec_plugin is not None

    async def _renew(self) -> None:
        async with self._lock:
            if time.time() < self._fresh_until:
                return
            if self._access.exec_plugin is not None:
                await self._ask(self._access.exec_plugin)
            elif self._access.token_file is not None:
                await self._read(self._access.token_file)

    async def _ask(self, plugin: ExecPlugin) -> None:
        try:
            self._take(await run_plugin(plugin, self._access))
            self._supplied = True
        except (InputError, WaitExpiredError) as error:
            if not self._supplied:
                raise
            # It worked before: who supplies the credentials may be away for a while, as the server may be.
            raise UnreachableError(
                "can't renew the credentials", where=f"exec plugin {plugin.command}", why=str(error)
            ) from error

    async def _read(self, file: Path) -> None:
        try:
            token = (await asyncio.to_thread(file.read_text, encoding="ascii")).strip()
            if not token:
                raise ValueError("it is empty")
        except (OSError, ValueError) as error:
            # As client-go: the token that was in it may still be good, else the server says so.
            _log.warning("%s: no new token: %s", file, error)
            self._fresh_until = time.time() + _TOKEN_RETRY_S
            return
        self._header = f"Bearer {token}"
        self._fresh_until = time.time() + _TOKEN_FILE_PERIOD_S

    def _take(self, credential: ExecCredential) -> None:
        if credential.token is not None:
            self._header = f"Bearer {credential.token}"
        if credential.cert and credential.key and self._context is not None:
            load_client_cert(self._context, credential.cert, credential.key)
        self._fresh_until = (
            float("inf") if credential.expires is None else credential.expires - _EXPIRY_MARGIN_S
        )


def load_client_cert(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Load PEM text into a TLS context without a key ever touching a disk (:mod:`ssl` wants file names)."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii", closefd=False) as file:
            file.write(f"{cert.rstrip()}\n{key.rstrip()}\n")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise InputError("the client certificate and key can't be used", why=str(error)) from error
    finally:
        os.close(descriptor)


async def run_plugin(plugin: ExecPlugin, access: ClusterAccess) -> ExecCredential:
    """Run a credential plugin and read its ExecCredential; raises ``InputError`` naming the command."""
    where = f"exec plugin {plugin.command}"
    environment = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": _exec_info(plugin, access)}
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise InputError(
            "can't be started", where=where, why=str(error), next_step=plugin.install_hint
        ) from error
    try:
        output, complaint = await wait_for(where, process.communicate(), _PLUGIN_LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        why = complaint.decode(errors="replace").strip()[-500:]
        raise InputError(f"ended with status {process.returncode}", where=where, why=why)
    return _decode(output, plugin.api_version, where)


def _exec_info(plugin: ExecPlugin, access: ClusterAccess) -> str:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = {"server": access.server, "insecure-skip-tls-verify": access.insecure}
    return json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})


def _decode(output: bytes, api_version: str, where: str) -> ExecCredential:
    try:
        document = json.loads(output)
        status = document["status"]
        if document.get("apiVersion") != api_version or document.get("kind") != "ExecCredential":
            raise ValueError(f"{document.get('apiVersion')} {document.get('kind')}, not {api_version}")
        token, cert, key = (status.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
        expires = status.get("expirationTimestamp")
        if token is None and (cert is None or key is None):
            raise ValueError("neither a token nor a certificate with its key")
        when = datetime.fromisoformat(expires.replace("Z", "+00:00")).timestamp() if expires else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("did not print an ExecCredential", where=where, why=str(error)) from error
    return ExecCredential(token, cert, key, when)
