"""The structure of a Pod as far as people write it: which fields there are and of what type.

Used to name unknown fields and wrong types. Deeper down (probes, volume sources, the status) fields that are
read somewhere have their types, and others are kept as they are.
Source: k8s.io/api ``core/v1/types.go``.
"""

from __future__ import annotations

from multinet.apiserver.schema import Schema
from multinet.apiserver.schema_parts import INT_OR_STRING, OPEN, TEXT, TIME, fields, list_of, nullable, opened

_NAMED = fields("name")
_QUANTITIES = {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}
_KEY = opened("name key", "", "optional")
_FIELD = opened("fieldPath apiVersion")
_RESOURCE = opened("containerName resource", divisor=INT_OR_STRING)
_VALUE_FROM = opened(fieldRef=_FIELD, resourceFieldRef=_RESOURCE, configMapKeyRef=_KEY, secretKeyRef=_KEY)
_WORDS = opened(command=list_of(TEXT))
_HTTP = opened("path host scheme", port=INT_OR_STRING, httpHeaders=list_of(opened("name value")))
_HANDLERS = {
    "exec": _WORDS,
    "httpGet": _HTTP,
    "tcpSocket": opened("host", port=INT_OR_STRING),
    "sleep": opened("", "seconds"),
}
_PROBE = opened(
    "",
    "initialDelaySeconds periodSeconds timeoutSeconds failureThreshold successThreshold "
    "terminationGracePeriodSeconds",
    **_HANDLERS,
)
_HOOK = opened(**_HANDLERS)
_PORT = fields("name protocol hostIP", "containerPort hostPort")
_ENV = fields("name value", valueFrom=_VALUE_FROM)
_SOURCE = opened("name", "", "optional")
_ENV_FROM = fields("prefix", configMapRef=_SOURCE, secretRef=_SOURCE)
_MOUNT = fields("name mountPath subPath mountPropagation subPathExpr recursiveReadOnly", flags="readOnly")
_CONTAINER = fields(
    "name image workingDir restartPolicy terminationMessagePath terminationMessagePolicy imagePullPolicy "
    "targetContainerName",
    flags="stdin stdinOnce tty",
    open_="securityContext",
    resources=opened(limits=_QUANTITIES, requests=_QUANTITIES),
    livenessProbe=_PROBE,
    readinessProbe=_PROBE,
    startupProbe=_PROBE,
    lifecycle=opened("stopSignal", postStart=_HOOK, preStop=_HOOK),
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
_ITEMS = list_of(opened("key path", "mode", fieldRef=_FIELD, resourceFieldRef=_RESOURCE))
_FILES = opened("name secretName", "defaultMode", "optional", items=_ITEMS)
_SOURCES = {"configMap": _FILES, "secret": _FILES, "downwardAPI": _FILES}
_VOLUME = opened(
    "name",
    emptyDir=OPEN,
    hostPath=opened("path type"),
    projected=opened("", "defaultMode", sources=list_of(opened(**_SOURCES))),
    **_SOURCES,
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
    volumes=list_of(_VOLUME),
    nodeSelector={"type": "object", "additionalProperties": TEXT},
    imagePullSecrets=list_of(_NAMED),
    tolerations=list_of(_TOLERATION),
    hostAliases=list_of(fields("ip", hostnames=list_of(TEXT))),
    readinessGates=list_of(fields("conditionType")),
    topologySpreadConstraints=list_of(OPEN),
    schedulingGates=list_of(_NAMED),
    resourceClaims=list_of(OPEN),
)
_STATE = opened(
    waiting=opened("reason message"),
    running=opened(startedAt=TIME),
    terminated=opened("reason message", "exitCode signal", startedAt=TIME, finishedAt=TIME),
)
_CONTAINER_STATUS = opened("name", "restartCount", "ready started", state=_STATE, lastState=_STATE)
_STATUS = opened(
    "phase reason message podIP hostIP nominatedNodeName",
    startTime=TIME,
    podIPs=list_of(opened("ip")),
    conditions=list_of(opened("type status reason message")),
    containerStatuses=list_of(_CONTAINER_STATUS),
    initContainerStatuses=list_of(_CONTAINER_STATUS),
)
POD = Schema({"type": "object", "properties": {"spec": POD_SPEC, "status": nullable(_STATUS)}})
