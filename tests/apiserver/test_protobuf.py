"""Bodies as client-go sent them for objects of this API, and times and quantities, which it has none of."""

from __future__ import annotations

import base64
import json

import pytest

from multinet.apiserver.errors import StatusError
from multinet.apiserver.protobuf import MEDIA_TYPE, decode

EVENT = """
azhzAAoLCgJ2MRIFRXZlbnQS7AEKLAoWcG9kLTEuMThlYmQ0MmZiMTQwNmQxMxIAGgZjYXNlLTEiACoAMgA4AEIAEkQKA1BvZBIG
Y2FzZS0xGgVwb2QtMSIkNGM5NzJkNTMtYWQxNC00MGNlLThjNTAtN2UwOGY0YzA1MTMwKgJ2MTICMjk6ABoOQWRkZWRJbnRlcmZh
Y2UiLkFkZCBuZXQxIFsxMC4yMjQuMjAzLjE4NS8yNF0gZnJvbSBjYXNlLTEvbmV0LWEqCgoGbXVsdHVzEgAyCAiB0KTYBhAAOggI
gdCk2AYQAEABSgZOb3JtYWxSAGIAcgZtdWx0dXN6ABoAIgA=
"""
POD = """
azhzAAoJCgJ2MRIDUG9kEtMGCtQDCgVwb2QtMRIAGgZjYXNlLTEiACokNGM5NzJkNTMtYWQxNC00MGNlLThjNTAtN2UwOGY0YzA1
MTMwMgIyOTgBQggIgdCk2AYQAGLiAgohazhzLnYxLmNuaS5jbmNmLmlvL25ldHdvcmstc3RhdHVzErwCW3sKICAgICJuYW1lIjog
ImRlZmF1bHQtbmV0IiwKICAgICJpbnRlcmZhY2UiOiAiZXRoMCIsCiAgICAiaXBzIjogWwogICAgICAgICIxMC40OC4xOTguMjQ5
IgogICAgXSwKICAgICJtYWMiOiAiMDI6MDA6MzA6YzY6Zjg6MTciLAogICAgImRlZmF1bHQiOiB0cnVlLAogICAgImRucyI6IHt9
Cn0sewogICAgIm5hbWUiOiAiY2FzZS0xL25ldC1hIiwKICAgICJpbnRlcmZhY2UiOiAibmV0MSIsCiAgICAiaXBzIjogWwogICAg
ICAgICIxMC4yMjQuMjAzLjE4NSIKICAgIF0sCiAgICAibWFjIjogIjAyOjAwOmUwOmNiOmI5OmY4IiwKICAgICJkbnMiOiB7fQp9
XWIkChtrOHMudjEuY25pLmNuY2YuaW8vbmV0d29ya3MSBW5ldC1hEqcCEj4KBGlkbGUSBGlkbGUqAEIAahQvZGV2L3Rlcm1pbmF0
aW9uLWxvZ3IGQWx3YXlzgAEAiAEAkAEAogEERmlsZRoGQWx3YXlzIB4yDENsdXN0ZXJGaXJzdEIHZGVmYXVsdEoHZGVmYXVsdFIF
bm9kZTFYAGAAaAByAIIBAIoBAJoBEWRlZmF1bHQtc2NoZWR1bGVysgE2Chxub2RlLmt1YmVybmV0ZXMuaW8vbm90LXJlYWR5EgZF
eGlzdHMaACIJTm9FeGVjdXRlKKwCsgE4Ch5ub2RlLmt1YmVybmV0ZXMuaW8vdW5yZWFjaGFibGUSBkV4aXN0cxoAIglOb0V4ZWN1
dGUorALCAQDIAQDwAQH6ARRQcmVlbXB0TG93ZXJQcmlvcml0eRpQCgdQZW5kaW5nEiAKBVJlYWR5EgVGYWxzZRoAIggIpevcygYQ
ACoAMgA4ABoAIgAqADIAOggIpevcygYQAEoKQmVzdEVmZm9ydFoAcgCIAQAaACIA
"""


def test_an_event_as_client_go_sends_it():
    event = decode(base64.b64decode(EVENT))
    assert event["involvedObject"]["name"] == "pod-1"
    assert event["source"] == {"component": "multus"}
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-11-27T06:49:37Z"
    assert (event["reason"], event["count"], event["type"]) == ("AddedInterface", 1, "Normal")
    assert not {"eventTime", "series", "related", "reportingInstance"} & event.keys()


def test_a_pods_status_as_client_go_sends_it():
    pod = decode(base64.b64decode(POD))
    networks = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    assert [entry["interface"] for entry in networks] == ["eth0", "net1"]
    assert pod["status"] == {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        "startTime": "2026-01-02T03:04:05Z",
        "qosClass": "BestEffort",
    }
    assert pod["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert pod["spec"]["tolerations"][0]["tolerationSeconds"] == 300


async def test_an_event_is_stored_as_one_sent_as_json(api):
    await api.post("/api/v1/namespaces", {"metadata": {"name": "case-1"}})
    path = "/api/v1/namespaces/case-1/events"
    answer = await api.call("POST", path, base64.b64decode(EVENT), Content_Type=MEDIA_TYPE)
    assert (answer.status, answer.body["reason"]) == (201, "AddedInterface")
    assert [one["type"] for one in (await api.get(path)).body["items"]] == ["Normal"]


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return bytes([number << 3, content])
    assert len(content) < 128
    tag = number << 3 | 2
    return bytes([tag, len(content)] if tag < 128 else [tag & 127 | 128, tag >> 7, len(content)]) + content


def enveloped(kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, raw)


def test_quantities_volumes_and_references_are_nested_as_in_json():
    limits = field(1, field(1, b"cpu") + field(2, field(1, b"100m")))
    reference = field(3, field(1, field(1, b"map")) + field(2, b"key"))
    env = field(7, field(1, b"A") + field(2, b"") + field(3, reference))
    volume = field(1, field(1, b"v") + field(2, field(2, field(1, b"Memory") + field(2, field(1, b"1Mi")))))
    container = field(2, field(1, b"c") + env + field(8, limits))
    assert decode(enveloped("Pod", field(2, volume + container)))["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "containers": [
            {
                "name": "c",
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "key"}}}],
                "resources": {"limits": {"cpu": "100m"}},
            }
        ],
    }


def test_a_time_has_its_microseconds_where_the_kind_has_them():
    moment = field(1, 90) + field(2, 100)
    event = decode(enveloped("Event", field(6, moment) + field(10, moment)))
    assert event["firstTimestamp"] == "1970-01-01T00:01:30Z"
    assert event["eventTime"] == "1970-01-01T00:01:30.000000Z"


def test_numbers_have_64_bits_at_most():
    pod = b"k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod"
    for number in (b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\xff" * 1_000_000):
        raw = b"\x0a" + bytes([len(number) + 1]) + b"\x38" + number if len(number) < 99 else number
        body = pod + b"\x12" + bytes([len(raw)]) + raw if len(raw) < 99 else pod + raw
        with pytest.raises(StatusError, match="more than 64 bits"):
            decode(body)
    # -1 is the largest of them.
    raw = b"\x0a\x0b\x38" + b"\xff" * 9 + b"\x01"
    assert decode(pod + b"\x12" + bytes([len(raw)]) + raw)["metadata"]["generation"] == -1
