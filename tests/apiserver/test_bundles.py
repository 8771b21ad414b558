"""Bundles: writes carried out in order by one request."""

from __future__ import annotations

GROUP = "/apis/multinet.opencontrail.org/v1alpha1"
BUNDLES = f"{GROUP}/bundles"
API_VERSION = "multinet.opencontrail.org/v1alpha1"


def bundle(*objects):
    return {"apiVersion": API_VERSION, "kind": "Bundle", "spec": {"objects": list(objects)}}


def instance_ip(name, address="10.0.0.5"):
    spec = {
        "network": "n",
        "address": address,
        "family": "v4",
        "interface": {"namespace": "default", "name": "i"},
        "podUID": "u",
    }
    return {"apiVersion": API_VERSION, "kind": "InstanceIP", "metadata": {"name": name}, "spec": spec}


def machine(name):
    pod = {"namespace": "default", "name": "p", "uid": "u"}
    condition = {
        "type": "Resolved",
        "status": "True",
        "reason": "Attached",
        "message": "all",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"pod": pod, "node": "node1", "interfaces": []},
        "status": {"conditions": [condition]},
    }


async def test_objects_are_created_in_order_and_with_their_status(api):
    answer = await api.post(BUNDLES, bundle(instance_ip("a"), machine("m")))
    assert (answer.status, answer.body["status"]) == (201, {"created": 2, "patched": 0})
    assert "spec" not in answer.body
    first = (await api.get(f"{GROUP}/instanceips/a")).body
    second = (await api.get(f"{GROUP}/namespaces/default/virtualmachines/m")).body
    assert second["status"]["conditions"][0]["reason"] == "Attached"
    assert second["metadata"]["generation"] == 1
    assert int(second["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 1
    # The request of its own for one object drops the status, as in Kubernetes.
    await api.post(f"{GROUP}/namespaces/default/virtualmachines", machine("alone"))
    alone = (await api.get(f"{GROUP}/namespaces/default/virtualmachines/alone")).body
    assert "status" not in alone


async def test_the_first_refusal_ends_a_bundle_and_what_was_before_it_stays(api):
    await api.post(BUNDLES, bundle(instance_ip("taken")))
    answer = await api.post(BUNDLES, bundle(instance_ip("a"), instance_ip("taken"), instance_ip("b")))
    status = answer.body["status"]
    assert (answer.status, status["created"]) == (201, 1)
    assert (status["failure"]["code"], status["failure"]["reason"]) == (409, "AlreadyExists")
    assert (await api.get(f"{GROUP}/instanceips/a")).status == 200
    assert (await api.get(f"{GROUP}/instanceips/b")).status == 404


async def test_each_object_is_held_to_the_rules_of_its_kind(api):
    wrong = machine("m")
    wrong["status"] = {"conditions": "all is well"}
    nowhere = machine("m") | {"metadata": {"name": "m"}}
    elsewhere = machine("m") | {"metadata": {"name": "m", "namespace": "missing"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}}
    unknown = {"apiVersion": API_VERSION, "kind": "Nothing", "metadata": {"name": "x"}}
    for obj, code in ((wrong, 422), (nowhere, 400), (elsewhere, 404), (pod, 400), (unknown, 404), (3, 400)):
        status = (await api.post(BUNDLES, bundle(obj))).body["status"]
        assert (status["created"], status["failure"]["code"]) == (0, code), obj
    for spec in (None, [], {"objects": {}}, {"patches": 3}, {"objects": [instance_ip("a")] * 257}):
        assert (await api.post(BUNDLES, bundle() | {"spec": spec})).status == 400
    assert (await api.get(f"{GROUP}/instanceips")).body["items"] == []


async def test_a_dry_run_writes_nothing(api):
    answer = await api.post(f"{BUNDLES}?dryRun=All", bundle(instance_ip("a")))
    assert answer.body["status"] == {"created": 1, "patched": 0}
    assert (await api.get(f"{GROUP}/instanceips")).body["items"] == []
    assert (await api.get(BUNDLES)).status == 405


def patch(kind, name, patch, **more):
    api_version = "v1" if kind == "Pod" else API_VERSION
    return {"apiVersion": api_version, "kind": kind, "name": name, "patch": patch, **more}


def patches(*patches):
    return {"apiVersion": API_VERSION, "kind": "Bundle", "spec": {"patches": list(patches)}}


async def test_patches_are_merged_in_order_after_the_creations(api):
    pods = "/api/v1/namespaces/default/pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    uid = (await api.post(pods, pod)).body["metadata"]["uid"]
    both = bundle(machine("m"))
    both["spec"]["patches"] = [
        patch(
            "VirtualMachine", "m", {"status": {"conditions": None}}, namespace="default", subresource="status"
        ),
        patch("Pod", "p", {"metadata": {"uid": uid, "annotations": {"a": "b"}}}, namespace="default"),
    ]
    answer = await api.post(BUNDLES, both)
    assert answer.body["status"] == {"created": 1, "patched": 2}
    assert (await api.get(f"{pods}/p")).body["metadata"]["annotations"] == {"a": "b"}
    assert (await api.get(f"{GROUP}/namespaces/default/virtualmachines/m")).body["status"] == {}


async def test_the_first_refused_patch_ends_a_bundle(api):
    await api.post(BUNDLES, bundle(instance_ip("a")))
    marked = {"metadata": {"annotations": {"a": "b"}}}
    answer = await api.post(
        BUNDLES,
        patches(
            patch("InstanceIP", "a", marked),
            patch("InstanceIP", "a", {"metadata": {"uid": "another"}}),
            patch("InstanceIP", "a", {"metadata": {"annotations": {"a": "c"}}}),
        ),
    )
    status = answer.body["status"]
    assert (status["patched"], status["failure"]["reason"]) == (1, "Conflict")
    found = (await api.get(f"{GROUP}/instanceips/a")).body
    assert found["metadata"]["annotations"] == {"a": "b"}
    for wrong, code in (
        (patch("InstanceIP", "missing", marked), 404),
        (patch("InstanceIP", "a", marked, namespace="default"), 400),
        (patch("InstanceIP", "a", []), 400),
        (patch("InstanceIP", 3, marked), 400),
        (patch("InstanceIP", "a", marked, subresource="scale"), 404),
        (patch("InstanceIP", "a", marked, subresource=[]), 404),
        (patch("Bundle", "a", marked), 404),
        ("text", 400),
    ):
        status = (await api.post(BUNDLES, patches(wrong))).body["status"]
        assert (status["patched"], status["failure"]["code"]) == (0, code), wrong
    assert (await api.get(f"{GROUP}/instanceips/a")).body == found
