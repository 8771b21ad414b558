"""Create, read, update, delete, watch and list over HTTP, as the Kubernetes API conventions say."""

from __future__ import annotations

import asyncio
import ssl

import pytest

PODS = "/api/v1/namespaces/default/pods"
NADS = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions"


def pod(name, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "x:1"}], **spec},
    }


def config_map(name, **metadata):
    return {"metadata": {"name": name, **metadata}, "data": {"a": "b"}}


MAPS = "/api/v1/namespaces/default/configmaps"


async def test_no_token_is_a_401_status_except_for_health_and_version(api, server):
    anonymous = {"Authorization": "Bearer wrong"}
    refused = await api.get(PODS, **anonymous)
    assert (refused.status, refused.body["reason"]) == (401, "Unauthorized")
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert (await api.get(path, **anonymous)).status == 200


async def test_kubeconfig_is_private_and_credentials_are_used_again(server, tmp_path, pki):
    from multinet.apiserver.server import ApiServer

    assert server.kubeconfig.stat().st_mode & 0o777 == 0o600
    async with ApiServer.start(workdir=tmp_path, pki_dir=pki) as second:
        assert second.token == server.token
        assert second.ca_pem == server.ca_pem


async def test_create_fills_in_what_the_server_owns(api):
    answer = await api.post(PODS, pod("a"))
    assert answer.status == 201
    metadata = answer.body["metadata"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert answer.body["status"]["phase"] == "Pending"
    assert answer.body["spec"]["terminationGracePeriodSeconds"] == 30
    again = await api.post(PODS, pod("a"))
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'pods "a" already exists'


async def test_generate_name(api):
    names = set()
    for _ in range(3):
        answer = await api.post(MAPS, {"metadata": {"generateName": "m-"}})
        names.add(answer.body["metadata"]["name"])
    assert len(names) == 3
    assert all(name.startswith("m-") and len(name) == 7 for name in names)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"image": "x"}]}, "spec.containers[0].name: Required value"),
        (
            {"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]},
            'spec.containers[1].name: Duplicate value: "c"',
        ),
        (
            {"restartPolicy": "Often"},
            'spec.restartPolicy: Unsupported value: "Often": supported values: "Always"',
        ),
        (
            {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 1, "hostPort": 70000}]}]},
            "spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535",
        ),
        (
            {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 1, "protocol": "tcp"}]}]},
            'spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP"',
        ),
    ],
)
async def test_pod_validation(api, spec, message):
    answer = await api.post(PODS, pod("a", **spec))
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"].startswith(f'Pod "a" is invalid: {message}')
    assert answer.body["details"]["causes"][0]["field"] == message.partition(":")[0]


async def test_bad_name_is_said_in_kubernetes_words(api):
    answer = await api.post(PODS, pod("Bad_Name"))
    assert (
        'metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain' in answer.body["message"]
    )


async def test_pod_spec_is_immutable_but_for_the_image(api):
    await api.post(PODS, pod("a"))
    assert (await api.merge(f"{PODS}/a", {"metadata": {"annotations": {"k": "v"}}})).status == 200
    image = [{"name": "c", "image": "y:2"}]
    changed = await api.merge(f"{PODS}/a", {"spec": {"containers": image}})
    assert changed.body["spec"]["containers"][0]["image"] == "y:2"
    refused = await api.merge(f"{PODS}/a", {"spec": {"hostname": "h"}})
    assert refused.status == 422
    assert "spec: Forbidden: pod updates may not change fields other than" in refused.body["message"]


async def test_stale_update_conflicts_and_an_unchanged_one_keeps_its_revision(api):
    first = (await api.post(MAPS, config_map("m"))).body
    same = await api.call("PUT", f"{MAPS}/m", first)
    assert same.body["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    changed = await api.call("PUT", f"{MAPS}/m", {**first, "data": {"a": "c"}})
    assert changed.status == 200
    stale = await api.call("PUT", f"{MAPS}/m", {**first, "data": {"a": "d"}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.body["message"]


async def test_status_is_a_part_of_its_own(api):
    await api.post(PODS, pod("a"))
    await api.merge(f"{PODS}/a", {"status": {"phase": "Running"}})
    assert (await api.get(f"{PODS}/a")).body["status"]["phase"] == "Pending"
    patched = await api.merge(f"{PODS}/a/status", {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}})
    assert patched.body["status"]["phase"] == "Running"
    assert "nodeName" not in patched.body["spec"]


async def test_binding_then_graceful_deletion_waits_for_the_kubelet(api):
    await api.post(PODS, pod("a"))
    binding = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node1"}}
    assert (await api.post(f"{PODS}/a/binding", binding)).status == 201
    again = await api.post(f"{PODS}/a/binding", binding)
    assert again.status == 409
    assert 'already assigned to node "node1"' in again.body["message"]
    assert len((await api.get(f"{PODS}?fieldSelector=spec.nodeName%3Dnode1")).body["items"]) == 1
    deleted = await api.call("DELETE", f"{PODS}/a")
    assert deleted.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.get(f"{PODS}/a")).body["metadata"]["deletionTimestamp"]
    wrong = await api.call(
        "DELETE", f"{PODS}/a", {"preconditions": {"uid": "other"}, "gracePeriodSeconds": 0}
    )
    assert (wrong.status, wrong.body["reason"]) == (409, "Conflict")
    await api.call("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 0})
    assert (await api.get(f"{PODS}/a")).status == 404


async def test_an_unbound_pod_goes_at_once(api):
    await api.post(PODS, pod("a"))
    assert (await api.call("DELETE", f"{PODS}/a")).status == 200
    assert (await api.get(f"{PODS}/a")).body["message"] == 'pods "a" not found'


async def test_finalizers_hold_an_object(api):
    await api.post(MAPS, config_map("m", finalizers=["example.org/hold"]))
    await api.call("DELETE", f"{MAPS}/m")
    held = (await api.get(f"{MAPS}/m")).body
    assert held["metadata"]["deletionTimestamp"]
    added = await api.merge(f"{MAPS}/m", {"metadata": {"finalizers": ["example.org/hold", "example.org/x"]}})
    assert "no new finalizers can be added" in added.body["message"]
    await api.merge(f"{MAPS}/m", {"metadata": {"finalizers": None}})
    assert (await api.get(f"{MAPS}/m")).status == 404


async def test_dry_run_leaves_nothing(api):
    assert (await api.post(f"{MAPS}?dryRun=All", config_map("m"))).status == 201
    assert (await api.get(f"{MAPS}/m")).status == 404


async def test_watch_resumes_and_follows_a_selector(api):
    start = (await api.get(PODS)).body["metadata"]["resourceVersion"]
    await api.post(PODS, pod("a"))
    await api.merge(f"{PODS}/a", {"metadata": {"labels": {"app": "z"}}})
    await api.call("DELETE", f"{PODS}/a")
    everything = await api.watch(f"{PODS}?watch=true&resourceVersion={start}", 3)
    assert [event["type"] for event in everything] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in everything]
    assert versions == sorted(set(versions))
    selected = await api.watch(f"{PODS}?watch=1&resourceVersion={start}&labelSelector=app%3Da", 2)
    assert [event["type"] for event in selected] == ["ADDED", "DELETED"]


async def test_watch_delivers_what_happens_while_it_is_open(api):
    watching = asyncio.create_task(api.watch(f"{MAPS}?watch=1&fieldSelector=metadata.name%3Dlive", 2))
    await api.post(MAPS, config_map("other"))
    await api.post(MAPS, config_map("live"))
    await api.merge(f"{MAPS}/live", {"data": {"a": "c"}})
    events = await watching
    assert events[-1]["object"]["data"] == {"a": "c"}


async def test_watch_list_ends_its_initial_events_with_a_bookmark(api):
    await api.post(PODS, pod("a"))
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    added, mark = await api.watch(f"{PODS}?{query}", 2)
    assert added["type"] == "ADDED"
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_watch_from_another_life_of_the_server_must_list_again(api):
    (event,) = await api.watch(f"{PODS}?watch=1&resourceVersion=99999", 1)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_page_continues_from_the_state_of_the_first(api):
    for name in ("a", "b", "c", "d"):
        await api.post(MAPS, config_map(name))
    first = (await api.get(f"{MAPS}?limit=2")).body
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await api.call("DELETE", f"{MAPS}/c")
    await api.post(MAPS, config_map("bb"))
    rest = (await api.get(f"{MAPS}?limit=9&continue={first['metadata']['continue']}")).body
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d", "kube-root-ca.crt"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_delete_collection_takes_a_selector(api):
    await api.post(MAPS, config_map("a", labels={"x": "1"}))
    await api.post(MAPS, config_map("b", labels={"x": "2"}))
    await api.call("DELETE", f"{MAPS}?labelSelector=x%3D1")
    assert (await api.get(f"{MAPS}/a")).status == 404
    assert (await api.get(f"{MAPS}/b")).status == 200


async def test_bad_selector_and_unknown_field_are_400(api):
    assert (await api.get(f"{PODS}?labelSelector=%3D%3D")).status == 400
    answer = await api.get(f"{PODS}?fieldSelector=spec.nothing%3Da")
    assert answer.body["message"] == "field label not supported: spec.nothing"


async def test_namespace_deletion_empties_it_first(api):
    await api.post("/api/v1/namespaces", {"metadata": {"name": "ns"}})
    assert (await api.get("/api/v1/namespaces/ns/serviceaccounts/default")).status == 200
    held = config_map("m", finalizers=["example.org/hold"])
    await api.post("/api/v1/namespaces/ns/configmaps", held)
    await api.call("DELETE", "/api/v1/namespaces/ns")
    assert (await api.get("/api/v1/namespaces/ns")).body["status"]["phase"] == "Terminating"
    refused = await api.post("/api/v1/namespaces/ns/configmaps", config_map("n"))
    assert refused.status == 403
    assert "because it is being terminated" in refused.body["message"]
    await api.merge("/api/v1/namespaces/ns/configmaps/m", {"metadata": {"finalizers": None}})
    events = await api.watch(
        "/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dns&resourceVersion=1", 3
    )
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    gone = await api.get("/api/v1/namespaces/ns")
    assert gone.body["message"] == 'namespaces "ns" not found'


async def test_create_in_a_namespace_that_is_not_there(api):
    answer = await api.post("/api/v1/namespaces/none/configmaps", config_map("m"))
    assert (answer.status, answer.body["message"]) == (404, 'namespaces "none" not found')


async def test_a_deletion_that_is_refused_changes_nothing(api):
    owner = (await api.post(MAPS, {"metadata": {"name": "owner"}})).body["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    await api.post(MAPS, {"metadata": {"name": "dependent", "ownerReferences": [reference]}})
    for policy in ("Foreground", "Orphan", "Background"):
        asked = {"propagationPolicy": policy, "preconditions": {"uid": "another"}}
        assert (await api.call("DELETE", f"{MAPS}/owner", asked)).status == 409
    wrong = await api.call("DELETE", f"{MAPS}/owner", {"propagationPolicy": "Any"})
    assert (wrong.status, wrong.body["details"]["causes"][0]["field"]) == (422, "propagationPolicy")
    assert (await api.get(f"{MAPS}/owner")).body["metadata"] == owner
    assert (await api.get(f"{MAPS}/dependent")).body["metadata"]["ownerReferences"] == [reference]
    asked = {
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": owner["uid"], "resourceVersion": owner["resourceVersion"]},
    }
    assert (await api.call("DELETE", f"{MAPS}/owner", asked)).status == 200


async def test_what_is_immutable_keeps_its_content(api):
    secrets = MAPS.replace("configmaps", "secrets")
    for path, content in ((MAPS, {"data": {"a": "1"}}), (secrets, {"stringData": {"a": "1"}})):
        await api.post(path, {"metadata": {"name": "fixed"}, "immutable": True, **content})
        for change in ({"data": {"a": "Mg=="}}, {"immutable": False}, {"binaryData": {"b": "Mg=="}}):
            refused = await api.merge(f"{path}/fixed", change)
            assert refused.status == 422, (path, change)
            assert "is immutable when `immutable` is set" in refused.body["message"]
        assert (await api.merge(f"{path}/fixed", {"metadata": {"labels": {"a": "b"}}})).status == 200
    await api.post(secrets, {"metadata": {"name": "typed"}, "type": "x/y"})
    assert (await api.merge(f"{secrets}/typed", {"type": "x/z"})).status == 422


async def test_dependents_go_with_their_owner_unless_orphaned(api):
    async def family(prefix):
        owner = (await api.post(MAPS, config_map(f"{prefix}-owner"))).body["metadata"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["name"], "uid": owner["uid"]}
        await api.post(MAPS, config_map(f"{prefix}-child", ownerReferences=[reference]))

    await family("a")
    await api.call("DELETE", f"{MAPS}/a-owner")
    assert (await api.get(f"{MAPS}/a-child")).status == 404
    await family("b")
    await api.call("DELETE", f"{MAPS}/b-owner", {"propagationPolicy": "Orphan"})
    child = await api.get(f"{MAPS}/b-child")
    assert child.status == 200
    assert "ownerReferences" not in child.body["metadata"]


async def test_broken_bodies_are_400_and_unknown_formats_415(api):
    assert (await api.call("POST", PODS, b"{")).status == 400
    assert (await api.call("POST", PODS, b"[]")).status == 400
    assert (await api.call("POST", PODS, b"x", Content_Type="text/plain")).status == 415
    assert (
        await api.call("PATCH", f"{PODS}/a", b"{}", Content_Type="application/apply-patch+yaml")
    ).status == 415
    wrong_kind = {**pod("a"), "kind": "Node"}
    assert "does not match the expected API" in (await api.post(PODS, wrong_kind)).body["message"]
    labels = {"metadata": {"name": "m", "labels": {"a": 1}}}
    assert (await api.post(MAPS, labels)).status == 400


async def test_unknown_paths_and_methods(api):
    for path in ("/nothing", "/api/v2", "/api/v1/unicorns", "/apis/none/v1/things", f"{PODS}/a/nothing"):
        assert (await api.get(path)).status == 404
    assert (await api.call("PUT", PODS, pod("a"))).status == 405
    assert (await api.post("/api/v1/pods", pod("a"))).status == 405


def client_tls(server):
    return ssl.create_default_context(cadata=server.ca_pem)


async def test_credentials_of_any_bytes_are_a_401(server):
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls(server))
    writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n" % PODS.encode())
    status = await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    await writer.wait_closed()
    assert status == b"HTTP/1.1 401 Unauthorized\r\n"


async def test_an_owner_reference_of_another_shape_is_refused_and_not_stored(api):
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ["not", "a", "string"]}
    refused = await api.post(MAPS, config_map("owned", ownerReferences=[owner]))
    assert (refused.status, refused.body["reason"]) == (400, "BadRequest")
    assert "ObjectMeta.metadata.ownerReferences.uid of type string" in refused.body["message"]
    assert (await api.get(f"{MAPS}/owned")).status == 404


async def test_a_missing_path_has_details_without_a_name(api):
    answer = await api.call("PATCH", "/api/v1/namespaces/default/pods/p/ephemeralcontainers", {})
    assert (answer.status, answer.body["reason"], answer.body["details"]) == (404, "NotFound", {})


async def test_a_pod_needs_its_service_account_and_its_priority_class(api):
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    refused = await api.post(PODS, pod("a", serviceAccountName="robot"))
    why = 'error looking up service account default/robot: serviceaccount "robot" not found'
    assert (refused.status, refused.body["message"]) == (403, f'pods "a" is forbidden: {why}')
    await api.post(accounts, {"metadata": {"name": "robot"}})
    assert (await api.post(PODS, pod("a", serviceAccountName="robot"))).status == 201
    refused = await api.post(PODS, pod("b", priorityClassName="mine"))
    assert refused.body["message"] == 'pods "b" is forbidden: no PriorityClass with name mine was found'
    made = await api.post(PODS, pod("b", priorityClassName="system-node-critical"))
    assert made.body["spec"]["priority"] == 2_000_001_000


async def test_a_pods_addresses_are_told_both_ways_and_its_containers_are_not_changed(api):
    await api.post(PODS, pod("a"))
    for sent in ({"podIP": "10.0.0.1"}, {"podIPs": [{"ip": "10.0.0.1"}]}):
        answer = await api.merge(f"{PODS}/a/status", {"status": sent})
        assert answer.body["status"]["podIP"] == "10.0.0.1"
        assert answer.body["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    another = {"spec": {"containers": [{"name": name, "image": "x:1"} for name in "cd"]}}
    refused = await api.merge(f"{PODS}/a", another)
    assert refused.status == 422
    assert "spec.containers: Forbidden: pod updates may not add or remove" in refused.body["message"]


async def test_a_pod_behind_a_gate_says_so(api):
    made = await api.post(PODS, pod("a", schedulingGates=[{"name": "example.org/wait"}]))
    (condition,) = made.body["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
    )
