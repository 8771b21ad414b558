"""Services of a cluster with two address families: which they have, what they keep, what is refused."""

from __future__ import annotations

import pytest

from multinet.apiserver.server import ApiServer

SERVICES = "/api/v1/namespaces/default/services"
V6 = "fd00:10:96::"


@pytest.fixture
async def server(tmp_path, pki):
    """With a block of each family."""
    async with ApiServer.start(workdir=tmp_path, pki_dir=pki, service_block6="fd00:10:96::/108") as started:
        yield started


def body(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, **spec}}


async def made(api, name, **spec):
    answer = await api.post(SERVICES, body(name, **spec))
    assert answer.status == 201, answer.body
    return answer.body["spec"]


async def patched(api, name, **spec):
    answer = await api.merge(f"{SERVICES}/{name}", {"spec": spec})
    assert answer.status == 200, answer.body
    return answer.body["spec"]


def families(spec):
    """What a service has: policy, families, and the families of its addresses."""
    assert spec.get("clusterIP") == spec["clusterIPs"][0]
    kinds = [each if each == "None" else "IPv6" if ":" in each else "IPv4" for each in spec["clusterIPs"]]
    return spec["ipFamilyPolicy"], spec["ipFamilies"], kinds


async def test_what_is_left_out_follows_from_the_rest(api):
    both, turned = ["IPv4", "IPv6"], ["IPv6", "IPv4"]
    for name, given, expected in (
        ("plain", {}, ("SingleStack", ["IPv4"], ["IPv4"])),
        ("six", {"ipFamilies": ["IPv6"]}, ("SingleStack", ["IPv6"], ["IPv6"])),
        ("asked", {"clusterIP": f"{V6}7"}, ("SingleStack", ["IPv6"], ["IPv6"])),
        ("prefer", {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", both, both)),
        ("require", {"ipFamilyPolicy": "RequireDualStack"}, ("RequireDualStack", both, both)),
        (
            "turned",
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            ("RequireDualStack", turned, turned),
        ),
        (
            "two",
            {"ipFamilyPolicy": "PreferDualStack", "clusterIPs": [f"{V6}9", "10.96.0.9"]},
            ("PreferDualStack", turned, turned),
        ),
        ("headless", {"clusterIP": "None"}, ("SingleStack", ["IPv4"], ["None"])),
        ("free", {"clusterIP": "None", "selector": None}, ("RequireDualStack", both, ["None"])),
        ("ports", {"type": "NodePort", "ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", both, both)),
    ):
        assert families(await made(api, name, **given)) == expected, name
    listed = (await api.get(SERVICES)).body["items"]
    addresses = [each for item in listed for each in item["spec"]["clusterIPs"] if each != "None"]
    assert len(addresses) == len(set(addresses))


async def test_a_service_gets_a_second_family_and_gives_it_back(api):
    first = (await made(api, "s"))["clusterIP"]
    again = await api.call("PUT", f"{SERVICES}/s", body("s", ipFamilyPolicy="RequireDualStack"))
    spec = again.body["spec"]
    assert families(spec) == ("RequireDualStack", ["IPv4", "IPv6"], ["IPv4", "IPv6"])
    assert spec["clusterIP"] == first
    # Nothing said, nothing changed.
    assert (await patched(api, "s", sessionAffinity="ClientIP"))["clusterIPs"] == spec["clusterIPs"]
    kept = await api.call("PUT", f"{SERVICES}/s", body("s"))
    assert kept.body["spec"]["clusterIPs"] == spec["clusterIPs"]
    alone = await patched(api, "s", ipFamilyPolicy="SingleStack")
    assert families(alone) == ("SingleStack", ["IPv4"], ["IPv4"])
    assert alone["clusterIP"] == first
    external = await patched(api, "s", type="ExternalName", externalName="example.org")
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(external)
    assert families(await patched(api, "s", type="ClusterIP"))[2] == ["IPv4"]


async def test_refusals_in_the_api_servers_words(api):
    await made(api, "six", clusterIP=f"{V6}7")
    await made(api, "dual", ipFamilyPolicy="PreferDualStack")
    both, pair = ["IPv4", "IPv6"], ["10.96.0.9", f"{V6}9"]
    for given, words in (
        ({"clusterIP": f"{V6}0007"}, "provided IP is already allocated"),
        ({"clusterIP": "fd00::1"}, "The range of valid IPs is fd00:10:96::/108"),
        ({"ipFamilies": ["IPv4"], "clusterIP": f"{V6}8"}, "an IPv4 value as indicated by `ipFamilies[0]`"),
        ({"ipFamilies": both}, "or PreferDualStack when multiple ipFamilies are specified"),
        ({"clusterIPs": pair}, "or PreferDualStack when multiple clusterIPs are specified"),
        ({"ipFamilies": ["IPv4", "IPv4"]}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
        ({"ipFamilies": ["IPv5"]}, 'Unsupported value: "IPv5": supported values: "IPv4", "IPv6"'),
        ({"clusterIPs": ["None", "10.96.0.9"]}, "'None' must be the first and only value"),
        ({"clusterIPs": ["10.96.0.8", "10.96.0.9"]}, "may specify no more than one IP for each IP family"),
        ({"clusterIPs": [*pair, "10.96.0.8"]}, "may only hold up to 2 values"),
        ({"clusterIP": "10.96.0.8", "clusterIPs": pair}, "first value must match `clusterIP`"),
        ({"ipFamilyPolicy": "Both"}, 'values: "PreferDualStack", "RequireDualStack", "SingleStack"'),
    ):
        answer = await api.post(SERVICES, body("x", **given))
        assert answer.status == 422, answer.body
        assert words in answer.body["message"]
    for change, words in (
        ({"clusterIP": "10.96.0.99"}, "may not change once set"),
        ({"ipFamilies": ["IPv6", "IPv4"]}, "expected an IPv6 value as indicated by `ipFamilies[0]`"),
        ({"ipFamilies": ["IPv4"]}, "must be set to 'SingleStack' when releasing the secondary ipFamily"),
    ):
        answer = await api.merge(f"{SERVICES}/dual", {"spec": change})
        assert answer.status == 422, answer.body
        assert words in answer.body["message"]
