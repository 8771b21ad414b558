"""The structure of a Pod as far as people write it: which fields there are and of what type.

Used to name unknown fields and wrong types; what lies deeper (probes, affinity, volume sources) is open.
Source: k8s.io/api ``core/v1/types.go``.
"""

from __future__ import annotations

from multinet.apiserver.schema import Schema
from multinet.apiserver.schema_parts import OPEN, TEXT, fields, list_of, nullable

_NAMED = fields("name")
_PORT = fields("name protocol hostIP", "containerPort hostPort")
_ENV = fields("name value", open_="valueFrom")
_ENV_FROM = fields("prefix", open_="configMapRef secretRef")
_MOUNT = fields("name mountPath subPath mountPropagation subPathExpr recursiveReadOnly", flags="readOnly")
_CONTAINER = fields(
    "name image workingDir restartPolicy terminationMessagePath terminationMessagePolicy imagePullPolicy "
    "targetContainerName",
    flags="stdin stdinOnce tty",
    open_="resources livenessProbe readinessProbe startupProbe lifecycle securityContext",
    command=list_of(TEXT),
    args=list_of(TEXT),
    ports=list_of(_PORT),
    env=list_of(_ENV),
    envFrom=list_of(_ENV_FROM),
    resizePolicy=list_of(OPEN),
    restartPolicyRules=list_of(OPEN),
    volumeMounts=list_of(_MOUNT),
    volumeDevices=list_of(fields("name devicePath")),
)
_TOLERATION = fields("key operator value effect", "tolerationSeconds")
POD_SPEC = fields(
    "restartPolicy dnsPolicy serviceAccountName serviceAccount nodeName hostname subdomain schedulerName "
    "priorityClassName runtimeClassName preemptionPolicy hostnameOverride",
    "terminationGracePeriodSeconds activeDeadlineSeconds priority",
    "automountServiceAccountToken hostNetwork hostPID hostIPC shareProcessNamespace enableServiceLinks "
    "setHostnameAsFQDN hostUsers",
    "securityContext affinity dnsConfig overhead os resources workloadRef schedulingGroup",
    containers=list_of(_CONTAINER),
    initContainers=list_of(_CONTAINER),
    ephemeralContainers=list_of(_CONTAINER),
    volumes=list_of(OPEN),
    nodeSelector={"type": "object", "additionalProperties": TEXT},
    imagePullSecrets=list_of(_NAMED),
    tolerations=list_of(_TOLERATION),
    hostAliases=list_of(fields("ip", hostnames=list_of(TEXT))),
    readinessGates=list_of(fields("conditionType")),
    topologySpreadConstraints=list_of(OPEN),
    schedulingGates=list_of(_NAMED),
    resourceClaims=list_of(OPEN),
)
POD = Schema({"type": "object", "properties": {"spec": POD_SPEC, "status": nullable(OPEN)}})
