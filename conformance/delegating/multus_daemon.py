"""Multus' daemon for the suite: started as in a pod, and asked whether it has seen what the API was told.

It reads pods and NADs from copies that follow the API, so an ADD right after a NAD was made may not find it.
In a cluster a NAD is older than the pod that selects it. Here a pod is made with a NAD nobody else has, and
ADD is asked for until the daemon finds that: what was written before, it has seen then, as the API's watches
keep the order. The default network of this ADD has no plugin, so that nothing is attached.

The daemon is only of use with ``multusConfigFile`` left at ``auto``: with a file of one's own, 4.3.0 ends as
soon as it is ready.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from conformance.api import NADS, PODS, Api
from conformance.cnicall import Container
from conformance.delegating import DEFAULT, NETWORKS, VERSION
from multinet.errors import LabError, MultinetError
from multinet.model.objects import Obj
from multinet.waits import expired
from topology import linux

_START_LIMIT_S = 60.0
_SEEN_LIMIT_S = 60.0
_END_LIMIT_S = 10.0
_ASK_S = 0.02
_SPACE = "multus-daemon"
_NO_PLUGIN = "no-such-plugin"


class Daemon:
    """One daemon. Use as a context manager, in namespaces that are thrown away."""

    def __init__(self, executable: Path, kubeconfig: Path, folder: Path) -> None:
        self.socket_dir = folder / "run"
        self._executable = executable
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._log = folder / "daemon.log"
        self._read = 0
        self._numbers = itertools.count(1)
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Daemon:
        net_d = self._folder / "net.d"
        net_d.mkdir(parents=True)
        (net_d / "10-default.conf").write_text(json.dumps(_plugin(DEFAULT, "default-delegate")))
        config = {
            "cniVersion": VERSION,
            "cniConfigDir": str(net_d),
            "multusAutoconfigDir": str(net_d),
            "socketDir": str(self.socket_dir),
            "logToStderr": True,
            "logLevel": "verbose",
        }
        file = self._folder / "daemon-config.json"
        file.write_text(json.dumps(config))
        self._api = Api(self._kubeconfig)
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _SPACE}}
        self._api.create("/api/v1/namespaces", space)
        # Before the daemon: from the first one on, it sees which network namespaces are made later.
        self._container = Container.make()
        argv = [sys.executable, "-m", "conformance.incluster", str(self._kubeconfig), str(self._executable)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen([*argv, "-config", str(file)], stdout=log, stderr=log)
        try:
            self._until("Multus' daemon", _START_LIMIT_S, lambda: self._ask("GET", "/healthz") is not None)
        except MultinetError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._container.remove()
        self._api.close()

    def catch_up(self) -> None:
        """Return when the daemon has seen what was written to the API before."""
        with self._one_at_a_time:
            self._catch_up()

    def _catch_up(self) -> None:
        name = f"seen-{next(self._numbers)}"
        nad: Obj = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
        nad["metadata"] = {"name": name, "namespace": _SPACE}
        nad["spec"] = {"config": json.dumps(_plugin(name, _NO_PLUGIN))}
        self._api.create(NADS.format(_SPACE), nad)
        pod: Obj = {"apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {"name": name, "namespace": _SPACE, "annotations": {NETWORKS: name}}
        pod["spec"] = {"nodeName": "node1", "containers": [{"name": "idle", "image": "idle"}]}
        request = self._request(name, self._api.create(PODS.format(_SPACE), pod)["metadata"]["uid"])
        self._until(
            "Multus' daemon to see what the API has",
            _SEEN_LIMIT_S,
            lambda: _NO_PLUGIN in (self._ask("POST", "/cni", request) or ""),
        )
        self._read = self._log.stat().st_size

    def said(self) -> str:
        """Its log since it was asked last."""
        with self._log.open("rb") as stream:
            stream.seek(self._read)
            text = stream.read()
        self._read += len(text)
        return text.decode(errors="replace")

    def _request(self, name: str, uid: str) -> str:
        args = {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": _SPACE, "K8S_POD_NAME": name, "K8S_POD_UID": uid}
        env = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": name,
            "CNI_NETNS": self._container.netns,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in args.items()),
        }
        nowhere = str(self._folder / "none")
        config: Obj = {"cniVersion": VERSION, "name": "multus-cni-network", "type": "multus"}
        config |= {"confDir": nowhere, "cniDir": nowhere, "binDir": nowhere}
        config["delegates"] = [_plugin("none", _NO_PLUGIN)]
        return json.dumps({"env": env, "config": base64.b64encode(json.dumps(config).encode()).decode()})

    def _until(self, name: str, limit_s: float, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            try:
                status = self._process.wait(_ASK_S)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise expired(name, limit_s, hint=f"see {self._log}") from None
            else:
                why = linux.tail(self._log)
                raise LabError(f"Multus' daemon ended with status {status}", where=str(self._log), why=why)

    def _ask(self, method: str, path: str, body: str | None = None) -> str | None:
        """The answer's text; None where nobody listens yet."""
        link = http.client.HTTPConnection("daemon", timeout=_SEEN_LIMIT_S)
        link.sock = socket.socket(socket.AF_UNIX)
        link.sock.settimeout(_SEEN_LIMIT_S)
        try:
            link.sock.connect(str(self.socket_dir / "multus.sock"))
            link.request(method, path, body)
            return link.getresponse().read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return None
        finally:
            link.close()


def _plugin(name: str, kind: str) -> Obj:
    return {"cniVersion": VERSION, "name": name, "type": kind}
