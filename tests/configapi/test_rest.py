"""The config API's own rules: who may ask, what is refused and how, what the Kubernetes API then holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from multinet.configapi.kinds import KINDS, Kind
from multinet.configapi.server import ConfigApi
from multinet.kube.resources import VIRTUAL_MACHINE_INTERFACES, VIRTUAL_NETWORKS
from multinet.model import conditions

IPAM = ["default-domain", "default-project", "default-network-ipam"]


def network(name: str, *cidrs: str, **more: Any) -> dict[str, Any]:
    blocks = []
    for cidr in cidrs:
        prefix, _, length = cidr.partition("/")
        blocks.append({"subnet": {"ip_prefix": prefix, "ip_prefix_len": int(length)}})
    refs = [{"to": IPAM, "attr": {"ipam_subnets": blocks}}]
    body = {"fq_name": ["default-domain", "default-project", name], "parent_type": "project"}
    return {"virtual-network": body | ({"network_ipam_refs": refs} if cidrs else {}) | more}


async def make(cluster: Any, *args: Any, **more: Any) -> str:
    status, body = await cluster.call("POST", "/virtual-networks", network(*args, **more))
    assert status == 200, body
    return str(body["virtual-network"]["uuid"])


async def test_anonymous_and_wrong_tokens_are_refused(cluster: Any) -> None:
    for headers in (
        {"X_Auth_Token": ""},
        {"X_Auth_Token": "wrong"},
        {"X_Auth_Token": "", "Authorization": "Bearer wrong"},
        {"X_Auth_Token": "", "Authorization": "Basic d3Jvbmc="},
    ):
        for method, path in (("GET", "/"), ("GET", "/virtual-networks"), ("POST", "/virtual-networks")):
            body = {} if method == "POST" else None
            answered, text = await cluster.call(method, path, body, **headers)
            assert answered == 401, (headers, method, path)
            assert "token" in text
    assert len((await cluster.kube.list(VIRTUAL_NETWORKS)).items) == 1


async def test_a_bearer_token_is_as_good(cluster: Any) -> None:
    bearer = f"Bearer {cluster.token}"
    status, body = await cluster.call("GET", "/", X_Auth_Token="", Authorization=bearer)
    assert status == 200
    names = {(link["link"]["rel"], link["link"]["name"]) for link in body["links"]}
    assert {("collection", "virtual-network"), ("resource-base", "virtual-network")} <= names
    assert ("action", "name-to-id") in names


async def test_a_client_that_logs_in_gets_the_token_it_showed(cluster: Any) -> None:
    body = {
        "auth": {"identity": {"methods": ["password"], "password": {"user": {"password": cluster.token}}}}
    }
    url = f"{cluster.config.url}/v3/auth/tokens"
    async with cluster.session.post(url, json=body) as answer:
        assert answer.status == 201
        assert answer.headers["X-Subject-Token"] == cluster.token
    body["auth"]["identity"]["password"]["user"]["password"] = "wrong"
    async with cluster.session.post(url, json=body) as answer:
        assert answer.status == 401


REFUSED: list[tuple[Any, int, str]] = [
    (network("n", "10.1.1.0/31"), 400, "10.1.1.0/31"),
    (network("n", "10.1.1.0/40"), 400, "10.1.1.0/40"),
    (
        network("n", "10.1.1.0/24", network_policy_refs=[{"to": ["a", "b", "c"]}]),
        400,
        "network_policy_refs",
    ),
    (
        network("n", "10.1.1.0/24", route_target_list={"route_target": ["t:1:1"]}),
        400,
        "route_target_list",
    ),
    (network("n", "10.1.1.0/24", flood_unknown_unicast=True), 400, "flood_unknown_unicast"),
    (network("n", "10.1.1.0/24", virtual_network_properties={"rpf": "disable"}), 400, "rpf"),
    (network("n", "10.1.1.0/24", "10.1.1.128/25"), 409, "Overlapping"),
    (network("n", uuid="no uuid"), 400, "UUID"),
    (network("a:b"), 400, "colon"),
    (network("n", parent_type="domain"), 400, "parent"),
    ({"virtual-network": {"fq_name": ["default-domain", "nowhere", "n"]}}, 404, "nowhere"),
    ({"virtual-network": {"fq_name": "n"}}, 400, "fq_name"),
    ({"wrong": {}}, 400, "virtual-network"),
    ([], 400, "JSON object"),
]


async def test_what_can_not_be_is_refused_in_words(cluster: Any) -> None:
    for body, status, text in REFUSED:
        answered, said = await cluster.call("POST", "/virtual-networks", body)
        assert answered == status, (body, said)
        assert text in said, (body, said)
    assert len((await cluster.kube.list(VIRTUAL_NETWORKS)).items) == 1


async def test_a_gateway_outside_of_its_block_is_409_as_the_original_has_it(cluster: Any) -> None:
    body = network("n", "10.1.1.0/24")
    block = body["virtual-network"]["network_ipam_refs"][0]["attr"]["ipam_subnets"][0]
    block["default_gateway"] = "10.1.2.1"
    status, text = await cluster.call("POST", "/virtual-networks", body)
    assert (status, "10.1.2.1" in text) == (409, True)


async def test_default_values_of_the_original_are_no_request(cluster: Any) -> None:
    uuid = await make(
        cluster,
        "n",
        "10.1.1.0/24",
        flood_unknown_unicast=False,
        router_external=False,
        virtual_network_category=None,
        route_target_list={"route_target": []},
        address_allocation_mode="user-defined-subnet-only",
    )
    assert uuid, "taken, not refused with 400"


async def test_the_controller_completes_a_network_made_here(cluster: Any) -> None:
    uuid = await make(cluster, "n", "10.1.1.0/24")
    view = cluster.config.service.view

    def ready(store: Any) -> Any:
        found = [vn for vn in store.values() if vn["spec"]["fqName"][2] == "n"]
        return found[0] if found and conditions.find(found[0], conditions.READY) else None

    vn = await view.informers[VIRTUAL_NETWORKS].wait_until("ready", ready, 30)
    assert vn["metadata"]["uid"] == uuid
    assert vn["metadata"]["labels"]["multinet.opencontrail.org/origin"] == "config-api"
    _, body = await cluster.call("GET", f"/virtual-network/{uuid}")
    assert body["virtual-network"]["virtual_network_network_id"] == vn["spec"]["vni"]


async def test_a_pods_objects_are_shown_and_not_to_be_changed_here(cluster: Any) -> None:
    await cluster.node("node1", "127.0.0.11")
    uuid = await make(cluster, "n", "10.1.1.0/24")
    await cluster.nad_mapped_to("n", "default-domain", "default-project", "n")
    await cluster.pod("web", "n")

    def two(store: Any) -> Any:
        return len(store) == 2 or None

    view = cluster.config.service.view
    await view.informers[VIRTUAL_MACHINE_INTERFACES].wait_until("interfaces", two, 30)
    path = f"/virtual-machine-interfaces?back_ref_id={uuid}&detail=True&fields=instance_ip_back_refs"
    _, listed = await cluster.call("GET", path)
    (vmi,) = [item["virtual-machine-interface"] for item in listed["virtual-machine-interfaces"]]
    pairs = {pair["key"]: pair["value"] for pair in vmi["annotations"]["key_value_pair"]}
    assert (pairs["index"], pairs["network"], pairs["name"]) == ("1/2", "default/n", "web")
    assert vmi["fq_name"][:2] == ["default-domain", "k8s-default"]
    assert vmi["instance_ip_back_refs"]
    assert vmi["security_group_refs"][0]["to"][-1] == "k8s-default-default-sg"
    status, text = await cluster.call("DELETE", f"/virtual-machine-interface/{vmi['uuid']}")
    assert (status, "pod default/web" in text) == (403, True)
    status, text = await cluster.call("DELETE", f"/virtual-network/{uuid}")
    assert (status, "web__" in text) == (409, True)


async def test_two_at_once_never_get_one_address(cluster: Any) -> None:
    uuid = await make(cluster, "n", "10.1.1.0/27")

    async def one(number: int) -> tuple[int, Any]:
        body = {"fq_name": [f"address-{number}"], "virtual_network_refs": [{"uuid": uuid}]}
        return await cluster.call("POST", "/instance-ips", {"instance-ip": body})  # type: ignore[no-any-return]

    # 32 addresses without network, broadcast, gateway and DNS are 28.
    answers = await asyncio.gather(*(one(number) for number in range(30)))
    assert sorted(status for status, _ in answers) == [200] * 28 + [409] * 2
    assert all("exhausted" in text for status, text in answers if status == 409)
    _, listed = await cluster.call("GET", "/instance-ips?fields=instance_ip_address")
    assert len({found["instance_ip_address"] for found in listed["instance-ips"]}) == 28


async def test_unknown_paths_types_and_ids_say_so(cluster: Any) -> None:
    assert (await cluster.call("GET", "/floating-ips"))[0] == 404
    assert (await cluster.call("GET", "/virtual-network/none"))[0] == 404
    assert (await cluster.call("PUT", "/virtual-networks"))[0] == 405
    status, text = await cluster.call("POST", "/fqname-to-id", {"type": "floating-ip", "fq_name": ["x"]})
    assert (status, "floating-ip" in text) == (400, True)
    status, _ = await cluster.call("POST", "/fqname-to-id", {"type": "project", "fq_name": ["x", "y"]})
    assert status == 404


async def test_ref_relax_lets_a_network_go_before_its_address(cluster: Any) -> None:
    uuid = await make(cluster, "n", "10.1.1.0/24")
    body = {"fq_name": ["held"], "virtual_network_refs": [{"uuid": uuid}]}
    _, made = await cluster.call("POST", "/instance-ips", {"instance-ip": body})
    assert (await cluster.call("DELETE", f"/virtual-network/{uuid}"))[0] == 409
    relaxed = {"uuid": made["instance-ip"]["uuid"], "ref-uuid": uuid}
    assert (await cluster.call("POST", "/ref-relax-for-delete", relaxed))[0] == 200
    assert (await cluster.call("DELETE", f"/virtual-network/{uuid}"))[0] == 200


async def test_a_network_applied_by_hand_is_shown_like_any_other(cluster: Any) -> None:
    """Its project is implied by its name, its IPAM is the default one."""
    spec = {"fqName": ["other", "some-project", "by-hand"], "subnets": [{"cidr": "10.5.0.0/24"}]}
    metadata = {"name": "by-hand"}
    vn = {"apiVersion": VIRTUAL_NETWORKS.api_version, "kind": "VirtualNetwork", "metadata": metadata}
    made = await cluster.kube.create(VIRTUAL_NETWORKS, {**vn, "spec": spec})
    await cluster.config.service.view.settle(VIRTUAL_NETWORKS, made)
    path = "/virtual-networks?parent_fq_name_str=other:some-project&detail=true"
    _, listed = await cluster.call("GET", path)
    (shown,) = [item["virtual-network"] for item in listed["virtual-networks"]]
    assert shown["uuid"] == made["metadata"]["uid"]
    assert shown["network_ipam_refs"][0]["to"] == IPAM
    _, project = await cluster.call("GET", f"/project/{shown['parent_uuid']}")
    assert project["project"]["fq_name"] == ["other", "some-project"]
    assert (await cluster.call("DELETE", f"/project/{shown['parent_uuid']}"))[0] == 403
    assert (await cluster.call("DELETE", f"/virtual-network/{shown['uuid']}"))[0] == 200


@pytest.mark.programs
async def test_another_config_api_shows_the_same(cluster: Any) -> None:
    """It has no state of its own: a second one on the same cluster gives the same answers."""
    await cluster.node("node1", "127.0.0.11")
    await cluster.script("workload", "keep")
    async with ConfigApi.start(cluster.kube.access) as second:
        for kind in KINDS.values():
            path = f"/{kind.plural}?detail=true&exclude_hrefs=true"
            _, first_answer = await cluster.call("GET", path)
            headers = {"X-Auth-Token": cluster.token}
            async with cluster.session.get(second.url + path, headers=headers) as answer:
                assert _by_uuid(await answer.json(), kind) == _by_uuid(first_answer, kind), kind.name


def _by_uuid(listed: dict[str, Any], kind: Kind) -> dict[str, Any]:
    return {item[kind.name]["uuid"]: item[kind.name] for item in listed[kind.plural]}


async def test_a_network_with_both_families_gives_the_one_asked_for(cluster: Any) -> None:
    uuid = await make(cluster, "n", "fd00:1::/64", "10.1.1.0/24")
    for asked, given in (("", "10.1.1.252"), ("v6", "fd00:1::ffff:ffff:ffff:fffc")):
        body = {"fq_name": [f"address{asked}"], "virtual_network_refs": [{"uuid": uuid}]}
        _, made = await cluster.call(
            "POST", "/instance-ips", {"instance-ip": body | {"instance_ip_family": asked or None}}
        )
        _, read = await cluster.call("GET", f"/instance-ip/{made['instance-ip']['uuid']}")
        assert read["instance-ip"]["instance_ip_address"] == given


async def test_what_many_add_at_once_is_all_there(cluster: Any) -> None:
    uuid = await make(cluster, "n")
    ipam = {"parent_type": "project"}
    names = [["default-domain", "default-project", f"ipam-{number}"] for number in range(4)]
    for name in names:
        await cluster.call("POST", "/network-ipams", {"network-ipam": ipam | {"fq_name": name}})

    async def add(number: int) -> list[int]:
        block = {"subnet": {"ip_prefix": f"10.1.{number}.0", "ip_prefix_len": 24}}
        body = {"type": "virtual-network", "uuid": uuid, "operation": "ADD", "ref-type": "network-ipam"}
        body |= {"ref-fq-name": names[number], "attr": {"ipam_subnets": [block]}}
        referred, _ = await cluster.call("POST", "/ref-update", body)
        pair = {"field": "annotations", "operation": "set", "value": {"key": str(number), "value": "x"}}
        noted, _ = await cluster.call("POST", "/prop-collection-update", {"uuid": uuid, "updates": [pair]})
        return [referred, noted]

    assert await asyncio.gather(*map(add, range(4))) == [[200, 200]] * 4
    _, body = await cluster.call("GET", f"/virtual-network/{uuid}")
    shown = body["virtual-network"]
    assert sorted(ref["to"] for ref in shown["network_ipam_refs"]) == names
    assert sorted(pair["key"] for pair in shown["annotations"]["key_value_pair"]) == ["0", "1", "2", "3"]


async def test_interfaces_made_at_once_have_names_of_their_own(cluster: Any) -> None:
    uuid = await make(cluster, "n", "10.1.1.0/24")
    _, made = await cluster.call("POST", "/virtual-machines", {"virtual-machine": {"fq_name": ["vm"]}})
    machine = [{"uuid": made["virtual-machine"]["uuid"]}]

    async def one(number: int) -> tuple[int, Any]:
        body = {"fq_name": ["default-domain", "default-project", f"port-{number}"], "parent_type": "project"}
        body |= {"virtual_network_refs": [{"uuid": uuid}], "virtual_machine_refs": machine}
        path = "/virtual-machine-interfaces"
        return await cluster.call("POST", path, {"virtual-machine-interface": body})  # type: ignore[no-any-return]

    assert [status for status, _ in await asyncio.gather(*map(one, range(4)))] == [200] * 4
    listed = (await cluster.kube.list(VIRTUAL_MACHINE_INTERFACES)).items
    assert sorted(vmi["spec"]["interface"] for vmi in listed) == ["eth1", "eth2", "eth3", "eth4"]


async def test_values_of_the_wrong_type_are_400(cluster: Any) -> None:
    blocks = [{"subnet": {"ip_prefix": "10.1.1.0", "ip_prefix_len": 24}, "alloc_unit": "x"}]
    for wrong in (
        {"network_ipam_refs": [{"to": IPAM, "attr": [1]}]},
        {"network_ipam_refs": [{"to": IPAM, "attr": {"ipam_subnets": [{"subnet": "10.1.1.0/24"}]}}]},
        {"network_ipam_refs": [{"to": IPAM, "attr": {"ipam_subnets": blocks}}]},
        {"virtual_network_properties": {"rpf": {"a": 1}}},
        {"virtual_network_properties": {"vxlan_network_identifier": True}},
        {"fabric_snat": "no"},
        {"display_name": 5},
        {"annotations": {"key_value_pair": 5}},
    ):
        status, text = await cluster.call("POST", "/virtual-networks", network("wrong", **wrong))
        assert status == 400, (wrong, text)
    body = network("wrong")["virtual-network"]
    body["virtual_network_refs"] = [{"uuid": await make(cluster, "n", "10.1.1.0/24")}]
    body["virtual_machine_interface_mac_addresses"] = {"mac_address": 5}
    answer = await cluster.call("POST", "/virtual-machine-interfaces", {"virtual-machine-interface": body})
    assert answer[0] == 400
