"""What is asked of a cluster before a run, and what a run leaves there: nothing, whatever ended it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance import livecluster
from conformance.api import Api
from conformance.embedded import serving
from conformance.livecluster import RUN
from conformance.target import ClusterTarget, Network, make
from multinet.errors import EnvironmentLackError, InputError, MultinetError

pytestmark = pytest.mark.programs
NODES = "/api/v1/nodes"
LIMIT_S = 90.0
WHO = {"organization": "o", "project": "p", "url": "about:blank", "version": "1"}
WHOLE: dict[str, Any] = {
    "container": {"name": "main", "image": "none"},
    "implementation": WHO,
    "profiles": ["core"],
    "nad": {"config": "{}"},
}


def described(folder: Path, **changes: Any) -> Path:
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(WHOLE | changes))
    return file


def kubeconfig(folder: Path, server: str, token: str = "t") -> Path:
    entries = {
        "users": [{"name": "u", "user": {"token": token}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", **entries}))
    return path


def node(ready: str, message: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "message": message, "reason": "KubeletNotReady"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1"},
        "status": {"conditions": [condition]},
    }


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[str]:
    """A server that answers by path as an API server would; a number is a refusal with that status."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = answers.get(self.path.partition("?")[0], 404)
            found = found(json.loads(asked)) if callable(found) else found
            refused = isinstance(found, int)
            body = {"kind": "Status", "apiVersion": "v1", "code": found} if refused else found
            text = json.dumps(body).encode()
            self.send_response(found if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def allowing(refused: str = "") -> Callable[[Any], Any]:
    def review(asked: Any) -> Any:
        return {"status": {"allowed": asked["spec"]["resourceAttributes"]["resource"] != refused}}

    return review


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
NADS = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions"
SOUND: dict[str, Any] = {
    "/version": {"gitVersion": "v1.30.0"},
    REVIEWS: allowing(),
    NADS: {"items": []},
    NODES: {"items": [node("True")]},
}
NO_CNI = "container runtime network not ready: cni plugin not initialized"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"/version": 401}, "does not take the kubeconfig's credentials.*it may be expired"),
        ({REVIEWS: allowing("namespaces")}, "it may not create namespaces; not list namespaces; not delete"),
        ({REVIEWS: allowing("pods")}, "create pods; .*create pods/exec.*ClusterRole"),
        ({NADS: 404}, "knows no NetworkAttachmentDefinitions.*CRD"),
        ({NODES: {"items": []}}, "no node takes pods.*there is none"),
        ({NODES: {"items": [node("False", NO_CNI)]}}, f"no node takes pods.*n1: {NO_CNI}"),
        ({NODES: {"items": [node("True") | {"spec": {"unschedulable": True}}]}}, "n1: it is cordoned"),
    ],
)
def test_what_a_cluster_lacks_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with answering(SOUND | changes) as server, pytest.raises(EnvironmentLackError, match=message):
        livecluster.check(kubeconfig(tmp_path, server))


def test_a_cluster_that_has_all_is_taken_and_one_that_is_not_there_told(tmp_path: Path) -> None:
    with answering(SOUND) as server:
        livecluster.check(kubeconfig(tmp_path, server))
    with pytest.raises(MultinetError) as caught:
        livecluster.check(kubeconfig(tmp_path, server))
    assert server in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"implementation": {**WHO, "url": None}}, "implementation.url: .*None was given"),
        ({"implementation": {"project": "p"}}, "the key 'implementation.organization' is missing"),
        ({"profiles": ["cores"]}, "profiles.0: .*'cores' was given"),
        ({"profiles": 5}, "profiles: .*5 was given"),
        ({"features": ["statuses"]}, "features.*'statuses' was given"),
        ({"limits": [{"row": "NPWG-4.2-a"}]}, "the key 'limits.0.reason' is missing"),
        ({"nads": {}}, "no key 'nads' is known"),
        ({"nad": {"config": {}}}, "nad.config: .*was given"),
        ({"specVersion": "9.9"}, "specVersion: .*'9.9' was given"),
        ({}, "KUBECONFIG is not set"),
    ],
)
def test_a_description_is_read_in_a_users_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(InputError, match=message) as caught:
        make(f"kubeconfig:{described(tmp_path, **changes)}")
    assert "__init__" not in str(caught.value)


def test_a_description_is_filled_in_for_each_network(tmp_path: Path) -> None:
    config = '{"name": "$NAME", "type": "x", "ipam": {"type": "host-local", "ranges": $RANGES}}'
    nad = {"config": config, "annotations": {"example.org/pool": "$NAMESPACE $SUBNETS"}}
    broken = {"example.org/default": "missing"}
    file = described(tmp_path, kubeconfig="k", nad=nad, nodes=["n1"], brokenDefault=broken)
    target = make(f"kubeconfig:{file}")
    assert isinstance(target, ClusterTarget)
    first = Network("a", "space", ("10.0.0.0/24", "fd00::/64"))
    second = Network("b", "space", same_as=first)
    one, other = target.nad(first), target.nad(second)
    found = json.loads(one["spec"]["config"])
    assert found["name"] == "a"
    assert found["ipam"]["ranges"] == [[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]
    assert one["metadata"]["annotations"] == {"example.org/pool": "space 10.0.0.0/24,fd00::/64"}
    assert other["metadata"]["name"] == "b"
    assert other["spec"] == one["spec"]
    assert (target.nodes, target.broken_default()) == (("n1",), broken)


class Run:
    """The suite against a cluster where no pod ever runs, in a process that can be ended."""

    def __init__(self, folder: Path, api: Path, client: Api) -> None:
        file = described(folder, kubeconfig=str(api))
        suite = [sys.executable, "-m", "pytest", "conformance/suite", f"--target=kubeconfig:{file}"]
        self._api = client
        self._before = self.labels()
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}
        self.process = subprocess.Popen(
            [*suite, "-p", "no:cacheprovider", "-q", "-k", "test_both_formats or each_of_several"],
            stdout=subprocess.DEVNULL,
            env=env,
        )

    def labels(self) -> set[str]:
        """Of the runs that have namespaces."""
        found = self._api.get("/api/v1/namespaces").get("items") or []
        return {item["metadata"].get("labels", {}).get(RUN, "") for item in found} - {""}

    def under_way(self) -> set[str]:
        """Its label, as soon as it has made a namespace."""
        for _ in range(round(LIMIT_S / 0.2)):
            if found := self.labels() - self._before:
                return found
            with pytest.raises(subprocess.TimeoutExpired):
                self.process.wait(0.2)
        raise AssertionError("the suite made no namespace")


def test_nothing_is_left_of_a_run_that_ends_and_the_next_takes_what_a_killed_one_left(tmp_path: Path) -> None:
    with serving(tmp_path / "api") as api:
        client = Api(api)
        client.create(NODES, node("True"))
        killed = Run(tmp_path, api, client)
        left = killed.under_way()
        killed.process.kill()
        killed.process.wait()
        assert killed.labels() == left
        ended = Run(tmp_path, api, client)
        own = ended.under_way()
        assert own.isdisjoint(left)
        assert ended.labels() == own
        ended.process.send_signal(signal.SIGINT)
        assert ended.process.wait(LIMIT_S) == 2
        assert ended.labels() == set()
        client.close()
