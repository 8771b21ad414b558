"""Protobuf of Deployments and Jobs, as far as ``kubectl create deployment|job`` fills them in.

Source: ``generated.proto`` of k8s.io/api ``core/v1``, ``apps/v1`` and ``batch/v1``. A field that is not here
is refused by its number, not lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from multinet.apiserver.protobuf_fields import METADATA, SELECTOR, STATUS, Field, Message, part
from multinet.apiserver.protobuf_pods import POD_SPEC

_TEMPLATE = part("template", {1: METADATA, 2: part("spec", POD_SPEC)})
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
