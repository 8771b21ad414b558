"""Unmodified kubectl makes, scales, rolls, drains and deletes workloads."""

from __future__ import annotations

import json

import pytest

from multinet.kube.resources import DAEMON_SETS, DEPLOYMENTS, JOBS, NODES, PODS, REPLICA_SETS, STATEFUL_SETS

pytestmark = pytest.mark.programs


def stateful_set(**spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template("db", "v1"),
            **spec,
        },
    }


def template(app, image, **spec):
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


def daemon_set():
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", "v1")},
    }


def images(pods):
    return sorted(pod["spec"]["containers"][0]["image"] for pod in pods)


async def test_a_deployment_is_made_scaled_rolled_undone_and_deleted(stage):
    await stage.kubectl("create", "deployment", "web", "--image=v1", "--replicas=3", "--port=80")
    assert "successfully rolled out" in await stage.kubectl(
        "rollout", "status", "deployment/web", "--timeout=50s"
    )
    assert [line.split()[1:4] for line in (await stage.kubectl("get", "deploy")).splitlines()[1:]] == [
        ["3/3", "3", "3"]
    ]
    assert "READY" in await stage.kubectl("get", "all", "-o", "wide")
    await stage.kubectl("scale", "deployment/web", "--replicas=5", "--current-replicas=3")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    assert len(stage.owned("ReplicaSet", "web-")) == 5
    await stage.kubectl("set", "image", "deployment/web", "*=v2")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    assert (
        images(
            pod for pod in stage.owned("ReplicaSet", "web-") if not pod["metadata"].get("deletionTimestamp")
        )
        == ["v2"] * 5
    )
    await stage.kubectl("rollout", "undo", "deployment/web")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    sets = {
        item["spec"]["template"]["spec"]["containers"][0]["image"]: item
        for item in stage.workloads.cluster.all(REPLICA_SETS)
    }
    revision = "deployment.kubernetes.io/revision"
    assert {image: item["spec"]["replicas"] for image, item in sets.items()} == {"v1": 5, "v2": 0}
    assert sets["v1"]["metadata"]["annotations"][revision] == "3"
    assert "REVISION" in await stage.kubectl("rollout", "history", "deployment/web")
    assert "ScalingReplicaSet" in await stage.kubectl("describe", "deployment", "web")
    await stage.kubectl("delete", "deployment", "web")
    await stage.until("the pods to go", PODS, lambda: not stage.owned("ReplicaSet", "web-"))
    assert not stage.workloads.cluster.all(REPLICA_SETS)


async def test_a_rolling_update_keeps_its_bounds_and_stops_at_a_broken_template(stage):
    stage.broken.add("bad")
    seen = []

    def watch(_old, _new):
        alive = [
            pod for pod in stage.owned("ReplicaSet", "web-") if not pod["metadata"].get("deletionTimestamp")
        ]
        ready = [
            pod
            for pod in alive
            if any(c["status"] == "True" for c in pod["status"].get("conditions", ()) if c["type"] == "Ready")
        ]
        seen.append((len(alive), len(ready)))

    await stage.kubectl("create", "deployment", "web", "--image=v1", "--replicas=4")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    stage.workloads.cluster.on_change(PODS, watch)
    del seen[:]
    await stage.kubectl("set", "image", "deployment/web", "*=v2")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    assert max(alive for alive, _ in seen) == 5
    assert min(ready for _, ready in seen) >= 3
    change = {"spec": {"progressDeadlineSeconds": 1, "template": template("web", "bad")}}
    await stage.client.patch(DEPLOYMENTS, "web", change, "default")
    message = await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s", status=1)
    assert "exceeded its progress deadline" in message
    assert min(ready for _, ready in seen) >= 3


async def test_cascade_orphan_background_and_foreground(stage):
    for name, cascade in (("one", "orphan"), ("two", "foreground")):
        await stage.kubectl("create", "deployment", name, "--image=v1", "--replicas=2")
        await stage.kubectl("rollout", "status", f"deployment/{name}", "--timeout=50s")
        await stage.kubectl("delete", "deployment", name, f"--cascade={cascade}", "--timeout=50s")
        left = [
            item
            for item in stage.workloads.cluster.all(REPLICA_SETS)
            if item["metadata"]["name"].startswith(name)
        ]
        if cascade == "orphan":
            assert len(stage.owned("ReplicaSet", "one-")) == 2
            assert not left[0]["metadata"].get("ownerReferences")
        else:
            # Foreground: the owner went last, and kubectl waited for it.
            await stage.until("the copy", PODS, lambda: not stage.owned("ReplicaSet", "two-"))
            assert not await stage.kubectl("get", "rs,pods", "-l", "app=two", "-o", "name")
    # A Deployment of the same name adopts what its selector matches.
    await stage.kubectl("create", "deployment", "one", "--image=v1", "--replicas=2")
    await stage.kubectl("rollout", "status", "deployment/one", "--timeout=50s")
    assert len(stage.owned("ReplicaSet", "one-")) == 2


async def test_what_a_deletion_orphaned_is_not_adopted_by_its_dead_owner(stage):
    """The controller's copy may still have the owner; what it adopted then would be collected as garbage."""
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template("web", "v1"), "replicas": 0}
    gone = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "gone"},
        "spec": spec,
    }
    orphan = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}},
        "spec": spec,
    }
    await stage.client.create(REPLICA_SETS, orphan)
    cluster = stage.workloads.cluster
    await stage.until("the copy", REPLICA_SETS, lambda: cluster.get(REPLICA_SETS, "default/web-1"))
    assert await cluster.claimed(REPLICA_SETS, gone) == []
    assert "ownerReferences" not in (await stage.client.get(REPLICA_SETS, "web-1", "default"))["metadata"]


async def test_drain_evicts_all_but_daemons_and_uncordon_brings_the_node_back(stage):
    await stage.client.create(DAEMON_SETS, daemon_set())
    await stage.kubectl("create", "deployment", "web", "--image=v1", "--replicas=4")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    await stage.kubectl("rollout", "status", "daemonset/agent", "--timeout=50s")
    told = await stage.kubectl("drain", "node1", "--ignore-daemonsets", "--timeout=50s")
    assert "evicting pod default/web-" in told
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    nodes = {pod["spec"]["nodeName"] for pod in stage.owned("ReplicaSet", "web-")}
    assert nodes == {"node2"}
    assert {pod["spec"]["nodeName"] for pod in stage.owned("DaemonSet", "agent")} == {"node1", "node2"}

    def tainted():
        node = stage.workloads.cluster.get(NODES, "node1")
        return [taint["key"] for taint in node["spec"].get("taints") or ()]

    await stage.until("the taint", NODES, lambda: tainted() == ["node.kubernetes.io/unschedulable"])
    assert "SchedulingDisabled" in await stage.kubectl("get", "nodes")
    await stage.kubectl("uncordon", "node1")
    await stage.until("no taint", NODES, lambda: not tainted())
    await stage.kubectl("scale", "deployment/web", "--replicas=8")
    await stage.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
    assert {pod["spec"]["nodeName"] for pod in stage.owned("ReplicaSet", "web-")} == {"node1", "node2"}


async def test_a_daemon_set_follows_nodes_and_template(stage):
    await stage.client.create(DAEMON_SETS, daemon_set())
    await stage.kubectl("rollout", "status", "daemonset/agent", "--timeout=50s")
    await stage.kubectl("set", "image", "daemonset/agent", "c=v2")
    await stage.kubectl("rollout", "status", "daemonset/agent", "--timeout=50s")
    assert images(stage.owned("DaemonSet", "agent")) == ["v2", "v2"]
    third = {"metadata": {"name": "node3"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await stage.client.create(NODES, third)
    await stage.until("a third daemon", PODS, lambda: len(stage.owned("DaemonSet", "agent")) == 3)
    taint = {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}
    await stage.client.patch(NODES, "node3", taint)
    await stage.until("it to go", PODS, lambda: len(stage.owned("DaemonSet", "agent")) == 2)


async def test_a_stateful_set_keeps_names_and_order(stage):
    stage.broken.add("slow")
    await stage.client.create(STATEFUL_SETS, stateful_set(replicas=2, template=template("db", "slow")))
    await stage.until(
        "the first",
        PODS,
        lambda: [p["metadata"]["name"] for p in stage.owned("StatefulSet", "db")] == ["db-0"],
    )
    await stage.client.delete(STATEFUL_SETS, "db", "default")
    await stage.until("it to go", PODS, lambda: not stage.owned("StatefulSet", "db"))
    await stage.client.create(STATEFUL_SETS, stateful_set(replicas=3))
    await stage.kubectl("rollout", "status", "statefulset/db", "--timeout=50s")
    pods = stage.owned("StatefulSet", "db")
    assert [pod["metadata"]["name"] for pod in pods] == ["db-0", "db-1", "db-2"]
    assert pods[2]["spec"]["hostname"] == "db-2"
    await stage.kubectl("set", "image", "statefulset/db", "c=v2")
    await stage.kubectl("rollout", "status", "statefulset/db", "--timeout=50s")
    assert images(stage.owned("StatefulSet", "db")) == ["v2"] * 3
    await stage.kubectl("scale", "statefulset/db", "--replicas=1")
    await stage.until("two to go", PODS, lambda: len(stage.owned("StatefulSet", "db")) == 1)
    assert stage.owned("StatefulSet", "db")[0]["metadata"]["name"] == "db-0"


async def test_jobs_complete_or_fail(stage):
    stage.ends |= {"good": "Succeeded", "bad": "Failed"}
    await stage.kubectl("create", "job", "once", "--image=good")
    await stage.kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=50s")
    assert (await stage.kubectl("get", "jobs")).splitlines()[1].split()[:3] == ["once", "Complete", "1/1"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "never", "namespace": "default"},
        "spec": {
            "backoffLimit": 1,
            "template": {"spec": template("x", "bad", restartPolicy="Never")["spec"]},
        },
    }
    await stage.client.create(JOBS, job)
    await stage.kubectl("wait", "--for=condition=Failed", "job/never", "--timeout=50s")
    assert len(stage.owned("Job", "never")) == 2
    change = '{"spec": {"ttlSecondsAfterFinished": 1}}'
    await stage.kubectl("patch", "job/never", "--type=merge", "-p", change)
    await stage.until("its end", JOBS, lambda: stage.workloads.cluster.get(JOBS, "default/never") is None)
    await stage.until("its pods", PODS, lambda: not stage.owned("Job", "never"))


async def test_wrong_workloads_are_refused_by_field(stage):
    wrong = stateful_set(selector={"matchLabels": {"app": "other"}}, replicas=-1)
    wrong["kind"] = "ReplicaSet"
    wrong["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    del wrong["spec"]["template"]["spec"]["containers"][0]["image"]
    path = stage.api.kubeconfig.with_name("wrong.json")
    path.write_text(json.dumps(wrong))
    told = await stage.kubectl("create", "--validate=false", "-f", str(path), status=1)
    for text in (
        "spec.replicas: Invalid value: -1",
        "`selector` does not match template `labels`",
        "spec.template.spec.containers[0].image: Required value",
        'spec.template.spec.restartPolicy: Invalid value: "Never"',
    ):
        assert text in told
