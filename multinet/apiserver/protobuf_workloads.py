"""Protobuf of Deployments and Jobs, as far as ``kubectl create deployment|job`` fills them in.

Source: ``generated.proto`` of k8s.io/api ``core/v1``, ``apps/v1`` and ``batch/v1``. A field that is not here
is refused by its number, not lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from multinet.apiserver.protobuf_fields import METADATA, SELECTOR, STATUS, Field, Message, part, strings

_PORT: Message = {
    1: Field("name"),
    2: Field("hostPort", "plain-int"),
    3: Field("containerPort", "int"),
    4: Field("protocol"),
    5: Field("hostIP"),
}
_MOUNT: Message = {
    1: Field("name"),
    2: Field("readOnly", "plain-bool"),
    3: Field("mountPath"),
    4: Field("subPath"),
    6: Field("subPathExpr"),
}
_CONTAINER: Message = {
    1: Field("name"),
    2: Field("image"),
    3: Field("command", repeated=True),
    4: Field("args", repeated=True),
    5: Field("workingDir"),
    6: part("ports", _PORT, repeated=True),
    7: part("env", strings("name", "value"), repeated=True),
    8: part("resources", {}),
    9: part("volumeMounts", _MOUNT, repeated=True),
    13: Field("terminationMessagePath"),
    14: Field("imagePullPolicy"),
    16: Field("stdin", "plain-bool"),
    17: Field("stdinOnce", "plain-bool"),
    18: Field("tty", "plain-bool"),
    20: Field("terminationMessagePolicy"),
    24: Field("restartPolicy"),
}
_TOLERATION: Message = {**strings("key", "operator", "value", "effect"), 5: Field("tolerationSeconds", "int")}
_POD_SPEC: Message = {
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
    14: part("securityContext", {}),
    15: part("imagePullSecrets", strings("name"), repeated=True),
    16: Field("hostname"),
    17: Field("subdomain"),
    19: Field("schedulerName"),
    20: part("initContainers", _CONTAINER, repeated=True),
    21: Field("automountServiceAccountToken", "bool"),
    22: part("tolerations", _TOLERATION, repeated=True),
    24: Field("priorityClassName"),
    30: Field("enableServiceLinks", "bool"),
}
_TEMPLATE = part("template", {1: METADATA, 2: part("spec", _POD_SPEC)})
_ROLLING: Message = {1: Field("maxUnavailable", "int-or-string"), 2: Field("maxSurge", "int-or-string")}
_DEPLOYMENT_SPEC: Message = {
    1: Field("replicas", "int"),
    2: part("selector", SELECTOR),
    3: _TEMPLATE,
    4: part("strategy", {1: Field("type"), 2: part("rollingUpdate", _ROLLING)}),
    5: Field("minReadySeconds", "plain-int"),
    6: Field("revisionHistoryLimit", "int"),
    7: Field("paused", "plain-bool"),
    9: Field("progressDeadlineSeconds", "int"),
}
_JOB_SPEC: Message = {
    1: Field("parallelism", "int"),
    2: Field("completions", "int"),
    3: Field("activeDeadlineSeconds", "int"),
    4: part("selector", SELECTOR),
    5: Field("manualSelector", "bool"),
    6: _TEMPLATE,
    7: Field("backoffLimit", "int"),
    8: Field("ttlSecondsAfterFinished", "int"),
    9: Field("completionMode"),
    10: Field("suspend", "bool"),
}
WORKLOADS: Mapping[str, Message] = {
    "Deployment": {1: METADATA, 2: part("spec", _DEPLOYMENT_SPEC), 3: STATUS},
    "Job": {1: METADATA, 2: part("spec", _JOB_SPEC), 3: STATUS},
}
