"""The lab's certificate authority, server certificate, token and kubeconfig.

All files are created with their final permissions (0600 for what is secret) beside their place and moved
there, so nobody ever sees a half-written or a readable secret. What a PKI directory already holds is used
again: a restarted API server keeps its clients.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import trustme
import yaml

_CA, _CERTIFICATE, _TOKEN = "ca.pem", "server.pem", "token"
CONTEXT = "multinet"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the server needs and what its clients are told. ``ca_pem`` is PEM text."""

    ca_pem: str
    certificate: Path
    token: str

    def tls(self) -> ssl.SSLContext:
        """Return the server's TLS settings."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context


def issue(directory: Path, hosts: Iterable[str]) -> Credentials:
    """Return the credentials in ``directory``, made now if they aren't there."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_file, certificate, token_file = directory / _CA, directory / _CERTIFICATE, directory / _TOKEN
    if not (ca_file.exists() and certificate.exists() and token_file.exists()):
        authority = trustme.CA(organization_name="multinet lab")
        issued = authority.issue_cert(*_names(hosts))
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        write_secret(certificate, issued.private_key_pem.bytes() + chain)
        write_secret(token_file, secrets.token_urlsafe(32).encode())
        write_secret(ca_file, authority.cert_pem.bytes())
    return Credentials(ca_file.read_text(), certificate, token_file.read_text().strip())


def write_kubeconfig(path: Path, server: str, credentials: Credentials) -> None:
    """Write a kubeconfig with everything embedded, mode 0600."""
    authority = base64.b64encode(credentials.ca_pem.encode()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": CONTEXT, "user": {"token": credentials.token}}],
        "contexts": [
            {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    write_secret(path, yaml.dump(config, Dumper=dumper, sort_keys=False).encode())


def write_secret(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, readable by the owner only from the first byte on."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _names(hosts: Iterable[str]) -> list[str]:
    fixed = ("localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    wanted = dict.fromkeys([*hosts, *fixed])
    return [host for host in wanted if host and not _unspecified(host)]


def _unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
