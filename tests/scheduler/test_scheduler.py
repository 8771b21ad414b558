"""The scheduler against the embedded API, and its filters by themselves."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from multinet.apiserver.server import ApiServer
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.resources import EVENTS, NODES, PODS
from multinet.kubelet.scheduler import Scheduler, explain, objection, waits_for_node


def node(name, *, ready="True", labels=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x"}], **spec},
    }


def required(*expressions, fields=None):
    term = {"matchExpressions": list(expressions)}
    if fields:
        term = {"matchFields": fields}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "b"}}, False),
        ({"affinity": required({"key": "zone", "operator": "In", "values": ["a", "c"]})}, True),
        ({"affinity": required({"key": "zone", "operator": "NotIn", "values": ["a"]})}, False),
        ({"affinity": required({"key": "other", "operator": "NotIn", "values": ["a"]})}, True),
        ({"affinity": required({"key": "zone", "operator": "Exists"})}, True),
        ({"affinity": required({"key": "zone", "operator": "DoesNotExist"})}, False),
        ({"affinity": required()}, False),
        (
            {"affinity": required(fields=[{"key": "metadata.name", "operator": "In", "values": ["n"]}])},
            True,
        ),
    ],
)
def test_node_selector_and_affinity(spec, fits):
    reason = objection(pod("p", **spec), node("n", labels={"zone": "a"}))
    assert reason == ("" if fits else "node(s) didn't match Pod's node affinity/selector")


@pytest.mark.parametrize(
    ("tolerations", "fits"),
    [
        ([], False),
        ([{"operator": "Exists"}], True),
        ([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], True),
        ([{"key": "gpu", "value": "yes"}], True),
        ([{"key": "gpu", "value": "no"}], False),
        ([{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}], False),
    ],
)
def test_taints_and_tolerations(tolerations, fits):
    tainted = node("n", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    reason = objection(pod("p", tolerations=tolerations), tainted)
    assert reason == ("" if fits else "node(s) had untolerated taint {gpu: yes}")


def test_a_preferred_taint_does_not_block():
    soft = node("n", taints=[{"key": "gpu", "effect": "PreferNoSchedule"}])
    assert objection(pod("p"), soft) == ""


def test_nodes_that_are_not_ready_or_cordoned_are_refused_with_their_reason():
    assert objection(pod("p"), node("n", ready="False")) == (
        "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
    )
    assert objection(pod("p"), node("n", ready="Unknown")) == (
        "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"
    )
    assert objection(pod("p"), node("n", unschedulable=True)) == "node(s) were unschedulable"


def test_the_sentence_counts_reasons_and_is_sorted():
    objections = {"n1": "node(s) were unschedulable", "n2": "b", "n3": "node(s) were unschedulable"}
    assert explain(objections) == ("0/3 nodes are available: 1 b, 2 node(s) were unschedulable.")
    assert explain({}) == "no nodes available to schedule pods"


def test_pods_of_others_are_left_alone():
    assert waits_for_node(pod("p"))
    assert not waits_for_node(pod("p", schedulerName="mine"))
    assert not waits_for_node(pod("p", nodeName="n"))
    assert not waits_for_node(pod("p", schedulingGates=[{"name": "g"}]))
    assert not waits_for_node(pod("p") | {"status": {"phase": "Failed"}})


@contextlib.asynccontextmanager
async def cluster(workdir: Path, pki: Path):
    """An API server with a running scheduler; yields a client and an informer on pods."""
    async with (
        ApiServer.start(workdir=workdir, pki_dir=pki) as server,
        Client(load_kubeconfig(server.kubeconfig)) as client,
    ):
        pods = Informer(client, PODS)
        tasks = [asyncio.create_task(Scheduler(client).run()), asyncio.create_task(pods.run())]
        try:
            yield client, pods
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def add_node(client, **arguments):
    made = node(**arguments)
    await client.create(NODES, made)
    await client.patch(NODES, made["metadata"]["name"], {"status": made["status"]}, subresource="status")


def node_of(pods, name):
    return pods.store.get(f"default/{name}", {}).get("spec", {}).get("nodeName")


async def test_pods_go_to_the_emptiest_node_and_the_name_breaks_ties(tmp_path, pki):
    async with cluster(tmp_path, pki) as (client, pods):
        await add_node(client, name="node2")
        await add_node(client, name="node1")
        for name in ("a", "b", "c", "d"):
            await client.create(PODS, pod(name))
            await pods.wait_until(f"{name} bound", lambda _, name=name: node_of(pods, name), 30)
        assert [node_of(pods, name) for name in "abcd"] == ["node1", "node2", "node1", "node2"]
        bound = pods.store["default/a"]
        scheduled = [c for c in bound["status"]["conditions"] if c["type"] == "PodScheduled"]
        assert scheduled[0]["status"] == "True"


async def test_a_burst_is_spread_evenly(tmp_path, pki):
    async with cluster(tmp_path, pki) as (client, pods):
        for name in ("node1", "node2"):
            await add_node(client, name=name)
        await asyncio.gather(*(client.create(PODS, pod(f"p{i}")) for i in range(30)))
        await pods.wait_until(
            "all bound", lambda store: sum(bool(p["spec"].get("nodeName")) for p in store.values()) == 30, 10
        )
        on_first = sum(p["spec"]["nodeName"] == "node1" for p in pods.store.values())
        assert on_first == 15


async def test_a_pod_without_a_node_says_why_and_is_placed_when_a_node_fits(tmp_path, pki):
    async with cluster(tmp_path, pki) as (client, pods):
        events = Informer(client, EVENTS)
        watching = asyncio.create_task(events.run())
        await add_node(client, name="node1", labels={"zone": "a"})
        await client.create(PODS, pod("p", nodeSelector={"zone": "b"}))

        def refusal(store):
            conditions = store.get("default/p", {}).get("status", {}).get("conditions", [])
            return next((c for c in conditions if c["type"] == "PodScheduled"), None)

        condition = await pods.wait_until("refused", refusal, 30)
        message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        assert condition["status"] == "False"
        assert (condition["reason"], condition["message"]) == ("Unschedulable", message)
        await client.patch(NODES, "node1", {"metadata": {"labels": {"zone": "b"}}})
        await pods.wait_until("bound after the label", lambda _: node_of(pods, "p") == "node1", 30)

        def both(store):
            said = {e["reason"]: e for e in store.values()}
            return said if {"FailedScheduling", "Scheduled"} <= set(said) else None

        said = await events.wait_until("events", both, 30)
        assert said["FailedScheduling"]["type"] == "Warning"
        assert said["FailedScheduling"]["message"] == message
        # The refusal's own status write must not make the scheduler try (and complain) again.
        assert said["FailedScheduling"]["count"] == 1
        assert said["Scheduled"]["message"] == "Successfully assigned default/p to node1"
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_another_schedulers_pod_stays_where_it_is(tmp_path, pki):
    async with cluster(tmp_path, pki) as (client, pods):
        await add_node(client, name="node1")
        await client.create(PODS, pod("theirs", schedulerName="mine"))
        await client.create(PODS, pod("ours"))
        await pods.wait_until("ours bound", lambda _: node_of(pods, "ours"), 30)
        assert node_of(pods, "theirs") is None


async def test_deleted_pods_give_their_place_back(tmp_path, pki):
    async with cluster(tmp_path, pki) as (client, pods):
        for name in ("node1", "node2"):
            await add_node(client, name=name)
        for name in ("a", "b"):
            await client.create(PODS, pod(name))
            await pods.wait_until("bound", lambda _, name=name: node_of(pods, name), 30)
        await client.delete(PODS, "a", "default", grace_seconds=0)
        await pods.wait_until("a gone", lambda store: "default/a" not in store, 30)
        await client.create(PODS, pod("c"))
        await pods.wait_until("c bound", lambda _: node_of(pods, "c"), 30)
        assert node_of(pods, "c") == "node1"
