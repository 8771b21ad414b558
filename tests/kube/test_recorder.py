"""Events: aggregated, written behind the caller's back, never failing it."""

from __future__ import annotations

import logging

import orjson

from multinet.kube.recorder import EventRecorder

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "resourceVersion": "5"},
}


def sent(api):
    return [(r[0], orjson.loads(r[3]), r[4]) for r in api.requests]


async def test_an_event_names_its_object_and_who_says_it(api, client):
    api.answers = [(201, {})]
    recorder = EventRecorder(client, "kubelet", "node1", now=lambda: 1_700_000_000.5)
    recorder.record(POD, "Normal", "Started", "Started container c")
    await recorder.flush()
    ((method, event, path),) = sent(api)
    assert (method, path) == ("POST", "/api/v1/namespaces/ns/events")
    assert event["involvedObject"] == {
        "kind": "Pod",
        "apiVersion": "v1",
        "name": "p",
        "namespace": "ns",
        "uid": "u1",
        "resourceVersion": "5",
    }
    assert event["source"] == {"component": "kubelet", "host": "node1"}
    assert (event["type"], event["reason"], event["count"]) == ("Normal", "Started", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2023-11-14T22:13:20Z"
    assert event["metadata"]["name"].startswith("p.")


async def test_the_same_said_again_raises_the_count(api, client):
    api.answers = [(201, {})] * 9
    recorder = EventRecorder(client, "kubelet")
    recorder.record(POD, "Warning", "Failed", "no")
    await recorder.flush()
    recorder.record(POD, "Warning", "Failed", "no")
    recorder.record(POD, "Warning", "Failed", "no")
    await recorder.flush()
    recorder.record(POD, "Warning", "Failed", "something else")
    await recorder.flush()
    calls = sent(api)
    assert [method for method, _, _ in calls] == ["POST", "PATCH", "POST"]
    assert calls[1][1]["count"] == 3
    assert calls[1][2] == f"/api/v1/namespaces/ns/events/{calls[0][1]['metadata']['name']}"


async def test_an_event_that_the_server_forgot_is_made_again(api, client, kube_status):
    api.answers = [(201, {}), (404, kube_status(404, "NotFound", "gone")), (201, {})]
    recorder = EventRecorder(client, "kubelet")
    for _ in range(2):
        recorder.record(POD, "Normal", "Pulled", "again")
        await recorder.flush()
    assert [method for method, _, _ in sent(api)] == ["POST", "PATCH", "POST"]
    assert sent(api)[2][1]["count"] == 2


async def test_no_trouble_reaches_the_caller(api, client, kube_status, caplog):
    api.answers = [(403, kube_status(403, "Forbidden", "namespace is being deleted"))]
    recorder = EventRecorder(client, "kubelet")
    with caplog.at_level(logging.WARNING, "multinet.kube.recorder"):
        recorder.record(POD, "Normal", "Killing", "x")
        recorder.record({"kind": "Pod"}, "Normal", "Odd", "an object without metadata")
        await recorder.flush()
    texts = [record.getMessage() for record in caplog.records]
    assert any("Odd" in text for text in texts)
    assert any("namespace is being deleted" in text for text in texts)


async def test_cluster_scoped_objects_have_their_events_in_default(api, client):
    api.answers = [(201, {})]
    recorder = EventRecorder(client, "controller")
    recorder.record({"kind": "Node", "metadata": {"name": "n"}}, "Normal", "Ready", "y" * 5000)
    await recorder.flush()
    ((_, event, path),) = sent(api)
    assert path == "/api/v1/namespaces/default/events"
    assert len(event["message"]) == 1024
