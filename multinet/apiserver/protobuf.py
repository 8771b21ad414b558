r"""Kubernetes protobuf, for reading only, and only what kubectl's typed commands and CNI plugins send.

``kubectl create namespace|configmap|secret|serviceaccount|service|deployment|job``, ``kubectl drain`` and
``kubectl auth`` encode their bodies so and know no other way; plugins built on client-go write pods'
statuses and Events so. The fields are data: a message is a table of field numbers. Answers stay JSON, which
all of them accept.

Source: k8s.io/apimachinery ``runtime/generated.proto`` (the ``k8s\0`` envelope) and the ``generated.proto``
of the kinds below. Unknown fields are refused rather than lost.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from multinet.apiserver.errors import bad_request, unsupported_media
from multinet.apiserver.protobuf_fields import METADATA, STATUS, Field, Message, part, strings
from multinet.apiserver.protobuf_pods import EVENT, POD, REFERENCE
from multinet.apiserver.protobuf_workloads import WORKLOADS
from multinet.model.objects import Obj

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
# The shift of a number's tenth and last byte.
_WIDEST = 63


_PORT: Message = {
    1: Field("name"),
    2: Field("protocol"),
    3: Field("port", "int"),
    4: Field("targetPort", "int-or-string"),
    5: Field("nodePort", "plain-int"),
    6: Field("appProtocol"),
}
_SERVICE_SPEC: Message = {
    1: part("ports", _PORT, repeated=True),
    2: Field("selector", "map"),
    3: Field("clusterIP"),
    4: Field("type"),
    5: Field("externalIPs", repeated=True),
    7: Field("sessionAffinity"),
    8: Field("loadBalancerIP"),
    9: Field("loadBalancerSourceRanges", repeated=True),
    10: Field("externalName"),
    11: Field("externalTrafficPolicy"),
    12: Field("healthCheckNodePort", "plain-int"),
    13: Field("publishNotReadyAddresses", "plain-bool"),
    14: part("sessionAffinityConfig", {1: part("clientIP", {1: Field("timeoutSeconds", "int")})}),
    17: Field("ipFamilyPolicy"),
    18: Field("clusterIPs", repeated=True),
    19: Field("ipFamilies", repeated=True),
    20: Field("allocateLoadBalancerNodePorts", "bool"),
    21: Field("loadBalancerClass"),
    22: Field("internalTrafficPolicy"),
    23: Field("trafficDistribution"),
}
_ACCESS_SPEC: Message = {
    1: part(
        "resourceAttributes",
        {
            **strings("namespace", "verb", "group", "version", "resource", "subresource", "name"),
            8: Field("fieldSelector", "skip"),
            9: Field("labelSelector", "skip"),
        },
    ),
    2: part("nonResourceAttributes", strings("path", "verb")),
}
_DELETE_OPTIONS: Message = {
    1: Field("gracePeriodSeconds", "int"),
    2: part("preconditions", strings("uid", "resourceVersion")),
    3: Field("orphanDependents", "bool"),
    4: Field("propagationPolicy"),
    5: Field("dryRun", repeated=True),
}
KINDS: Mapping[str, Message] = {
    "Namespace": {1: METADATA, 2: part("spec", {1: Field("finalizers", repeated=True)}), 3: STATUS},
    "ConfigMap": {
        1: METADATA,
        2: Field("data", "map"),
        3: Field("binaryData", "bytes-map"),
        4: Field("immutable", "bool"),
    },
    "Secret": {
        1: METADATA,
        2: Field("data", "bytes-map"),
        3: Field("type"),
        4: Field("stringData", "map"),
        5: Field("immutable", "bool"),
    },
    "ServiceAccount": {
        1: METADATA,
        2: part("secrets", REFERENCE, repeated=True),
        3: part("imagePullSecrets", strings("name"), repeated=True),
        4: Field("automountServiceAccountToken", "bool"),
    },
    "Service": {1: METADATA, 2: part("spec", _SERVICE_SPEC), 3: STATUS},
    "SelfSubjectAccessReview": {1: METADATA, 2: part("spec", _ACCESS_SPEC), 3: STATUS},
    "SelfSubjectRulesReview": {1: METADATA, 2: part("spec", strings("namespace")), 3: STATUS},
    "SelfSubjectReview": {1: METADATA, 2: STATUS},
    "Pod": POD,
    "Event": EVENT,
    "DeleteOptions": _DELETE_OPTIONS,
    "Eviction": {1: METADATA, 2: part("deleteOptions", _DELETE_OPTIONS)},
    **WORKLOADS,
}
_ENVELOPE: Message = {
    1: part("typeMeta", strings("apiVersion", "kind")),
    2: Field("raw", "bytes"),
    3: Field("contentEncoding"),
    4: Field("contentType"),
}


def decode(body: bytes) -> Obj:
    """Return the object in an enveloped body; 415 for a kind not in the table, 400 for a broken one."""
    if not body.startswith(_MAGIC):
        raise bad_request("the body is no Kubernetes protobuf: it lacks the k8s prefix")
    try:
        envelope = _message(body[len(_MAGIC) :], _ENVELOPE)
        kind = envelope.get("typeMeta", {}).get("kind", "")
        if kind not in KINDS:
            raise unsupported_media(f"{MEDIA_TYPE} of kind {kind}", ["application/json", "application/yaml"])
        obj = _message(envelope.get("raw", b""), KINDS[kind])
    except (IndexError, UnicodeDecodeError, KeyError) as error:
        raise bad_request(f"the protobuf body can't be read: {error!r}") from error
    obj.update(envelope["typeMeta"])
    return obj


def _message(data: bytes, message: Message) -> Obj:
    tree: Obj = {}
    for number, raw in _fields(data):
        known = message.get(number)
        if known is None:
            raise bad_request(f"the protobuf body has field {number}, which this server doesn't know")
        _put(tree, known, raw)
    return tree


def _put(tree: Obj, known: Field, raw: int | bytes) -> None:
    if known.kind == "skip":
        return
    if isinstance(raw, int) != known.kind.endswith(("int", "bool")):
        raise bad_request(f"the protobuf body has field {known.name} in the wrong wire type")
    if known.kind == "inline":
        tree.update(_message(_bytes(raw), known.message))
        return
    if known.kind.endswith("map"):
        entry = _message(_bytes(raw), {1: Field("key"), 2: Field("value", "bytes")})
        tree.setdefault(known.name, {})[entry.get("key", "")] = _map_value(known, entry.get("value", b""))
        return
    value = _value(known, raw)
    if known.repeated:
        tree.setdefault(known.name, []).append(value)
    elif value not in ("", b"") and not (known.kind.startswith("plain-") and not value):
        # Required strings are sent empty where JSON leaves them out.
        tree[known.name] = value


def _map_value(known: Field, value: bytes) -> str:
    if known.kind == "bytes-map":
        return base64.b64encode(value).decode()
    return _text(value) if known.kind == "quantity-map" else value.decode()


def _text(quantity: bytes) -> str:
    text: str = _message(quantity, strings("string")).get("string", "")
    return text


def _time(data: bytes, *, micro: bool) -> str:
    """RFC 3339; nothing for the zero time, which Go sends as an empty message."""
    parts = _message(data, {1: Field("seconds", "int"), 2: Field("nanos", "int")})
    if not parts:
        return ""
    try:
        moment = datetime.fromtimestamp(parts.get("seconds", 0), UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise bad_request(f"the protobuf body has an impossible time: {error}") from error
    fraction = f".{parts.get('nanos', 0) // 1000:06}" if micro else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _value(known: Field, raw: int | bytes) -> Any:
    if isinstance(raw, int):
        return bool(raw) if known.kind.endswith("bool") else raw
    if known.kind == "message":
        return _message(raw, known.message)
    if known.kind == "int-or-string":
        parts = _message(raw, {1: Field("type", "int"), 2: Field("int", "int"), 3: Field("str")})
        return parts.get("str", "") if parts.get("type") else parts.get("int", 0)
    if known.kind in ("time", "micro-time"):
        return _time(raw, micro=known.kind == "micro-time")
    if known.kind == "quantity":
        return _text(raw)
    return raw if known.kind == "bytes" else raw.decode()


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise bad_request("the protobuf body has a number where a message belongs")
    return raw


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value): varints as signed 64-bit numbers, the rest as bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value - (1 << 64) if value >> 63 else value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise bad_request(f"the protobuf body has wire type {wire}")
        if position + size > len(data):
            raise bad_request("the protobuf body ends in the middle of a field")
        yield tag >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value >> 64 == 0:
            return value, position
        if shift >= _WIDEST:
            raise bad_request("the protobuf body has a number of more than 64 bits")
        shift += 7
