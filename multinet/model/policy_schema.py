"""The structure of NetworkPolicySpec (networking.k8s.io/v1), which MultiNetworkPolicy shares."""

from __future__ import annotations

from multinet.model.objects import Obj

_STRING: Obj = {"type": "string", "nullable": True}
_STRINGS: Obj = {"type": "array", "items": {"type": "string"}, "nullable": True}
_PORT_NUMBER: Obj = {"type": "integer", "format": "int32", "nullable": True}


def _object(**properties: Obj) -> Obj:
    return {"type": "object", "properties": properties, "nullable": True}


def _list(items: Obj) -> Obj:
    return {"type": "array", "items": {**items, "nullable": False}, "nullable": True}


_LABELS: Obj = {"type": "object", "additionalProperties": {"type": "string"}, "nullable": True}
_SELECTOR = _object(
    matchLabels=_LABELS,
    matchExpressions=_list(_object(key=_STRING, operator=_STRING, values=_STRINGS)),
)
_PEER = _object(
    podSelector=_SELECTOR,
    namespaceSelector=_SELECTOR,
    ipBlock=_object(cidr=_STRING, **{"except": _STRINGS}),
)
_PORT = _object(
    protocol=_STRING,
    port={"x-kubernetes-int-or-string": True, "nullable": True},
    endPort=_PORT_NUMBER,
)
SPEC: Obj = {
    "type": "object",
    "properties": {
        "podSelector": _SELECTOR,
        "policyTypes": _STRINGS,
        "ingress": _list(_object(ports=_list(_PORT), **{"from": _list(_PEER)})),
        "egress": _list(_object(ports=_list(_PORT), to=_list(_PEER))),
    },
}
