"""The structure of a Pod as far as people write it: which fields there are and of what type.

Used to name unknown fields and wrong types; what lies deeper (probes, affinity, volume sources) is open.
Source: k8s.io/api ``core/v1/types.go``.
"""

from __future__ import annotations

from multinet.apiserver.schema import Schema
from multinet.model.objects import Obj

_OPEN: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: Obj = {"type": "string"}
_NUMBER: Obj = {"type": "integer"}
_FLAG: Obj = {"type": "boolean"}


def _nullable(schema: Obj) -> Obj:
    """Allow null, which Kubernetes reads as absent."""
    return {**schema, "nullable": True}


def _list(item: Obj) -> Obj:
    return {"type": "array", "items": item}


def _fields(text: str = "", numbers: str = "", flags: str = "", open_: str = "", **others: Obj) -> Obj:
    """Build an object schema from blank-separated names by type."""
    properties: Obj = {}
    for names, schema in ((text, _TEXT), (numbers, _NUMBER), (flags, _FLAG), (open_, _OPEN)):
        properties.update({name: _nullable(schema) for name in names.split()})
    properties.update({name: _nullable(schema) for name, schema in others.items()})
    return {"type": "object", "properties": properties}


_NAMED = _fields("name")
_PORT = _fields("name protocol hostIP", "containerPort hostPort")
_ENV = _fields("name value", open_="valueFrom")
_ENV_FROM = _fields("prefix", open_="configMapRef secretRef")
_MOUNT = _fields("name mountPath subPath mountPropagation subPathExpr recursiveReadOnly", flags="readOnly")
_CONTAINER = _fields(
    "name image workingDir restartPolicy terminationMessagePath terminationMessagePolicy imagePullPolicy "
    "targetContainerName",
    flags="stdin stdinOnce tty",
    open_="resources livenessProbe readinessProbe startupProbe lifecycle securityContext",
    command=_list(_TEXT),
    args=_list(_TEXT),
    ports=_list(_PORT),
    env=_list(_ENV),
    envFrom=_list(_ENV_FROM),
    resizePolicy=_list(_OPEN),
    restartPolicyRules=_list(_OPEN),
    volumeMounts=_list(_MOUNT),
    volumeDevices=_list(_fields("name devicePath")),
)
_TOLERATION = _fields("key operator value effect", "tolerationSeconds")
_SPEC = _fields(
    "restartPolicy dnsPolicy serviceAccountName serviceAccount nodeName hostname subdomain schedulerName "
    "priorityClassName runtimeClassName preemptionPolicy hostnameOverride",
    "terminationGracePeriodSeconds activeDeadlineSeconds priority",
    "automountServiceAccountToken hostNetwork hostPID hostIPC shareProcessNamespace enableServiceLinks "
    "setHostnameAsFQDN hostUsers",
    "securityContext affinity dnsConfig overhead os resources workloadRef schedulingGroup",
    containers=_list(_CONTAINER),
    initContainers=_list(_CONTAINER),
    ephemeralContainers=_list(_CONTAINER),
    volumes=_list(_OPEN),
    nodeSelector={"type": "object", "additionalProperties": _TEXT},
    imagePullSecrets=_list(_NAMED),
    tolerations=_list(_TOLERATION),
    hostAliases=_list(_fields("ip", hostnames=_list(_TEXT))),
    readinessGates=_list(_fields("conditionType")),
    topologySpreadConstraints=_list(_OPEN),
    schedulingGates=_list(_NAMED),
    resourceClaims=_list(_OPEN),
)
POD = Schema({"type": "object", "properties": {"spec": _SPEC, "status": _nullable(_OPEN)}})
