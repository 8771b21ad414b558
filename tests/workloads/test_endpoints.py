"""Which pods answer for a service: the slices and Endpoints that follow from objects."""

import pytest

from multinet.model.services import EndpointSlice, Service
from multinet.workloads import endpoints

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "ns", "name": "web", "uid": "u", "labels": {"tier": "front"}},
    "spec": {
        "clusterIP": "10.96.1.1",
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
    },
}


def pod(name, address, *, ready=True, labels=None, port=8080, **more):
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": name,
            "labels": labels or {"app": "web"},
            **more,
        },
        "spec": {
            "nodeName": "node1",
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def slices(*pods, **spec):
    obj = {**SERVICE, "spec": {**SERVICE["spec"], **spec}}
    service = Service.from_object(obj)
    return endpoints.slices(service, obj, endpoints.members(service, pods))


def test_each_family_of_a_service_has_slices_of_its_own():
    obj = {**SERVICE, "spec": {**SERVICE["spec"], "ipFamilies": ["IPv6", "IPv4"]}}
    service = Service.from_object(obj)
    dual = pod("dual", "10.32.0.1")
    dual["status"]["podIPs"].append({"ip": "fd00::1"})
    pods = [dual, pod("single", "10.32.0.2")]
    assert service.families == (6, 4)
    found = {
        family: endpoints.slices(service, obj, endpoints.members(service, pods, family), family)
        for family in service.families
    }
    listed = {
        family: [(each["addressType"], [item["addresses"] for item in each["endpoints"]]) for each in made]
        for family, made in found.items()
    }
    assert listed == {6: [("IPv6", [["fd00::1"]])], 4: [("IPv4", [["10.32.0.1"], ["10.32.0.2"]])]}
    names = [each["metadata"]["name"] for made in found.values() for each in made]
    assert len(set(names)) == 2
    # Without a member of a family there is an empty slice of it.
    (empty,) = endpoints.slices(service, obj, endpoints.members(service, pods[1:], 6), 6)
    assert (empty["addressType"], empty["endpoints"]) == ("IPv6", [])
    read = [endpoint.address for _, _, endpoint in EndpointSlice.from_object(found[6][0]).endpoints]
    assert read == ["fd00::1"]


def conditions(endpoint_slice):
    return {item["addresses"][0]: item["conditions"] for item in endpoint_slice["endpoints"]}


def test_a_sidecar_address_is_no_endpoint_even_where_another_pods_podip_is_the_same():
    # "two" has in a NAD network the very address that "one" has in the default network.
    status = '[{"name": "ns/red", "interface": "eth1", "ips": ["10.32.0.5"]}]'
    two = pod("two", "10.32.0.6", annotations={"k8s.v1.cni.cncf.io/network-status": status})
    (made,) = slices(pod("one", "10.32.0.5"), two)
    assert [(item["addresses"], item["targetRef"]["name"]) for item in made["endpoints"]] == [
        (["10.32.0.5"], "one"),
        (["10.32.0.6"], "two"),
    ]
    (alone,) = slices(two)
    assert [item["addresses"] for item in alone["endpoints"]] == [["10.32.0.6"]]


def test_ready_serving_and_terminating():
    (made,) = slices(
        pod("a", "10.32.0.1"),
        pod("b", "10.32.0.2", ready=False),
        pod("c", "10.32.0.3", deletionTimestamp="2026-01-01T00:00:00Z"),
    )
    assert conditions(made) == {
        "10.32.0.1": {"ready": True, "serving": True, "terminating": False},
        "10.32.0.2": {"ready": False, "serving": False, "terminating": False},
        "10.32.0.3": {"ready": False, "serving": True, "terminating": True},
    }
    read = EndpointSlice.from_object(made)
    assert [endpoint.address for _, _, endpoint in read.endpoints] == ["10.32.0.1"]
    (published,) = slices(pod("b", "10.32.0.2", ready=False), publishNotReadyAddresses=True)
    assert conditions(published)["10.32.0.2"]["ready"]


def test_pods_without_an_address_with_other_labels_or_done_are_not_behind_it():
    done = pod("done", "10.32.0.4")
    done["status"]["phase"] = "Succeeded"
    pending = pod("pending", "")
    (made,) = slices(done, pending, pod("other", "10.32.0.5", labels={"app": "db"}))
    assert made["endpoints"] == []


def test_a_named_target_port_is_each_pods_own():
    made = slices(pod("a", "10.32.0.1"), pod("b", "10.32.0.2", port=9090))
    assert [(item["ports"][0]["port"], item["endpoints"][0]["addresses"]) for item in made] == [
        (8080, ["10.32.0.1"]),
        (9090, ["10.32.0.2"]),
    ]
    assert len({item["metadata"]["name"] for item in made}) == 2
    assert slices(pod("a", "10.32.0.1"))[0]["metadata"]["name"] == made[0]["metadata"]["name"]


def test_slices_hold_a_hundred_and_name_their_owner():
    made = slices(*(pod(f"p{number:03}", f"10.32.1.{number}") for number in range(150)))
    assert [len(item["endpoints"]) for item in made] == [100, 50]
    metadata = made[0]["metadata"]
    assert metadata["labels"]["kubernetes.io/service-name"] == "web"
    assert metadata["labels"]["tier"] == "front"
    assert metadata["ownerReferences"][0]["uid"] == "u"
    assert "service.kubernetes.io/headless" in slices(clusterIP="None")[0]["metadata"]["labels"]


def test_endpoints_objects_say_the_same():
    service = Service.from_object(SERVICE)
    listed = endpoints.members(service, [pod("a", "10.32.0.1"), pod("b", "10.32.0.2", ready=False)])
    (subset,) = endpoints.endpoints(service, SERVICE, listed)["subsets"]
    assert [item["ip"] for item in subset["addresses"]] == ["10.32.0.1"]
    assert [item["ip"] for item in subset["notReadyAddresses"]] == ["10.32.0.2"]
    assert subset["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


def test_endpoints_that_somebody_wrote_are_mirrored():
    obj = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"namespace": "ns", "name": "db", "uid": "e"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "ports": [{"port": 5432}]}],
    }
    v4, v6 = endpoints.mirrored(obj)
    assert (v4["addressType"], v6["addressType"]) == ("IPv4", "IPv6")
    assert EndpointSlice.from_object(v4).service == "ns/db"
    assert v4["ports"] == [{"name": "", "protocol": "TCP", "port": 5432}]


@pytest.mark.parametrize("field", ["status", "labels"])
def test_only_what_matters_makes_a_service_look_again(field):
    before, after = pod("a", "10.32.0.1"), pod("a", "10.32.0.1")
    after["metadata"]["annotations"] = {"x": "y"}
    after["status"]["startTime"] = "2026-01-01T00:00:00Z"
    assert endpoints.concern(before) == endpoints.concern(after)
    changed = pod("a", "10.32.0.2") if field == "status" else pod("a", "10.32.0.1", labels={"app": "db"})
    assert endpoints.concern(before) != endpoints.concern(changed)
