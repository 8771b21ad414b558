"""A workload without Kubernetes, made with the original's client; what it leaves for a node agent."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest

from multinet.kube.resources import (
    CONFIGMAPS,
    INSTANCE_IPS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model.attachments import Interface

pytestmark = pytest.mark.programs


async def test_a_workload_in_two_networks(cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await cluster.node("node1", "127.0.0.11")
    seen = await cluster.script("workload", "keep")

    assert seen["router"] == "127.0.0.11"
    assert seen["rules"] == 4
    assert seen["macs"] == ["02:" + uuid.UUID(text).bytes[:5].hex(":") for text in seen["uuids"]]
    assert seen["addresses"] == ["10.7.1.252", "10.7.2.252"]
    assert seen["bindings"][0] == {"host_id": "node1", "vif_name": "net1", "netns": "/run/netns/plain"}
    assert seen["back_refs"] == [["address-1"], ["address-2"]]
    assert seen["of_network"] == seen["uuids"][:1]
    assert seen["of_machine"] == ["port-1", "port-2"]
    assert "already in use" in seen["taken"]
    assert "not in the network" in seen["outside"]
    for what, named in {
        "network": "port-1",
        "machine": "port-2",
        "interface": "address-1",
        "project": "red",
        "ipam": "lab:green",
    }.items():
        assert named in seen["refused"][what], what

    vmis = (await cluster.kube.list(VIRTUAL_MACHINE_INTERFACES)).items
    vns = {vn["metadata"]["name"]: vn for vn in (await cluster.kube.list(VIRTUAL_NETWORKS)).items}
    for number, vmi in enumerate(sorted(vmis, key=lambda vmi: vmi["spec"]["interface"]), start=1):
        interface = Interface.from_object(vmi)
        assert interface.pod.name == ""
        assert interface.node == vmi["metadata"]["labels"]["multinet.opencontrail.org/node"] == "node1"
        assert vmi["metadata"]["annotations"]["multinet.opencontrail.org/netns"] == "/run/netns/plain"
        assert interface.index == number
        assert interface.interface == f"net{number}"
        assert interface.vni == vns[interface.network]["spec"]["vni"] > 0
        assert [address.cidr for address in interface.addresses] == [f"10.7.{number}.252/24"]
        assert interface.addresses[0].gateway == f"10.7.{number}.254"
        assert interface.default_route == ()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_everything_goes_again(cluster: Any) -> None:
    await cluster.node("node1", "127.0.0.11")
    seen = await cluster.script("workload")
    assert seen["gone"]
    for resource in (VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS):
        assert (await cluster.kube.list(resource)).items == []
    kept = await cluster.kube.list(CONFIGMAPS, label_selector="multinet.opencontrail.org/config-object")
    assert kept.items == []


async def test_addresses_of_pods_and_workloads_never_meet(cluster: Any) -> None:
    await cluster.node("node1", "127.0.0.11")
    await cluster.script("workload", "keep")
    await cluster.nad_mapped_to("red", "default-domain", "lab", "red")
    await cluster.pod("web", "red")
    view = cluster.config.service.view

    def attached(store: Any) -> Any:
        found = [vmi for vmi in store.values() if vmi["spec"]["pod"].get("name") == "web"]
        return found if len(found) == 2 else None

    informer = view.informers[VIRTUAL_MACHINE_INTERFACES]
    vmis = await informer.wait_until("the pod's interfaces", attached, 10)
    addresses = {vmi["spec"]["interface"]: vmi["spec"]["addresses"][0]["address"] for vmi in vmis}
    assert addresses["eth1"] == "10.7.1.251"
    assert vmis[0]["spec"]["pod"]["namespace"] == "default"
