"""Protobuf of Pods and Events, as clients in Go send them: client-go writes a pod's status and Events so.

What a pod of this API can have is here: its volumes are those that a kubelet makes by itself. A field that is
not here is refused by its number, not lost.

Source: ``generated.proto`` of k8s.io/api ``core/v1``; which fields are pointers in Go, its ``types.go``.
"""

from __future__ import annotations

from multinet.apiserver.protobuf_fields import METADATA, SELECTOR, Field, Message, inline, part, strings

_NAMED = inline(strings("name"))
_ITEMS = part("items", {**strings("key", "path"), 3: Field("mode", "int")}, repeated=True)
_FIELD_REF = part("fieldRef", strings("apiVersion", "fieldPath"))
_RESOURCE_REF = part(
    "resourceFieldRef", {**strings("containerName", "resource"), 3: Field("divisor", "quantity")}
)
_DOWNWARD = part(
    "items", {1: Field("path"), 2: _FIELD_REF, 3: _RESOURCE_REF, 4: Field("mode", "int")}, repeated=True
)
_SECRET: Message = {
    1: Field("secretName"),
    2: _ITEMS,
    3: Field("defaultMode", "int"),
    4: Field("optional", "bool"),
}
_CONFIG_MAP: Message = {1: _NAMED, 2: _ITEMS, 3: Field("defaultMode", "int"), 4: Field("optional", "bool")}
_TOKEN: Message = {1: Field("audience"), 2: Field("expirationSeconds", "int"), 3: Field("path")}
_SOURCE: Message = {
    1: part("secret", {1: _NAMED, 2: _ITEMS, 4: Field("optional", "bool")}),
    2: part("downwardAPI", {1: _DOWNWARD}),
    3: part("configMap", {1: _NAMED, 2: _ITEMS, 4: Field("optional", "bool")}),
    4: part("serviceAccountToken", _TOKEN),
}
_VOLUME: Message = {
    1: Field("name"),
    2: inline(
        {
            1: part("hostPath", strings("path", "type")),
            2: part("emptyDir", {1: Field("medium"), 2: Field("sizeLimit", "quantity")}),
            6: part("secret", _SECRET),
            10: part("persistentVolumeClaim", {1: Field("claimName"), 2: Field("readOnly", "plain-bool")}),
            16: part("downwardAPI", {1: _DOWNWARD, 2: Field("defaultMode", "int")}),
            19: part("configMap", _CONFIG_MAP),
            26: part(
                "projected", {1: part("sources", _SOURCE, repeated=True), 2: Field("defaultMode", "int")}
            ),
        }
    ),
}
_PORT: Message = {
    1: Field("name"),
    2: Field("hostPort", "plain-int"),
    3: Field("containerPort", "int"),
    4: Field("protocol"),
    5: Field("hostIP"),
}
_KEY_REF: Message = {1: _NAMED, 2: Field("key"), 3: Field("optional", "bool")}
_ENV: Message = {
    **strings("name", "value"),
    3: part(
        "valueFrom",
        {
            1: _FIELD_REF,
            2: _RESOURCE_REF,
            3: part("configMapKeyRef", _KEY_REF),
            4: part("secretKeyRef", _KEY_REF),
        },
    ),
}
_ENV_REF: Message = {1: _NAMED, 2: Field("optional", "bool")}
_ENV_FROM: Message = {1: Field("prefix"), 2: part("configMapRef", _ENV_REF), 3: part("secretRef", _ENV_REF)}
_RESOURCES: Message = {1: Field("limits", "quantity-map"), 2: Field("requests", "quantity-map")}
_MOUNT: Message = {
    1: Field("name"),
    2: Field("readOnly", "plain-bool"),
    3: Field("mountPath"),
    4: Field("subPath"),
    5: Field("mountPropagation"),
    6: Field("subPathExpr"),
    7: Field("recursiveReadOnly"),
}
_EXEC = part("exec", {1: Field("command", repeated=True)})
_HTTP = part(
    "httpGet",
    {
        1: Field("path"),
        2: Field("port", "int-or-string"),
        3: Field("host"),
        4: Field("scheme"),
        5: part("httpHeaders", strings("name", "value"), repeated=True),
    },
)
_TCP = part("tcpSocket", {1: Field("port", "int-or-string"), 2: Field("host")})
_PROBE: Message = {
    1: inline({1: _EXEC, 2: _HTTP, 3: _TCP, 4: part("grpc", {1: Field("port", "int"), 2: Field("service")})}),
    2: Field("initialDelaySeconds", "plain-int"),
    3: Field("timeoutSeconds", "plain-int"),
    4: Field("periodSeconds", "plain-int"),
    5: Field("successThreshold", "plain-int"),
    6: Field("failureThreshold", "plain-int"),
    7: Field("terminationGracePeriodSeconds", "int"),
}
_HOOK: Message = {1: _EXEC, 2: _HTTP, 3: _TCP, 4: part("sleep", {1: Field("seconds", "int")})}
_SE_LINUX = part("seLinuxOptions", strings("user", "role", "type", "level"))
_PROFILE = strings("type", "localhostProfile")
_CAPABILITIES: Message = {1: Field("add", repeated=True), 2: Field("drop", repeated=True)}
_SECURITY: Message = {
    1: part("capabilities", _CAPABILITIES),
    2: Field("privileged", "bool"),
    3: _SE_LINUX,
    4: Field("runAsUser", "int"),
    5: Field("runAsNonRoot", "bool"),
    6: Field("readOnlyRootFilesystem", "bool"),
    7: Field("allowPrivilegeEscalation", "bool"),
    8: Field("runAsGroup", "int"),
    9: Field("procMount"),
    11: part("seccompProfile", _PROFILE),
    12: part("appArmorProfile", _PROFILE),
}
_CONTAINER: Message = {
    1: Field("name"),
    2: Field("image"),
    3: Field("command", repeated=True),
    4: Field("args", repeated=True),
    5: Field("workingDir"),
    6: part("ports", _PORT, repeated=True),
    7: part("env", _ENV, repeated=True),
    8: part("resources", _RESOURCES),
    9: part("volumeMounts", _MOUNT, repeated=True),
    10: part("livenessProbe", _PROBE),
    11: part("readinessProbe", _PROBE),
    12: part("lifecycle", {1: part("postStart", _HOOK), 2: part("preStop", _HOOK)}),
    13: Field("terminationMessagePath"),
    14: Field("imagePullPolicy"),
    15: part("securityContext", _SECURITY),
    16: Field("stdin", "plain-bool"),
    17: Field("stdinOnce", "plain-bool"),
    18: Field("tty", "plain-bool"),
    19: part("envFrom", _ENV_FROM, repeated=True),
    20: Field("terminationMessagePolicy"),
    22: part("startupProbe", _PROBE),
    24: Field("restartPolicy"),
}
_POD_SECURITY: Message = {
    1: _SE_LINUX,
    2: Field("runAsUser", "int"),
    3: Field("runAsNonRoot", "bool"),
    4: Field("supplementalGroups", "int", repeated=True),
    5: Field("fsGroup", "int"),
    6: Field("runAsGroup", "int"),
    7: part("sysctls", strings("name", "value"), repeated=True),
    9: Field("fsGroupChangePolicy"),
    10: part("seccompProfile", _PROFILE),
    11: part("appArmorProfile", _PROFILE),
}
_TOLERATION: Message = {**strings("key", "operator", "value", "effect"), 5: Field("tolerationSeconds", "int")}
_SPREAD: Message = {
    1: Field("maxSkew", "int"),
    2: Field("topologyKey"),
    3: Field("whenUnsatisfiable"),
    4: part("labelSelector", SELECTOR),
    5: Field("minDomains", "int"),
    6: Field("nodeAffinityPolicy"),
    7: Field("nodeTaintsPolicy"),
    8: Field("matchLabelKeys", repeated=True),
}
_DNS: Message = {
    1: Field("nameservers", repeated=True),
    2: Field("searches", repeated=True),
    3: part("options", strings("name", "value"), repeated=True),
}
POD_SPEC: Message = {
    1: part("volumes", _VOLUME, repeated=True),
    2: part("containers", _CONTAINER, repeated=True),
    3: Field("restartPolicy"),
    4: Field("terminationGracePeriodSeconds", "int"),
    5: Field("activeDeadlineSeconds", "int"),
    6: Field("dnsPolicy"),
    7: Field("nodeSelector", "map"),
    8: Field("serviceAccountName"),
    9: Field("serviceAccount"),
    10: Field("nodeName"),
    11: Field("hostNetwork", "plain-bool"),
    12: Field("hostPID", "plain-bool"),
    13: Field("hostIPC", "plain-bool"),
    14: part("securityContext", _POD_SECURITY),
    15: part("imagePullSecrets", strings("name"), repeated=True),
    16: Field("hostname"),
    17: Field("subdomain"),
    19: Field("schedulerName"),
    20: part("initContainers", _CONTAINER, repeated=True),
    21: Field("automountServiceAccountToken", "bool"),
    22: part("tolerations", _TOLERATION, repeated=True),
    23: part("hostAliases", {1: Field("ip"), 2: Field("hostnames", repeated=True)}, repeated=True),
    24: Field("priorityClassName"),
    25: Field("priority", "int"),
    26: part("dnsConfig", _DNS),
    27: Field("shareProcessNamespace", "bool"),
    28: part("readinessGates", strings("conditionType"), repeated=True),
    29: Field("runtimeClassName"),
    30: Field("enableServiceLinks", "bool"),
    31: Field("preemptionPolicy"),
    33: part("topologySpreadConstraints", _SPREAD, repeated=True),
    35: Field("setHostnameAsFQDN", "bool"),
    36: part("os", strings("name")),
    37: Field("hostUsers", "bool"),
}
_CONDITION: Message = {
    1: Field("type"),
    2: Field("status"),
    3: Field("lastProbeTime", "time"),
    4: Field("lastTransitionTime", "time"),
    5: Field("reason"),
    6: Field("message"),
    7: Field("observedGeneration", "plain-int"),
}
_STATE: Message = {
    1: part("waiting", strings("reason", "message")),
    2: part("running", {1: Field("startedAt", "time")}),
    3: part(
        "terminated",
        {
            1: Field("exitCode", "int"),
            2: Field("signal", "plain-int"),
            3: Field("reason"),
            4: Field("message"),
            5: Field("startedAt", "time"),
            6: Field("finishedAt", "time"),
            7: Field("containerID"),
        },
    ),
}
_CONTAINER_STATUS: Message = {
    1: Field("name"),
    2: part("state", _STATE),
    3: part("lastState", _STATE),
    4: Field("ready", "bool"),
    5: Field("restartCount", "int"),
    6: Field("image"),
    7: Field("imageID"),
    8: Field("containerID"),
    9: Field("started", "bool"),
    10: Field("allocatedResources", "quantity-map"),
    11: part("resources", _RESOURCES),
}
_STATUS: Message = {
    1: Field("phase"),
    2: part("conditions", _CONDITION, repeated=True),
    3: Field("message"),
    4: Field("reason"),
    5: Field("hostIP"),
    6: Field("podIP"),
    7: Field("startTime", "time"),
    8: part("containerStatuses", _CONTAINER_STATUS, repeated=True),
    9: Field("qosClass"),
    10: part("initContainerStatuses", _CONTAINER_STATUS, repeated=True),
    11: Field("nominatedNodeName"),
    12: part("podIPs", strings("ip"), repeated=True),
    14: Field("resize"),
    16: part("hostIPs", strings("ip"), repeated=True),
    17: Field("observedGeneration", "plain-int"),
}
REFERENCE: Message = strings("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
POD: Message = {1: METADATA, 2: part("spec", POD_SPEC), 3: part("status", _STATUS)}
EVENT: Message = {
    1: METADATA,
    2: part("involvedObject", REFERENCE),
    3: Field("reason"),
    4: Field("message"),
    5: part("source", strings("component", "host")),
    6: Field("firstTimestamp", "time"),
    7: Field("lastTimestamp", "time"),
    8: Field("count", "plain-int"),
    9: Field("type"),
    10: Field("eventTime", "micro-time"),
    11: part("series", {1: Field("count", "int"), 2: Field("lastObservedTime", "micro-time")}),
    12: Field("action"),
    13: part("related", REFERENCE),
    14: Field("reportingComponent"),
    15: Field("reportingInstance"),
}
