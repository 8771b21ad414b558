"""A small synchronous client of the Kubernetes API, for plugins and tests that make one request at a time."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multinet.errors import MultinetError
from multinet.kube.config import load_kubeconfig
from multinet.model.objects import Obj

NADS = "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions"
PODS = "/api/v1/namespaces/{}/pods"
MERGE = "application/merge-patch+json"
_TIMEOUT_S = 10.0


class ApiError(MultinetError):
    """An answer that is no success; ``status`` is HTTP's, 0 when there was no answer."""

    def __init__(self, status: int, what: str, *, where: str) -> None:
        super().__init__(what, where=where)
        self.status = status


class Api:
    """Who reads NADs and pods, over one connection; for one thread."""

    def __init__(self, kubeconfig: Path) -> None:
        access = load_kubeconfig(kubeconfig)
        url = urlsplit(access.server)
        tls = ssl.create_default_context(cadata=access.ca)
        self._connection = http.client.HTTPSConnection(
            url.hostname or "", url.port or 443, timeout=_TIMEOUT_S, context=tls
        )
        self._headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Obj:
        """One request; the answer's JSON map. ``ApiError`` for anything but success."""
        headers = dict(self._headers)
        data = None
        if body is not None:
            headers["Content-Type"] = kind
            data = json.dumps(body).encode()
        try:
            self._connection.request(method, path, body=data, headers=headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ApiError(0, "the API server can't be reached", where=f"{method} {path}: {error}") from error
        found = json.loads(text) if text[:1] == b"{" else {}
        if answer.status >= http.client.BAD_REQUEST:
            raise ApiError(answer.status, str(found.get("message", answer.reason)), where=f"{method} {path}")
        return dict(found)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def get(self, path: str) -> Obj:
        """The object."""
        return self.call("GET", path)

    def create(self, path: str, obj: Obj) -> Obj:
        """Make it; what was stored."""
        return self.call("POST", path, obj)

    def merge(self, path: str, change: Obj) -> Obj:
        """JSON merge patch."""
        return self.call("PATCH", path, change, kind=MERGE)

    def delete(self, path: str) -> None:
        """Delete it at once; nothing if it is gone already."""
        try:
            self.call("DELETE", path, {"gracePeriodSeconds": 0})
        except ApiError as error:
            if error.status != http.client.NOT_FOUND:
                raise
