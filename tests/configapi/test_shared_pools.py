"""Networks that share a pool: an address is one owner's, whoever takes it (isolated namespaces, D7)."""

from __future__ import annotations

from typing import Any

from multinet.kube.resources import INSTANCE_IPS, NAMESPACES, VIRTUAL_NETWORKS
from multinet.waits import pause

DEFAULT = "default-domain.k8s-default.k8s-default-pod-network"
ISOLATED = "default-domain.k8s-iso.k8s-iso-pod-network"


async def network_uuid(cluster: Any, *fq_name: str) -> str:
    body = {"type": "virtual-network", "fq_name": list(fq_name)}
    for _ in range(100):
        status, found = await cluster.call("POST", "/fqname-to-id", body)
        if status == 200:
            return str(found["uuid"])
        await pause("the network of the isolated namespace to be made", 0.05)
    raise AssertionError(found)


async def both_networks(cluster: Any) -> tuple[str, str]:
    marked = {"name": "iso", "annotations": {"opencontrail.org/isolation": "true"}}
    await cluster.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": marked})
    isolated = await network_uuid(cluster, "default-domain", "k8s-iso", "k8s-iso-pod-network")
    return isolated, await network_uuid(cluster, "default-domain", "k8s-default", "k8s-default-pod-network")


async def address_in(cluster: Any, network: str, **asked: str) -> tuple[int, Any]:
    body = {"fq_name": [f"of-{network}-{len(asked)}"], "virtual_network_refs": [{"uuid": network}]} | asked
    status, made = await cluster.call("POST", "/instance-ips", {"instance-ip": body})
    if status != 200:
        return status, made
    _, read = await cluster.call("GET", f"/instance-ip/{made['instance-ip']['uuid']}")
    return status, read["instance-ip"]["instance_ip_address"]


async def test_D7_an_address_of_a_shared_pool_has_one_owner(cluster: Any) -> None:
    isolated, default = await both_networks(cluster)
    assert await address_in(cluster, isolated) == (200, "10.47.255.252")
    assert await address_in(cluster, default) == (200, "10.47.255.251")
    status, text = await address_in(cluster, isolated, instance_ip_address="10.47.255.251")
    assert (status, "already in use" in text) == (409, True)
    iips = {iip["metadata"]["name"]: iip for iip in (await cluster.kube.list(INSTANCE_IPS)).items}
    assert set(iips) == {f"{DEFAULT}.10.47.255.252", f"{DEFAULT}.10.47.255.251"}
    first = iips[f"{DEFAULT}.10.47.255.252"]
    assert first["spec"]["network"] == ISOLATED
    assert first["metadata"]["annotations"]["multinet.opencontrail.org/pool"] == DEFAULT
    pool = (await cluster.kube.get(VIRTUAL_NETWORKS, ISOLATED))["metadata"]["annotations"]
    assert pool["multinet.opencontrail.org/pool"] == DEFAULT


async def test_D7_reserved_addresses_of_a_shared_pool_are_given_back(cluster: Any) -> None:
    isolated, default = await both_networks(cluster)
    path = f"/virtual-network/{isolated}"
    assert await cluster.call("POST", f"{path}/ip-alloc", {"count": 1}) == (
        200,
        {"ip_addr": ["10.47.255.252"]},
    )
    _, given = await cluster.call("POST", f"/virtual-network/{default}/ip-alloc", {"count": 1})
    assert given == {"ip_addr": ["10.47.255.251"]}
    status, text = await cluster.call("POST", f"{path}/ip-free", {"ip_addr": ["10.47.255.251"]})
    assert (status, "not reserved" in text) == (400, True)
    assert (await cluster.call("POST", f"{path}/ip-free", {"ip_addr": ["10.47.255.252"]}))[0] == 200
    left = [iip["spec"]["address"] for iip in (await cluster.kube.list(INSTANCE_IPS)).items]
    assert left == ["10.47.255.251"]
