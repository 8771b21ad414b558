"""The client of the original, unmodified, against this config API: virtual networks."""

from __future__ import annotations

from typing import Any

import pytest

from multinet.kube.resources import NAMESPACES, VIRTUAL_NETWORKS

pytestmark = pytest.mark.programs


async def test_the_unmodified_client_manages_virtual_networks(cluster: Any) -> None:
    seen = await cluster.script("networks")

    namespace = await cluster.kube.get(NAMESPACES, "default")
    assert seen["project"] == [namespace["metadata"]["uid"], "domain"]
    assert "already exists" in seen["again"]
    assert seen["read"] == {
        "fq_name": ["default-domain", "k8s-default", "blue"],
        "parent": namespace["metadata"]["uid"],
        "gateway": "10.9.1.254",
        "dns": "10.9.1.253",
        "mode": "l2_l3",
        "by_name": seen["uuid"],
    }
    assert seen["name"] == seen["uuid"]
    assert seen["id"] == [["default-domain", "k8s-default", "blue"], "virtual-network"]
    assert seen["unknown"]
    assert "blue" in seen["lists"]["plain"]
    assert "k8s-default-pod-network" in seen["lists"]["plain"]
    assert seen["lists"]["parent"] == seen["lists"]["parent_name"]
    assert seen["uuid"] in seen["lists"]["parent"]
    assert seen["lists"]["detail"] == ["blue"]
    assert seen["lists"]["count"] == 2
    assert seen["lists"]["bulk"] == 1
    assert seen["lists"]["fields"][0]["fabric_snat"] is False
    assert seen["lists"]["none"] == []
    assert "blue" in seen["children"]
    assert seen["updated"] == ["Blau", True, "red"]
    assert seen["annotations_left"] == 0
    assert seen["blocks"] == ["10.9.1.0", "10.9.2.0"]
    assert len(set(seen["subnet_uuids"])) == 2
    assert "Cannot Delete IP Block, IP(10.9.2.7) is in use" in seen["block_in_use"]
    assert "instance-ip held" in seen["in_use"]
    assert seen["alloc"] == ["10.9.1.252", "10.9.1.251"]
    assert seen["ip_count"] == {"ip_count_list": [2]}
    assert seen["ip_count_after"] == {"ip_count_list": [0]}
    assert "allocation_pools" in seen["unsupported"]
    assert "namespace default" in seen["fixed"]
    assert seen["kv"] == ["value", [{"key": "key", "value": "value"}]]
    assert seen["kv_gone"]
    assert seen["deleted"]
    assert seen["chosen"] == "11111111-2222-3333-4444-555555555555"

    left = await cluster.kube.list(VIRTUAL_NETWORKS)
    assert sorted(vn["spec"]["fqName"][2] for vn in left.items) == ["chosen", "k8s-default-pod-network"]
