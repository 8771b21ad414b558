"""The controller over HTTPS on the embedded Kubernetes API: what the fake might have got wrong."""

import asyncio

import pytest

from multinet.apiserver.server import ApiServer
from multinet.controller.controller import Controller
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import EVENTS, INSTANCE_IPS, NADS, PODS, VIRTUAL_MACHINES, VIRTUAL_NETWORKS
from multinet.model.attachments import VirtualMachine


@pytest.fixture
async def cluster(tmp_path):
    async with (
        ApiServer.start(workdir=tmp_path) as server,
        Client(load_kubeconfig(server.kubeconfig)) as client,
    ):
        recorder = EventRecorder(client, "multinet-controller")
        controller = Controller(client, recorder)
        task = asyncio.create_task(controller.run())
        await asyncio.wait_for(controller.view.synced(), 10)
        yield client, controller
        await recorder.flush()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
    await controller.view.networks.wait_until("the NAD's network gone", lambda s: len(s) == 1, 10)
    assert (await client.list(INSTANCE_IPS)).items == []
    assert (await client.list(VIRTUAL_MACHINES)).items == []
    assert len((await client.list(VIRTUAL_NETWORKS)).items) == 1


async def test_a_refused_pod_is_told_and_mended(cluster):
    client, controller = cluster
    await client.create(PODS, pod("p", "left"))
    vm = await machine(controller, "p", "False")
    assert vm.resolved.reason == "NADNotFound"
    await client.create(NADS, nad("left", "10.30.30.0/24"))
    await machine(controller, "p", "True")
    events = (await client.list(EVENTS)).items
    assert ("p", "NADNotFound") in {(e["involvedObject"]["name"], e["reason"]) for e in events}
