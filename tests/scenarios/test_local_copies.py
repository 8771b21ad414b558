"""Steps end when the local copies show what was written: the next step asks those."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multinet.apiserver.server import ApiServer
from multinet.errors import LabError
from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import NotFoundError
from multinet.kube.watch import WatchEvent
from multinet.waits import pause, wait_for
from scenarios.actions.leftovers import leftovers
from scenarios.actions.objects import annotate, apply
from scenarios.cluster import Cluster, PodRecord
from scenarios.loader import load
from topology.backend import Completed

TEXT = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata:
  name: example
spec:
  steps:
    - name: pods
      apply:
        - apiVersion: v1
          kind: Pod
          metadata: { name: web }
          spec:
            containers: [{ name: c, image: none }]
    - name: note
      annotate: { on: pod/web, set: { a: b } }
"""


@pytest.fixture
async def cluster(tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Local copies which are 50 ms behind, as those of a busy machine."""
    watch = Client.watch

    async def late(client: Client, *args: Any, **options: Any) -> AsyncGenerator[WatchEvent]:
        async for event in watch(client, *args, **options):
            await pause("the copy to lag", 0.05)
            yield event

    monkeypatch.setattr(Client, "watch", late)
    async with (
        ApiServer.start(workdir=tmp_path, pki_dir=pki) as server,
        Client(load_kubeconfig(server.kubeconfig)) as client,
        Cluster(client, lambda _kind, _data: None) as found,
    ):
        yield found


async def test_what_a_step_wrote_is_seen_by_the_next(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    first, second = load(tmp_path / "s.yaml").steps
    context: Any = SimpleNamespace(client=cluster.client, cluster=cluster)
    await apply(context, first)
    assert list(cluster.objects(resources.PODS)) == ["default/web"]
    await annotate(context, second)
    assert (cluster.pod("default/web") or {})["metadata"]["annotations"]["a"] == "b"


async def gone(client: Client, namespace: str) -> None:
    with contextlib.suppress(NotFoundError):
        while await client.get(resources.NAMESPACES, namespace):
            await pause("the namespace's controller", 0.01)


async def test_what_somebody_else_wrote_is_seen_after_catching_up(cluster: Cluster) -> None:
    note: dict[str, Any] = {"metadata": {"name": "extns"}}
    await cluster.client.create(resources.NAMESPACES, note)
    await cluster.catch_up()
    assert "extns" in cluster.objects(resources.NAMESPACES)
    await cluster.client.delete(resources.NAMESPACES, "extns")
    await wait_for("the namespace to be emptied", gone(cluster.client, "extns"), 30)
    await cluster.catch_up()
    assert "extns" not in cluster.objects(resources.NAMESPACES)


class BlindLab:
    """A lab with one node, whose commands fail."""

    nodes = ("node1",)

    def sandboxes(self) -> tuple[()]:
        return ()

    def node_netns(self, _node: str) -> str:
        return "/proc/self/ns/net"

    def exec(self, _node: str, argv: Sequence[str], *, limit_s: float) -> Completed:
        assert limit_s > 0
        return Completed(127, "", f"{argv[0]}: not found")


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([], "can't look for left-overs with bridge -j fdb show"),
        (PermissionError(1, "no"), "the node's links can't be read"),
    ],
)
async def test_leftovers_that_could_not_be_looked_for_are_not_taken_as_absent(
    links: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("scenarios.actions.leftovers")
    monkeypatch.setattr(module, "inspect_all", lambda _spaces: {"node1": links})
    record = PodRecord("default", "web", "u1", gone=True)
    cluster = SimpleNamespace(records={"u1": record}, gone=lambda: [record], all=lambda _resource: [])
    context: Any = SimpleNamespace(
        scenario=SimpleNamespace(pod_network=None),
        cluster=cluster,
        lab=BlindLab(),
        baseline={"node1": frozenset()},
    )
    step: Any = SimpleNamespace(step=SimpleNamespace(leftovers=SimpleNamespace(timeout=0.1)), index=0)
    with pytest.raises(LabError, match=message):
        await leftovers(context, step)
