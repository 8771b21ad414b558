"""The service controller on the embedded API: slices and Endpoints come, follow and go."""

import asyncio
import contextlib

import pytest

from multinet.apiserver.server import ApiServer
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from multinet.waits import wait_for
from multinet.workloads.services import ServiceController


def pod(name, labels):
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": "node1"}
    return {"metadata": {"namespace": "default", "name": name, "labels": labels}, "spec": spec}


def service(name, **spec):
    spec.setdefault("ports", [{"port": 80}])
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


def addresses(store, name):
    found = [
        (item["addresses"][0], item["conditions"]["ready"])
        for each in store.values()
        if each["metadata"]["labels"].get("kubernetes.io/service-name") == name
        for item in each["endpoints"]
    ]
    return sorted(found)


@pytest.fixture
async def cluster(tmp_path, pki):
    """(client, slices informer) of an API server with a running service controller."""
    async with (
        ApiServer.start(workdir=tmp_path, pki_dir=pki) as server,
        Client(load_kubeconfig(server.kubeconfig)) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        ready = asyncio.Event()
        slices = Informer(client, ENDPOINT_SLICES)
        for work in (ServiceController(client).run(ready), slices.run()):
            task = asyncio.create_task(work)
            stack.push_async_callback(ended, task)
        await wait_for("the service controller", ready.wait(), 30)
        yield client, slices


async def ended(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_slices_follow_pods_and_go_with_the_service(cluster):
    client, slices = cluster

    async def until(name, expected):
        await slices.wait_until(name, lambda store: addresses(store, "web") == expected, 30)

    await client.create(SERVICES, service("web", selector={"app": "web"}))
    await client.create(PODS, pod("a", {"app": "web"}))
    status = {"podIPs": [{"ip": "10.32.0.1"}], "phase": "Running"}
    await client.patch(PODS, "a", {"status": status}, "default", subresource="status")
    await until("the address", [("10.32.0.1", False)])
    status["conditions"] = [{"type": "Ready", "status": "True"}]
    await client.patch(PODS, "a", {"status": status}, "default", subresource="status")
    await until("readiness", [("10.32.0.1", True)])
    held = await client.get(ENDPOINTS, "web", "default")
    assert [item["ip"] for item in held["subsets"][0]["addresses"]] == ["10.32.0.1"]
    await client.patch(PODS, "a", {"metadata": {"labels": {"app": "db"}}}, "default")
    await until("the pod to leave", [])
    await client.delete(SERVICES, "web", "default")
    await slices.wait_until(
        "the slices to go", lambda store: not any(key.startswith("default/web") for key in store), 5
    )


async def test_what_somebody_wrote_by_hand_stays(cluster):
    client, slices = cluster
    await client.create(SERVICES, service("db"))
    hand = {
        "metadata": {
            "namespace": "default",
            "name": "db-hand",
            "labels": {"kubernetes.io/service-name": "db"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
        "ports": [{"port": 5432}],
    }
    await client.create(ENDPOINT_SLICES, hand)
    subsets = [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}]
    await client.create(ENDPOINTS, {"metadata": {"namespace": "default", "name": "db"}, "subsets": subsets})
    both = [("192.0.2.1", True), ("192.0.2.2", True)]
    await slices.wait_until("both slices", lambda store: addresses(store, "db") == both, 30)
    await client.delete(ENDPOINTS, "db", "default")
    await slices.wait_until("the mirror to go", lambda store: addresses(store, "db") == both[:1], 30)
