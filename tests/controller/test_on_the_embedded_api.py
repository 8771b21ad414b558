"""The controller over HTTPS on the embedded Kubernetes API: what the fake might have got wrong."""

import asyncio
import json

import pytest

from multinet.apiserver.server import ApiServer
from multinet.controller.controller import Controller
from multinet.controller.lease import Lease
from multinet.controller.settings import Settings
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import (
    BUNDLES,
    EVENTS,
    INSTANCE_IPS,
    LEASES,
    NADS,
    PODS,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model.attachments import VirtualMachine
from multinet.model.dialect import CONTRAIL_CLASSIC
from multinet.model.objects import annotations_of, metadata_of
from multinet.waits import pause


@pytest.fixture
async def server(tmp_path, pki):
    async with ApiServer.start(workdir=tmp_path, pki_dir=pki) as started:
        yield started


@pytest.fixture
async def make_cluster(server):
    """Starts a controller with settings on an embedded API."""
    async with Client(load_kubeconfig(server.kubeconfig)) as client:
        recorder = EventRecorder(client, "multinet-controller")
        tasks = []

        async def start(**settings):
            controller = Controller(client, recorder, settings=Settings(**settings))
            tasks.append(asyncio.create_task(controller.run()))
            await asyncio.wait_for(controller.view.synced(), 10)
            return client, controller

        yield start
        await recorder.flush()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def cluster(make_cluster):
    return await make_cluster()


def pod(name, networks):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"k8s.v1.cni.cncf.io/networks": networks},
        },
        "spec": {"nodeName": "node1", "containers": [{"name": "c", "image": "none"}]},
    }


def nad(name, cidr):
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"opencontrail.org/cidr": cidr},
        },
        "spec": {"config": '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'},
    }


async def machine(controller, name, status):
    def judged(store):
        for found in store.values():
            vm = VirtualMachine.from_object(found)
            if vm.pod.name == name and vm.resolved is not None and vm.resolved.status == status:
                return vm
        return None

    return await controller.view.machines.wait_until(f"{name} judged", judged, 10)


async def test_a_pod_comes_and_goes(cluster):
    client, controller = cluster
    await client.create(NADS, nad("left", "10.30.30.0/24"))
    await client.create(PODS, pod("p", "left,left"))
    vm = await machine(controller, "p", "True")
    assert len(vm.interfaces) == 3
    owned = {iip["spec"]["address"] for iip in (await client.list(INSTANCE_IPS)).items}
    assert owned == {"10.47.255.252", "10.30.30.252", "10.30.30.251"}
    await client.delete(NADS, "left", "default")
    await client.delete(PODS, "p", "default", grace_seconds=0)
    await controller.view.networks.wait_until("the NAD's network gone", lambda s: len(s) == 1, 30)
    assert (await client.list(INSTANCE_IPS)).items == []
    assert (await client.list(VIRTUAL_MACHINES)).items == []
    assert len((await client.list(VIRTUAL_NETWORKS)).items) == 1


async def test_an_api_without_bundles_gets_one_object_at_a_time(server, make_cluster):
    server.operations.types.discard(BUNDLES.group, BUNDLES.plural)
    client, controller = await make_cluster()
    await client.create(PODS, pod("p", ""))
    vm = await machine(controller, "p", "True")
    found = await client.get(VIRTUAL_MACHINES, vm.name, vm.namespace)
    assert found["status"]["conditions"][0]["reason"] == "Attached"
    assert len((await client.list(INSTANCE_IPS)).items) == 1
    assert not await client.create_together([])


async def test_a_refused_pod_is_told_and_mended(cluster):
    client, controller = cluster
    await client.create(PODS, pod("p", "left"))
    vm = await machine(controller, "p", "False")
    assert vm.resolved.reason == "NADNotFound"
    await client.create(NADS, nad("left", "10.30.30.0/24"))
    await machine(controller, "p", "True")
    events = (await client.list(EVENTS)).items
    assert ("p", "NADNotFound") in {(e["involvedObject"]["name"], e["reason"]) for e in events}


async def test_a_protected_nad_waits_for_its_pod(make_cluster):
    client, controller = await make_cluster(protect_networks=True)
    await client.create(NADS, nad("left", "10.30.30.0/24, 2001:db8::/64"))
    await client.create(PODS, pod("p", "left"))
    await machine(controller, "p", "True")
    held = await controller.view.nads.wait_until(
        "the finalizer", lambda s: metadata_of(s.get("default/left", {})).get("finalizers"), 10
    )
    assert held == ["multinet.opencontrail.org/in-use"]
    await client.delete(NADS, "left", "default")
    assert (await client.get(NADS, "left", "default"))["metadata"]["deletionTimestamp"]
    await client.delete(PODS, "p", "default", grace_seconds=0)
    await controller.view.nads.wait_until("the NAD gone", lambda s: "default/left" not in s, 10)
    await controller.view.networks.wait_until("its network gone", lambda s: len(s) == 1, 30)


async def test_a_bad_nad_carries_its_condition(make_cluster):
    client, controller = await make_cluster()
    await client.create(NADS, nad("left", "10.30.30.0/33"))
    key = "multinet.opencontrail.org/condition"
    text = await controller.view.nads.wait_until(
        "the condition", lambda s: annotations_of(s.get("default/left", {})).get(key), 30
    )
    assert json.loads(text)["reason"] == "CIDRInvalid"


async def test_the_lease_passes_from_one_to_the_other(make_cluster):
    client, _ = await make_cluster()
    first, second = Lease(client, "first"), Lease(client, "second", retry_s=0.01)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await pause("the standby to look at the lease", 0.05)
    assert not waiting.done()
    await first.release()
    await asyncio.wait_for(waiting, 30)
    spec = (await client.get(LEASES, "multinet-controller", "kube-system"))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 2)


async def test_classic_writes_the_status_of_a_pod(make_cluster):
    client, controller = await make_cluster(dialect=CONTRAIL_CLASSIC)
    await client.create(PODS, pod("p", "missing"))
    key = "k8s.v1.cni.cncf.io/network-status"
    text = await controller.view.pods.wait_until(
        "the status", lambda s: annotations_of(s.get("default/p", {})).get(key), 30
    )
    assert [entry["name"] for entry in json.loads(text)] == ["cluster-wide-default"]
