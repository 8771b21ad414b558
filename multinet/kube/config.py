"""Where the cluster is and who we are: kubeconfig files and the in-cluster environment.

Follows the kubeconfig v1 format (https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/): several
files in ``$KUBECONFIG`` are merged, the first to set a name wins, and relative paths count from the file
which holds them. Reading is done here, once; what changes while we run (a token file, an exec plugin)
is carried as such and asked by :mod:`multinet.kube.credentials`.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from multinet.errors import InputError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class ExecPlugin:
    """A credential plugin (``users[].user.exec``; client.authentication.k8s.io)."""

    api_version: str
    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    install_hint: str = ""
    provide_cluster_info: bool = False


@dataclass(frozen=True)
class ClusterAccess:
    """All that a client needs to reach one cluster as one user.

    ``server`` is a URL without a trailing slash; ``ca``, ``client_cert`` and ``client_key`` are PEM text;
    ``namespace`` is the context's default. Secrets don't show in ``repr``.
    """

    server: str
    token: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)
    client_cert: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    insecure: bool = False
    namespace: str = "default"
    tls_server_name: str | None = None
    token_file: Path | None = None
    exec_plugin: ExecPlugin | None = None


@dataclass(frozen=True)
class _Entry:
    """A named entry of a kubeconfig (cluster, user or context) and where it stands."""

    file: Path
    section: str
    index: int
    body: Mapping[str, Any]

    def error(self, name: str, what: str, *, why: str = "", next_step: str = "") -> InputError:
        path: list[str | int] = [self.section, self.index, self.section[:-1], name]
        where = f"{self.file}:{_line_of(self.file, path)}"
        dotted = f"{self.section}[{self.index}].{self.section[:-1]}.{name}"
        return InputError(f"{dotted}: {what}", where=where, why=why, next_step=next_step)

    def text(self, name: str) -> str | None:
        value = self.body.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(name, f"must be a string, not {type(value).__name__}")
        return value

    def flag(self, name: str) -> bool:
        value = self.body.get(name, False)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def pem(self, name: str) -> str | None:
        """The PEM text of ``<name>-data`` (base64), else of the file ``<name>``."""
        data = self.text(f"{name}-data")
        if data is not None:
            try:
                text = base64.b64decode("".join(data.split()), validate=True).decode("ascii")
            except (binascii.Error, ValueError) as error:
                raise self.error(f"{name}-data", "is not base64 of PEM text", why=str(error)) from error
            return self._checked_pem(f"{name}-data", text)
        path = self.text(name)
        return None if path is None else self._checked_pem(name, self.read(name, path))

    def read(self, name: str, path: str) -> str:
        file = self.file.parent / path
        try:
            return file.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise self.error(name, f"can't read {file}", why=str(error)) from error

    def _checked_pem(self, name: str, text: str) -> str:
        if "-----BEGIN " not in text:
            raise self.error(name, "holds no PEM block", next_step="it must start with -----BEGIN ...-----")
        return text


def load_kubeconfig(path: Path | None = None, context: str | None = None) -> ClusterAccess:
    """Find out how to reach the cluster.

    ``path``, else the files of ``$KUBECONFIG``, else ``~/.kube/config``, else the in-cluster environment.
    ``context`` overrides ``current-context``. Raises ``InputError`` naming file, line and field.
    """
    files = _files(path)
    if not files:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            return in_cluster()
        raise InputError(
            "there is no kubeconfig file and this is not a pod",
            where="~/.kube/config",
            next_step="give --kubeconfig FILE or set KUBECONFIG",
        )
    documents = [(file, _read(file)) for file in files]
    wanted = context or next((d["current-context"] for _, d in documents if d.get("current-context")), None)
    if not wanted:
        raise InputError(
            "current-context: is not set", where=str(files[0]), next_step="set it, or name a context"
        )
    chosen = _find(documents, "contexts", str(wanted), files[0])
    cluster = _find(documents, "clusters", _named(chosen, "cluster"), chosen.file)
    user_name = chosen.text("user")
    user = _find(documents, "users", user_name, chosen.file) if user_name else None
    return _access(chosen, cluster, user)


def in_cluster(directory: Path = _SERVICE_ACCOUNT) -> ClusterAccess:
    """Access of a pod with a service account: the token file is read again as it is renewed."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token_file = directory / "token"
    try:
        ca = (directory / "ca.crt").read_text(encoding="ascii")
        token = token_file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise InputError(
            "the service account's files can't be read",
            where=str(directory),
            why=str(error),
            next_step="set automountServiceAccountToken on the pod, or give --kubeconfig FILE",
        ) from error
    namespace_file = directory / "namespace"
    namespace = namespace_file.read_text(encoding="ascii").strip() if namespace_file.exists() else "default"
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return ClusterAccess(server=server, token=token, ca=ca, namespace=namespace, token_file=token_file)


def _files(path: Path | None) -> list[Path]:
    if path is not None:
        return [path]
    listed = [Path(item) for item in os.environ.get("KUBECONFIG", "").split(os.pathsep) if item]
    if listed:
        # kubectl skips absent files of the list, unless all are absent.
        return [item for item in listed if item.exists()] or listed[:1]
    usual = Path.home() / ".kube" / "config"
    return [usual] if usual.exists() else []


def _read(file: Path) -> dict[str, Any]:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    except OSError as error:
        raise InputError(
            "the kubeconfig file can't be read", where=str(file), why=error.strerror or str(error)
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark is not None else str(file)
        why = str(getattr(error, "problem", None) or error)
        raise InputError("the kubeconfig file is not YAML", where=where, why=why) from error
    if not isinstance(document, dict):
        raise InputError("the kubeconfig file is not a mapping", where=str(file))
    kind = document.get("kind", "Config")
    if kind != "Config":
        raise InputError(f"kind: must be Config, not {kind}", where=f"{file}:{_line_of(file, ['kind'])}")
    return document


def _find(documents: list[tuple[Path, dict[str, Any]]], section: str, name: str, asked_in: Path) -> _Entry:
    for file, document in documents:
        entries = document.get(section) or []
        if not isinstance(entries, list):
            raise InputError(f"{section}: must be a list", where=f"{file}:{_line_of(file, [section])}")
        for index, entry in enumerate(entries):
            if isinstance(entry, dict) and entry.get("name") == name:
                body = entry.get(section[:-1]) or {}
                if not isinstance(body, dict):
                    line = _line_of(file, [section, index])
                    raise InputError(f"{section}[{index}]: must be a mapping", where=f"{file}:{line}")
                return _Entry(file, section, index, body)
    known = [str(e.get("name")) for _, d in documents for e in d.get(section) or [] if isinstance(e, dict)]
    raise InputError(
        f"{section}: there is no {section[:-1]} named {name!r}",
        where=str(asked_in),
        why=f"known: {', '.join(known) or 'none'}",
    )


def _named(entry: _Entry, name: str) -> str:
    value = entry.text(name)
    if value is None:
        raise entry.error(name, "is missing")
    return value


def _access(context: _Entry, cluster: _Entry, user: _Entry | None) -> ClusterAccess:
    server = _named(cluster, "server").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise cluster.error("server", f"{server!r} is not an http(s) URL")
    if cluster.text("proxy-url"):
        raise cluster.error("proxy-url", "a proxy to the API is not supported")
    insecure = cluster.flag("insecure-skip-tls-verify")
    ca = cluster.pem("certificate-authority")
    if insecure and ca:
        raise cluster.error(
            "insecure-skip-tls-verify", "contradicts certificate-authority", next_step="keep one of the two"
        )
    return ClusterAccess(
        server=server,
        ca=ca,
        insecure=insecure,
        namespace=context.text("namespace") or "default",
        tls_server_name=cluster.text("tls-server-name"),
        **(_user(user) if user else {}),
    )


def _user(user: _Entry) -> dict[str, Any]:
    for name in ("username", "password"):
        if user.body.get(name):
            raise user.error(
                name,
                "basic authentication is not supported (Kubernetes removed it in 1.19)",
                next_step="use a token, a client certificate or an exec plugin",
            )
    if user.body.get("auth-provider"):
        raise user.error(
            "auth-provider", "is not supported (Kubernetes removed it in 1.26)", next_step="use exec"
        )
    cert, key = user.pem("client-certificate"), user.pem("client-key")
    if (cert is None) != (key is None):
        missing = "client-certificate" if cert is None else "client-key"
        raise user.error(missing, "is missing: certificate and key go together")
    token, token_file = user.text("token"), user.text("tokenFile")
    file = None
    # A tokenFile wins over a token (kubeconfig.v1 AuthInfo): the token is the last one seen.
    if token_file is not None:
        file = user.file.parent / token_file
        token = user.read("tokenFile", token_file).strip()
    return {
        "token": token,
        "token_file": file,
        "client_cert": cert,
        "client_key": key,
        "exec_plugin": _exec_plugin(user) if user.body.get("exec") else None,
    }


def _exec_plugin(user: _Entry) -> ExecPlugin:
    body = user.body["exec"]
    if not isinstance(body, dict):
        raise user.error("exec", "must be a mapping")
    command, api_version = body.get("command"), body.get("apiVersion")
    if not isinstance(command, str) or not command:
        raise user.error("exec", "command is missing")
    if api_version not in ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"):
        raise user.error("exec", f"apiVersion {api_version!r} is not client.authentication.k8s.io/v1")
    if "/" in command:
        command = str(user.file.parent / command)
    try:
        env = tuple((str(item["name"]), str(item["value"])) for item in body.get("env") or [])
    except (TypeError, KeyError) as error:
        raise user.error("exec", "env must be a list of {name, value}") from error
    return ExecPlugin(
        api_version=api_version,
        command=command,
        args=tuple(str(item) for item in body.get("args") or []),
        env=env,
        install_hint=str(body.get("installHint") or "").strip(),
        provide_cluster_info=bool(body.get("provideClusterInfo")),
    )


def _line_of(file: Path, path: list[str | int]) -> int:
    """Line (from 1) of the deepest part of ``path`` that the file has: only looked up to word an error."""
    node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    line = 1
    for step in path:
        if isinstance(step, int) and isinstance(node, yaml.SequenceNode) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == step), None)
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line
