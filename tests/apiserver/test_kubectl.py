"""The real kubectl against the server: what a user types, and what comes back."""

from __future__ import annotations

import asyncio
import json

import pytest

from multinet import waits

pytestmark = pytest.mark.programs

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: right-network
  namespace: demo
  annotations: {opencontrail.org/cidr: 10.1.0.0/24}
spec: {config: '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: demo
  labels: {app: web}
  annotations: {k8s.v1.cni.cncf.io/networks: right-network}
spec:
  containers:
  - {name: main, image: "busybox:1.36", command: [sleep, inf], ports: [{containerPort: 80}]}
"""
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node1", "labels": {"node-role.kubernetes.io/worker": ""}},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "100.64.0.11"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {
            "kubeletVersion": "v1.37.0",
            "osImage": "lab",
            "kernelVersion": "6",
            "architecture": "amd64",
        },
    },
}


async def test_apply_get_describe_change_and_delete(kubectl):
    made = await kubectl.ok("apply", "-f", "-", stdin=MANIFEST)
    assert made.splitlines() == [
        "namespace/demo created",
        "networkattachmentdefinition.k8s.cni.cncf.io/right-network created",
        "pod/web created",
    ]
    again = await kubectl.ok("apply", "-f", "-", stdin=MANIFEST)
    assert all(line.endswith("unchanged") for line in again.splitlines())
    changed = await kubectl.ok("apply", "-f", "-", stdin=MANIFEST.replace("busybox:1.36", "busybox:1.37"))
    assert "pod/web configured" in changed
    table = await kubectl.ok("get", "pods", "-A", "-l", "app=web", "-o", "wide")
    header, row = table.splitlines()
    assert header.split()[:7] == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
    assert row.split()[:5] == ["demo", "web", "0/1", "Pending", "0"]
    described = await kubectl.ok("describe", "pod", "web", "-n", "demo")
    assert "k8s.v1.cni.cncf.io/networks: right-network" in described
    assert "Image:      busybox:1.37" in described
    described = await kubectl.ok("describe", "net-attach-def", "right-network", "-n", "demo")
    assert "contrail-k8s-cni" in described
    await kubectl.ok("annotate", "pod", "web", "-n", "demo", "note=x")
    await kubectl.ok("label", "pod", "web", "-n", "demo", "tier=front")
    pod = json.loads(await kubectl.ok("get", "pod", "web", "-n", "demo", "-o", "json"))
    assert pod["metadata"]["annotations"]["note"] == "x"
    assert pod["metadata"]["labels"]["tier"] == "front"
    assert "kind: Pod" in await kubectl.ok("get", "pod", "web", "-n", "demo", "-o", "yaml")
    await kubectl.ok("delete", "-f", "-", stdin=MANIFEST)
    assert "demo" not in await kubectl.ok("get", "namespaces")


async def test_typed_creates_come_as_protobuf(kubectl):
    assert await kubectl.ok("create", "namespace", "foo") == "namespace/foo created\n"
    await kubectl.ok("create", "configmap", "m", "-n", "foo", "--from-literal=a=b")
    await kubectl.ok("create", "secret", "generic", "s", "-n", "foo", "--from-literal=a=b")
    await kubectl.ok("create", "service", "clusterip", "v", "-n", "foo", "--tcp=80:http")
    assert await kubectl.ok("get", "cm", "m", "-n", "foo", "-o", "jsonpath={.data.a}") == "b"
    assert await kubectl.ok("get", "secret", "s", "-n", "foo", "-o", "jsonpath={.data.a}") == "Yg=="
    assert (
        await kubectl.ok("get", "svc", "v", "-n", "foo", "-o", "jsonpath={.spec.ports[0].targetPort}")
        == "http"
    )
    assert await kubectl.ok("auth", "can-i", "create", "pods") == "yes\n"


async def test_discovery(kubectl):
    resources = await kubectl.ok("api-resources")
    assert "net-attach-def" in resources
    assert "k8s.cni.cncf.io/v1" in await kubectl.ok("api-versions")
    assert "config\t<string>" in await kubectl.ok("explain", "net-attach-def.spec")
    assert "Server Version: v1.37" in await kubectl.ok("version")
    assert (
        await kubectl.fails("get", "unicorns")
        == 'error: the server doesn\'t have a resource type "unicorns"\n'
    )


async def test_errors_name_the_field(kubectl):
    error = await kubectl.fails("apply", "-f", "-", stdin=MANIFEST.replace("command:", "comand:"))
    assert 'unknown field "spec.containers[0].comand"' in error
    bad = MANIFEST.replace('\'{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}\'', "5")
    error = await kubectl.fails("apply", "-f", "-", stdin=bad)
    assert 'spec.config: Invalid value: "integer": spec.config in body must be of type string' in error
    wrong_type = MANIFEST.replace("containers:\n", "hostNetwork: 5\n  containers:\n").replace("web", "web2")
    error = await kubectl.fails("apply", "-f", "-", stdin=wrong_type)
    assert "cannot unmarshal 5 into spec.hostNetwork: expected boolean" in error


async def test_a_kind_that_is_not_served_is_named(kubectl):
    manifest = "{apiVersion: batch/v1, kind: CronJob, metadata: {name: later}, spec: {}}"
    for verb in ("apply", "create"):
        error = await kubectl.fails(verb, "-f", "-", stdin=manifest)
        assert 'no matches for kind "CronJob" in version "batch/v1"' in error


async def test_nodes_and_events(api, kubectl):
    await api.post("/api/v1/nodes", NODE)
    assert (await kubectl.ok("get", "nodes")).splitlines()[1].split()[:3] == ["node1", "Ready", "worker"]
    assert "100.64.0.11" in await kubectl.ok("get", "nodes", "-o", "wide")
    event = {
        "metadata": {"name": "e1", "namespace": "default"},
        "involvedObject": {"kind": "Node", "name": "node1", "namespace": "", "uid": "node1"},
        "reason": "Starting",
        "message": "the node starts",
        "type": "Normal",
        "count": 1,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    await api.post("/api/v1/namespaces/default/events", event)
    assert "node/node1" in await kubectl.ok("get", "events")
    described = await kubectl.ok("describe", "node", "node1")
    assert "KubeletReady" in described
    assert "the node starts" in described


async def test_watch_and_wait(api, kubectl):
    await kubectl.ok("apply", "-f", "-", stdin=MANIFEST)
    watching = await kubectl.start("get", "pods", "-n", "demo", "-w", "--no-headers")
    first = await waits.wait_for("the first row", watching.stdout.readline(), 10)
    assert first.split()[:3] == [b"web", b"0/1", b"Pending"]
    conditions = [{"type": "Ready", "status": "True"}]
    containers = [{"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}}]
    waiting = asyncio.create_task(
        kubectl.ok("wait", "--for=condition=Ready", "pod/web", "-n", "demo", "--timeout=50s")
    )
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": containers}
    await api.merge("/api/v1/namespaces/demo/pods/web/status", {"status": status})
    second = await waits.wait_for("the second row", watching.stdout.readline(), 10)
    assert second.split()[:3] == [b"web", b"1/1", b"Running"]
    assert await waiting == "pod/web condition met\n"
    watching.terminate()
    await watching.communicate()
    waiting = asyncio.create_task(
        kubectl.ok("wait", "--for=delete", "pod/web", "-n", "demo", "--timeout=50s")
    )
    await kubectl.ok("delete", "pod", "web", "-n", "demo")
    await waiting
