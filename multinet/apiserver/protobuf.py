r"""Kubernetes protobuf, for reading only, and only what kubectl's typed commands send.

``kubectl create namespace|configmap|secret|serviceaccount|service`` and ``kubectl auth`` encode their bodies
so and know no other way. The fields are data: a message is a table of field numbers. Answers stay JSON, which
those commands accept.

Source: k8s.io/apimachinery ``runtime/generated.proto`` (the ``k8s\0`` envelope) and the ``generated.proto``
of the kinds below. Unknown fields are refused rather than lost.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from multinet.apiserver.errors import bad_request, unsupported_media
from multinet.model.objects import Obj

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


@dataclass(frozen=True, slots=True)
class _Field:
    """``kind``: str, int, bool, bytes, message, map (of str), bytes-map, int-or-string or skip.

    ``plain-int`` and ``plain-bool`` aren't optional in Go: their zero is always sent and means nothing.
    """

    name: str
    kind: str = "str"
    repeated: bool = False
    message: Mapping[int, _Field] = field(default_factory=dict)


_Message = Mapping[int, _Field]


def _part(name: str, message: _Message, *, repeated: bool = False) -> _Field:
    return _Field(name, "message", repeated, message)


def _strings(*names: str) -> dict[int, _Field]:
    return {number: _Field(name) for number, name in enumerate(names, 1)}


_OWNER: _Message = {
    1: _Field("kind"),
    3: _Field("name"),
    4: _Field("uid"),
    5: _Field("apiVersion"),
    6: _Field("controller", "bool"),
    7: _Field("blockOwnerDeletion", "bool"),
}
_META: _Message = {
    **_strings("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
    7: _Field("generation", "int"),
    8: _Field("creationTimestamp", "skip"),
    9: _Field("deletionTimestamp", "skip"),
    10: _Field("deletionGracePeriodSeconds", "int"),
    11: _Field("labels", "map"),
    12: _Field("annotations", "map"),
    13: _part("ownerReferences", _OWNER, repeated=True),
    14: _Field("finalizers", repeated=True),
    17: _Field("managedFields", "skip"),
}
_METADATA = _part("metadata", _META)
_REFERENCE = _strings("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_PORT: _Message = {
    1: _Field("name"),
    2: _Field("protocol"),
    3: _Field("port", "int"),
    4: _Field("targetPort", "int-or-string"),
    5: _Field("nodePort", "plain-int"),
    6: _Field("appProtocol"),
}
_SERVICE_SPEC: _Message = {
    1: _part("ports", _PORT, repeated=True),
    2: _Field("selector", "map"),
    3: _Field("clusterIP"),
    4: _Field("type"),
    5: _Field("externalIPs", repeated=True),
    7: _Field("sessionAffinity"),
    8: _Field("loadBalancerIP"),
    9: _Field("loadBalancerSourceRanges", repeated=True),
    10: _Field("externalName"),
    11: _Field("externalTrafficPolicy"),
    12: _Field("healthCheckNodePort", "plain-int"),
    13: _Field("publishNotReadyAddresses", "plain-bool"),
    14: _part("sessionAffinityConfig", {1: _part("clientIP", {1: _Field("timeoutSeconds", "int")})}),
    17: _Field("ipFamilyPolicy"),
    18: _Field("clusterIPs", repeated=True),
    19: _Field("ipFamilies", repeated=True),
    20: _Field("allocateLoadBalancerNodePorts", "bool"),
    21: _Field("loadBalancerClass"),
    22: _Field("internalTrafficPolicy"),
    23: _Field("trafficDistribution"),
}
_ACCESS_SPEC: _Message = {
    1: _part(
        "resourceAttributes",
        {
            **_strings("namespace", "verb", "group", "version", "resource", "subresource", "name"),
            8: _Field("fieldSelector", "skip"),
            9: _Field("labelSelector", "skip"),
        },
    ),
    2: _part("nonResourceAttributes", _strings("path", "verb")),
}
_STATUS = _Field("status", "skip")
_KINDS: Mapping[str, _Message] = {
    "Namespace": {1: _METADATA, 2: _part("spec", {1: _Field("finalizers", repeated=True)}), 3: _STATUS},
    "ConfigMap": {
        1: _METADATA,
        2: _Field("data", "map"),
        3: _Field("binaryData", "bytes-map"),
        4: _Field("immutable", "bool"),
    },
    "Secret": {
        1: _METADATA,
        2: _Field("data", "bytes-map"),
        3: _Field("type"),
        4: _Field("stringData", "map"),
        5: _Field("immutable", "bool"),
    },
    "ServiceAccount": {
        1: _METADATA,
        2: _part("secrets", _REFERENCE, repeated=True),
        3: _part("imagePullSecrets", _strings("name"), repeated=True),
        4: _Field("automountServiceAccountToken", "bool"),
    },
    "Service": {1: _METADATA, 2: _part("spec", _SERVICE_SPEC), 3: _STATUS},
    "SelfSubjectAccessReview": {1: _METADATA, 2: _part("spec", _ACCESS_SPEC), 3: _STATUS},
    "SelfSubjectRulesReview": {1: _METADATA, 2: _part("spec", _strings("namespace")), 3: _STATUS},
    "SelfSubjectReview": {1: _METADATA, 2: _STATUS},
    "DeleteOptions": {
        1: _Field("gracePeriodSeconds", "int"),
        2: _part("preconditions", _strings("uid", "resourceVersion")),
        3: _Field("orphanDependents", "bool"),
        4: _Field("propagationPolicy"),
        5: _Field("dryRun", repeated=True),
    },
}
_ENVELOPE: _Message = {
    1: _part("typeMeta", _strings("apiVersion", "kind")),
    2: _Field("raw", "bytes"),
    3: _Field("contentEncoding"),
    4: _Field("contentType"),
}


def decode(body: bytes) -> Obj:
    """Return the object in an enveloped body; 415 for a kind not in the table, 400 for a broken one."""
    if not body.startswith(_MAGIC):
        raise bad_request("the body is no Kubernetes protobuf: it lacks the k8s prefix")
    try:
        envelope = _message(body[len(_MAGIC) :], _ENVELOPE)
        kind = envelope.get("typeMeta", {}).get("kind", "")
        if kind not in _KINDS:
            raise unsupported_media(f"{MEDIA_TYPE} of kind {kind}", ["application/json", "application/yaml"])
        obj = _message(envelope.get("raw", b""), _KINDS[kind])
    except (IndexError, UnicodeDecodeError, KeyError) as error:
        raise bad_request(f"the protobuf body can't be read: {error!r}") from error
    obj.update(envelope["typeMeta"])
    return obj


def _message(data: bytes, message: _Message) -> Obj:
    tree: Obj = {}
    for number, raw in _fields(data):
        known = message.get(number)
        if known is None:
            raise bad_request(f"the protobuf body has field {number}, which this server doesn't know")
        _put(tree, known, raw)
    return tree


def _put(tree: Obj, known: _Field, raw: int | bytes) -> None:
    if known.kind == "skip":
        return
    if isinstance(raw, int) != known.kind.endswith(("int", "bool")):
        raise bad_request(f"the protobuf body has field {known.name} in the wrong wire type")
    if known.kind in ("map", "bytes-map"):
        entry = _message(_bytes(raw), {1: _Field("key"), 2: _Field("value", "bytes")})
        value = entry.get("value", b"")
        text = base64.b64encode(value).decode() if known.kind == "bytes-map" else value.decode()
        tree.setdefault(known.name, {})[entry.get("key", "")] = text
        return
    value = _value(known, raw)
    if known.repeated:
        tree.setdefault(known.name, []).append(value)
    elif value not in ("", b"") and not (known.kind.startswith("plain-") and not value):
        # Required strings are sent empty where JSON leaves them out.
        tree[known.name] = value


def _value(known: _Field, raw: int | bytes) -> Any:
    if isinstance(raw, int):
        return bool(raw) if known.kind.endswith("bool") else raw
    if known.kind == "message":
        return _message(raw, known.message)
    if known.kind == "int-or-string":
        parts = _message(raw, {1: _Field("type", "int"), 2: _Field("int", "int"), 3: _Field("str")})
        return parts.get("str", "") if parts.get("type") else parts.get("int", 0)
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
        if byte < 0x80:
            return value, position
        shift += 7
