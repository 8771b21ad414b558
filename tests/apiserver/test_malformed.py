"""Bodies of another shape than the kind's: the client's fault, told as such, never a broken server."""

from __future__ import annotations

import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CORE = "/api/v1/namespaces/default"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "media"),
    [
        ("POST", f"{CORE}/secrets", {"metadata": {"name": "a"}, "stringData": {"a": 5}}, ""),
        ("POST", f"{CORE}/secrets", {"metadata": {"name": "a"}, "stringData": 5}, ""),
        ("POST", f"{CORE}/services", {"metadata": {"name": "a"}, "spec": 5}, ""),
        ("POST", f"{CORE}/services", {"metadata": {"name": "a"}, "spec": {"ports": [5]}}, ""),
        ("POST", CRDS, {"metadata": {"name": "a.b"}, "spec": 5}, ""),
        ("POST", CRDS, {"metadata": {"name": "a.b"}, "spec": {"names": 5}}, ""),
        ("POST", CRDS, {"metadata": {"name": "a.b"}, "spec": {"versions": [5]}}, ""),
        ("POST", f"{CORE}/pods/x/binding", {"target": 5}, ""),
        ("DELETE", f"{CORE}/configmaps/kube-root-ca.crt", {"preconditions": 5}, ""),
        ("PATCH", CORE, {"metadata": {"$retainKeys": 5}}, STRATEGIC),
        ("PATCH", CORE, {"metadata": {"$setElementOrder/finalizers": 5}}, STRATEGIC),
    ],
)
async def test_a_body_of_another_shape_is_a_bad_request(api, method, path, body, media):
    answer = await api.call(method, path, body, Content_Type=media or "application/json")
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert "cannot unmarshal 5 into" in answer.body["message"]
