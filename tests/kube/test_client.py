"""Requests: paths, bodies, typed errors, and what is tried again."""

from __future__ import annotations

import asyncio
import contextlib

import orjson
import pytest
from aiohttp import web

from multinet.kube.client import Client, MergePatch
from multinet.kube.config import ClusterAccess
from multinet.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from multinet.kube.resources import NADS, NODES, PODS, VIRTUAL_NETWORKS
from multinet.waits import wait_for


async def test_verbs_send_the_paths_and_bodies_of_the_api(api, client):
    api.answers = [(200, {"x": 1})] * 6
    await client.get(NADS, "blue", "ns")
    await client.create(PODS, {"metadata": {"name": "p", "namespace": "ns"}})
    await client.create(PODS, {"metadata": {"name": "p", "namespace": "ns"}}, subresource="binding")
    await client.replace(VIRTUAL_NETWORKS, {"metadata": {"name": "vn"}}, subresource="status")
    await client.patch(PODS, "p", [{"op": "remove", "path": "/a"}], "ns", kind="json")
    await client.delete(PODS, "p", "ns", grace_seconds=0, uid="u", propagation="Background")
    assert [(r[0], r[4]) for r in api.requests] == [
        ("GET", "/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/blue"),
        ("POST", "/api/v1/namespaces/ns/pods"),
        ("POST", "/api/v1/namespaces/ns/pods/p/binding"),
        ("PUT", "/apis/multinet.opencontrail.org/v1alpha1/virtualnetworks/vn/status"),
        ("PATCH", "/api/v1/namespaces/ns/pods/p"),
        ("DELETE", "/api/v1/namespaces/ns/pods/p"),
    ]
    assert {r[2]["Authorization"] for r in api.requests} == {"Bearer secret"}
    assert api.requests[4][2]["Content-Type"] == "application/json-patch+json"
    options = orjson.loads(api.requests[5][3])
    assert options["gracePeriodSeconds"] == 0
    assert options["preconditions"] == {"uid": "u"}
    assert options["propagationPolicy"] == "Background"


async def test_list_fills_in_the_kind_of_items(api, client):
    api.put("a")
    listed = await client.list(PODS, label_selector="a=b", field_selector="spec.nodeName=n")
    assert listed.resource_version == "1"
    assert (listed.items[0]["kind"], listed.items[0]["apiVersion"]) == ("Pod", "v1")
    assert api.requests[0][1] == {"labelSelector": "a=b", "fieldSelector": "spec.nodeName=n"}


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (410, "Gone", GoneError),
        (410, "Expired", GoneError),
        (422, "Invalid", InvalidError),
        (400, "BadRequest", InvalidError),
        (403, "Forbidden", ForbiddenError),
        (401, "Unauthorized", UnauthorizedError),
        (409, "", ConflictError),
        (500, "InternalError", KubeError),
    ],
)
async def test_status_objects_become_typed_errors(api, client, kube_status, code, reason, expected):
    api.answers = [(code, kube_status(code, reason, "it is so"))]
    with pytest.raises(KubeError) as caught:
        await client.get(NODES, "n")
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.reason) == (code, reason)
    assert "it is so" in caught.value.what
    assert caught.value.where == "GET /api/v1/nodes/n"


async def test_a_too_large_resource_version_reads_as_gone(api, client, kube_status):
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    api.answers = [(504, kube_status(504, "Timeout", "wait", causes=causes))]
    with pytest.raises(GoneError):
        await client.list(PODS)


async def test_an_answer_of_something_else_says_so(api, client):
    api.answers = [(502, b"<html>bad gateway</html>"), (200, b"<html>")]
    with pytest.raises(KubeError, match="bad gateway") as caught:
        await client.get(NODES, "n")
    assert caught.value.status == 502
    with pytest.raises(KubeError, match="not JSON"):
        await client.get(NODES, "n")


async def test_a_busy_server_is_asked_again_after_the_time_it_names(api, client, pauses, kube_status):
    api.answers = [(429, kube_status(429, "TooManyRequests", "busy", retryAfterSeconds=1)), (200, {"x": 1})]
    assert await client.create(NODES, {"metadata": {"name": "n"}}) == {"x": 1}
    assert pauses.asked == [("retry of POST /api/v1/nodes: server is busy", 1.0)]


async def test_a_busy_server_is_not_asked_for_ever(api, client, pauses, kube_status):
    api.answers = [(429, kube_status(429, "TooManyRequests", "busy"))] * 9
    with pytest.raises(KubeError) as caught:
        await client.get(NODES, "n")
    assert caught.value.status == 429
    assert len(api.requests) == 4


async def test_refused_connections_are_retried_for_idempotent_requests_only(api, client, pauses):
    await api.stop()
    with pytest.raises(UnreachableError) as caught:
        await client.get(NODES, "n")
    assert caught.value.refused
    assert [seconds for _, seconds in pauses.asked] == [0.05, 0.1, 0.2, 0.4]
    pauses.asked.clear()
    with pytest.raises(UnreachableError):
        await client.create(NODES, {"metadata": {"name": "n"}})
    assert pauses.asked == []


async def test_a_server_that_comes_back_meanwhile_is_reached(api, pauses):
    await api.stop()

    async def restart(name, seconds):
        await api.start()

    async with Client(api.access, wait=restart) as client:
        assert (await client.list(PODS)).items == []


async def test_a_broken_connection_is_an_unreachable_error(api, client):
    api.answers = [(0, b"")]
    with pytest.raises(UnreachableError) as caught:
        await client.create(NODES, {"metadata": {"name": "n"}})
    assert not caught.value.refused
    assert "lost the connection" in caught.value.what


async def test_a_slow_answer_ends_at_the_time_out(api):
    async with Client(api.access, timeout_s=0.05) as client:
        # The watch handler without a watch limit: asked through get_path, it never ends its answer.
        with pytest.raises(UnreachableError):
            await client.get_path("/api/v1/pods?watch=1&resourceVersion=0&timeoutSeconds=60")


async def test_a_closed_client_says_so(api):
    client = Client(api.access)
    with pytest.raises(UnreachableError, match="closed"):
        await client.list(PODS)


async def test_names_cannot_leave_their_place_in_the_path(api, client):
    api.answers = [(200, {})]
    await client.get(PODS, "../../nodes/n", "ns")
    assert api.requests[0][4] == "/api/v1/namespaces/ns/pods/..%2F..%2Fnodes%2Fn"
    with pytest.raises(ValueError, match="needs a name and a namespace"):
        await client.get(PODS, "p")


async def test_watch_yields_events_and_ends_when_the_server_ends_it(api, client, make_pod):
    api.put("a")
    api.put("b")
    async with contextlib.aclosing(client.watch(PODS, resource_version="1", timeout_s=60)) as events:
        event = await anext(events)
        assert (event.type, event.object["metadata"]["name"]) == ("ADDED", "b")
        await api.stop()
        assert [e async for e in events] == []
    assert api.watches()[0][1] == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "1",
        "timeoutSeconds": "60",
    }


async def test_wrong_scheme_or_nobody_there_names_the_server():
    access = ClusterAccess(server="http://127.0.0.1:1")

    async def at_once(name, seconds):
        return None

    async with Client(access, wait=at_once) as client:
        with pytest.raises(UnreachableError, match="can't connect to http:"):
            await client.list(PODS)


async def test_objects_are_created_together_where_the_api_takes_bundles(api, client, kube_status):
    refusal = kube_status(409, "AlreadyExists", "it is there")
    api.answers = [
        (201, {"status": {"created": 2}}),
        (201, {"status": {"created": 1, "failure": refusal}}),
        (201, {"kind": "Thing"}),
        (404, kube_status(404, "NotFound", "no such resource")),
    ]
    objects = [{"kind": "A"}, {"kind": "B"}]
    patch = MergePatch(PODS, "p", "ns", {"metadata": {"labels": None}}, "status")
    assert await client.create_together(objects)
    assert orjson.loads(api.requests[0][3])["spec"] == {"objects": objects}
    with pytest.raises(AlreadyExistsError, match="it is there"):
        await client.create_together(objects)
    with pytest.raises(KubeError, match="no Bundle"):
        await client.create_together(objects)
    # An API without them is asked once.
    assert not await client.patch_together([patch])
    assert orjson.loads(api.requests[3][3])["spec"] == {"patches": [patch.to_spec()]}
    assert not await client.patch_together([patch])
    assert not await client.create_together(objects)
    assert len(api.requests) == 4


async def test_renewing_ends_pauses_and_what_is_under_way(api, client):
    asked = asyncio.Event()

    async def say_nothing_more(request):
        await web.StreamResponse().prepare(request)
        asked.set()
        await asyncio.Event().wait()

    api.on_watch = say_nothing_more

    async def watch():
        async for _ in client.watch(PODS, resource_version="1"):
            pass

    waiting = asyncio.create_task(watch())
    pausing = asyncio.create_task(client.pause("a long back-off", 3600))
    await wait_for("the watch", asked.wait(), 30)
    await client.renew()
    await wait_for("the end of the pause", pausing, 30)
    with pytest.raises(UnreachableError):
        await wait_for("the end of the watch", waiting, 30)
    assert (await client.list(PODS)).items == []
