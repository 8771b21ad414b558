"""Services and their endpoints: what the API server gives them, and what it refuses in which words."""

from __future__ import annotations

import json

import pytest

from multinet.apiserver.service_kinds import api_service

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def service(name, **spec):
    spec.setdefault("ports", [{"port": 80}])
    return {"metadata": {"name": name}, "spec": spec}


async def made(api, *args, **spec):
    answer = await api.post(SERVICES, service(*args, **spec))
    assert answer.status == 201, answer.body
    return answer.body["spec"]


async def refused(api, *args, **spec):
    answer = await api.post(SERVICES, service(*args, **spec))
    assert (answer.status, answer.body["reason"]) == (422, "Invalid"), answer.body
    return answer.body["message"]


async def test_each_service_has_an_address_and_node_ports_of_its_own(api):
    one = await made(api, "one")
    assert one["clusterIP"].startswith("10.")
    assert one["clusterIPs"] == [one["clusterIP"]]
    assert (one["type"], one["sessionAffinity"], one["ipFamilies"]) == ("ClusterIP", "None", ["IPv4"])
    assert one["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    ports = [{"port": 53, "protocol": "UDP", "name": "u"}, {"port": 53, "name": "t"}]
    two = await made(api, "two", type="NodePort", ports=ports)
    assert two["clusterIP"] != one["clusterIP"]
    numbers = {port["nodePort"] for port in two["ports"]}
    assert len(numbers) == 2
    assert all(30086 <= number <= 32767 for number in numbers)
    assert two["externalTrafficPolicy"] == "Cluster"
    # Made again it has what it had: what depends on it can be repeated.
    await api.call("DELETE", f"{SERVICES}/one")
    assert (await made(api, "one"))["clusterIP"] == one["clusterIP"]


async def test_what_is_asked_for_is_given_or_refused(api):
    asked = await made(
        api, "a", clusterIP="10.96.7.7", type="NodePort", ports=[{"port": 1, "nodePort": 30007}]
    )
    assert (asked["clusterIP"], asked["ports"][0]["nodePort"]) == ("10.96.7.7", 30007)
    assert await refused(api, "b", clusterIP="10.96.7.7") == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.7.7"]: '
        "failed to allocate IP 10.96.7.7: provided IP is already allocated"
    )
    assert "The range of valid IPs is 10.96.0.0/12" in await refused(api, "b", clusterIP="10.1.1.1")
    taken = await refused(api, "b", type="NodePort", ports=[{"port": 1, "nodePort": 30007}])
    assert taken.endswith("spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated")
    udp = [{"port": 1, "nodePort": 30007, "protocol": "UDP"}]
    assert (await made(api, "b", type="NodePort", ports=udp))["ports"][0]["nodePort"] == 30007
    low = await refused(api, "c", type="NodePort", ports=[{"port": 1, "nodePort": 80}])
    assert "The range of valid ports is 30000-32767" in low


async def test_headless_and_external_name(api):
    headless = await made(api, "h", clusterIP="None")
    assert headless["clusterIPs"] == ["None"]
    # Without a selector somebody's own endpoints may be of any family, whatever the cluster has.
    assert (headless["ipFamilyPolicy"], headless["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    wish = await made(api, "p", ipFamilyPolicy="PreferDualStack")
    assert (wish["ipFamilyPolicy"], wish["ipFamilies"]) == ("PreferDualStack", ["IPv4"])
    external = await api.post(SERVICES, {"metadata": {"name": "e"}, "spec": {"type": "ExternalName",
                                         "externalName": "example.org"}})  # fmt: skip
    assert external.status == 201
    assert "clusterIP" not in external.body["spec"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name: Required value"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535"),
        (
            {"ports": [{"port": 1, "protocol": "ICMP"}]},
            'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]},
            'ports[1].name: Duplicate value: "a"',
        ),
        (
            {"ports": [{"port": 1, "nodePort": 30000}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when",
        ),
        ({"type": "External"}, 'spec.type: Unsupported value: "External"'),
        ({"type": "ExternalName", "ports": []}, "spec.externalName: Required value"),
        ({"sessionAffinity": "Cookie"}, 'supported values: "ClientIP", "None"'),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0",
        ),
        ({"ipFamilyPolicy": "RequireDualStack"}, "this cluster is not configured for dual-stack services"),
        (
            {"ipFamilies": ["IPv6"]},
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ),
        ({"externalTrafficPolicy": "Local"}, "may only be set for externally-accessible services"),
        ({"clusterIP": "None", "type": "NodePort"}, "may not be set to 'None' for NodePort services"),
        ({"clusterIP": "x"}, "must be a valid IP address"),
        ({"ports": [{"port": 1, "targetPort": "a--b"}]}, "must not contain consecutive hyphens"),
        ({"selector": {"a": "b c"}}, "spec.selector: Invalid value"),
    ],
)
async def test_refusals_in_the_api_servers_words(api, spec, words):
    assert words in await refused(api, "x", **spec)


async def test_an_update_keeps_what_was_given_and_drops_what_the_type_had(api):
    first = await made(api, "s", type="NodePort")
    again = await api.call("PUT", f"{SERVICES}/s", service("s", type="NodePort", ports=[{"port": 80}]))
    assert again.body["spec"]["clusterIP"] == first["clusterIP"]
    assert again.body["spec"]["ports"] == first["ports"]
    plain = await api.merge(f"{SERVICES}/s", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in plain.body["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in plain.body["spec"]
    moved = await api.merge(
        f"{SERVICES}/s", {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}}
    )
    assert "may not change once set" in moved.body["message"]


async def test_endpoint_slices_are_checked(api):
    good = {"metadata": {"name": "a"}, "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}  # fmt: skip
    answer = await api.post(SLICES, good)
    assert answer.status == 201
    assert answer.body["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    for change, words in (
        ({"addressType": "IPv5"}, 'addressType: Unsupported value: "IPv5"'),
        ({"endpoints": [{"addresses": ["127.0.0.1"]}]}, "may not be in the loopback range"),
        ({"endpoints": [{"addresses": ["fd00::1"]}]}, "must be a valid IPv4 address"),
        ({"endpoints": [{"addresses": []}]}, "must contain at least 1 address"),
        ({"ports": [{"port": 0}]}, "must be between 1 and 65535, inclusive"),
    ):
        answer = await api.post(SLICES, {**good, "metadata": {"name": "b"}, **change})
        assert answer.status == 422, answer.body
        assert words in answer.body["message"]


def test_the_api_servers_own_service_points_at_where_it_can_be_reached():
    listed = {plural: obj for _, plural, obj in api_service("https://100.64.0.10:6443")}
    assert listed["services"]["spec"]["clusterIP"] == "10.96.0.1"
    assert listed["endpointslices"]["endpoints"][0]["addresses"] == ["100.64.0.10"]
    assert listed["endpoints"]["subsets"][0]["ports"][0]["port"] == 6443
    # A loopback address is nobody's endpoint.
    assert [plural for _, plural, _ in api_service("https://127.0.0.1:6443")] == ["services"]


@pytest.mark.programs
async def test_kubectl_makes_exposes_and_describes_services(api, kubectl):
    await kubectl.ok("create", "service", "nodeport", "n", "--tcp=80:8080", "--node-port=30080")
    await kubectl.ok("create", "service", "externalname", "e", "--external-name", "example.org")
    await kubectl.ok("run", "web", "--image=x", "--labels=app=web", "--port=80")
    await kubectl.ok("expose", "pod", "web", "--port=8080", "--target-port=80", "--session-affinity=ClientIP")
    table = await kubectl.ok("get", "services")
    rows = {line.split()[0]: line.split()[1:5] for line in table.splitlines()[1:]}
    assert rows["kubernetes"][:2] == ["ClusterIP", "10.96.0.1"]
    assert (rows["n"][0], rows["n"][3]) == ("NodePort", "80:30080/TCP")
    assert rows["e"][:3] == ["ExternalName", "<none>", "example.org"]
    await api.post(SLICES, {"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                            "addressType": "IPv4", "ports": [{"port": 80}],
                            "endpoints": [{"addresses": ["10.47.0.1"]}]})  # fmt: skip
    described = await kubectl.ok("describe", "service", "web")
    assert "ClientIP" in described
    assert "10.47.0.1:80" in described
    assert "10.47.0.1" in await kubectl.ok("get", "endpointslices")
    assert "10.47.0.1" in await kubectl.ok("describe", "endpointslice", "web-1")
    exposed = json.loads(await kubectl.ok("get", "svc", "web", "-o", "json"))
    assert exposed["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    error = await kubectl.fails("create", "service", "nodeport", "m", "--tcp=80:80", "--node-port=30080")
    assert "provided port is already allocated" in error
