"""What the house reads of built-in kinds whose structure is open otherwise: which field has which type.

A Kubernetes API server refuses text where a number belongs for any field, since it decodes into Go types.
Here a kind's fields are listed as far as something reads them (defaults, tables, controllers, kubelets): a
reader may then trust what was stored. All other fields are kept as they are.

Source: k8s.io/api ``core/v1``, ``apps/v1``, ``batch/v1``, ``coordination/v1``, apiextensions ``v1``.
"""

from __future__ import annotations

from multinet.apiserver.pod_schema import POD_SPEC
from multinet.apiserver.schema import Schema
from multinet.apiserver.schema_parts import (
    ANYTHING,
    FLAG,
    INT_OR_STRING,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    list_of,
    opened,
)
from multinet.model.objects import Obj

_CONDITIONS = list_of(opened("type status reason message"))


def _kind(**properties: Obj) -> Schema:
    return Schema(opened(**properties))


_REFERENCE = opened("kind namespace name uid apiVersion resourceVersion fieldPath")
NAMESPACE = _kind(spec=opened(finalizers=list_of(TEXT)), status=opened("phase", conditions=_CONDITIONS))
NODE = _kind(
    spec=opened(
        "podCIDR providerID",
        "",
        "unschedulable",
        podCIDRs=list_of(TEXT),
        taints=list_of(opened("key value effect")),
    ),
    status=opened(
        addresses=list_of(opened("type address")),
        conditions=_CONDITIONS,
        nodeInfo=TEXTS,
        daemonEndpoints=opened(kubeletEndpoint=opened("", "Port")),
    ),
)
EVENT = _kind(
    involvedObject=_REFERENCE,
    related=_REFERENCE,
    source=opened("component host"),
    series=opened("", "count", lastObservedTime=TIME),
    count=NUMBER,
    firstTimestamp=TIME,
    lastTimestamp=TIME,
    eventTime=TIME,
    reason=TEXT,
    message=TEXT,
    type=TEXT,
    reportingComponent=TEXT,
)
CONFIG_MAP = _kind(data=TEXTS, binaryData=TEXTS, immutable=FLAG)
SECRET = _kind(data=TEXTS, stringData=TEXTS, type=TEXT, immutable=FLAG)
SERVICE_ACCOUNT = _kind(
    secrets=list_of(_REFERENCE), imagePullSecrets=list_of(opened("name")), automountServiceAccountToken=FLAG
)
LEASE = _kind(
    spec=opened("holderIdentity", "leaseDurationSeconds leaseTransitions", acquireTime=TIME, renewTime=TIME)
)
CRD = _kind(
    spec=opened(
        "group scope",
        names=opened("plural singular kind listKind", shortNames=list_of(TEXT), categories=list_of(TEXT)),
        versions=list_of(
            opened(
                "name",
                "",
                "served storage deprecated",
                schema=opened(openAPIV3Schema=opened()),
                subresources=opened(status=opened(), scale=opened()),
                additionalPrinterColumns=list_of(opened("name type jsonPath format description", "priority")),
                selectableFields=list_of(opened("jsonPath")),
            )
        ),
        conversion=opened("strategy"),
    ),
    status=opened(conditions=_CONDITIONS, acceptedNames=opened(), storedVersions=list_of(TEXT)),
)
SELECTOR = opened(matchLabels=TEXTS, matchExpressions=list_of(opened("key operator", values=list_of(TEXT))))
_TEMPLATE = opened(metadata=opened(labels=TEXTS, annotations=TEXTS), spec=POD_SPEC)
_ROLLING = opened(
    "type", rollingUpdate=opened("", "partition", maxSurge=INT_OR_STRING, maxUnavailable=INT_OR_STRING)
)
WORKLOAD = _kind(
    spec=opened(
        "serviceName podManagementPolicy completionMode",
        "replicas minReadySeconds revisionHistoryLimit progressDeadlineSeconds parallelism completions "
        "backoffLimit activeDeadlineSeconds ttlSecondsAfterFinished",
        "paused suspend manualSelector",
        selector=SELECTOR,
        template=_TEMPLATE,
        strategy=_ROLLING,
        updateStrategy=_ROLLING,
        ordinals=opened("", "start"),
        volumeClaimTemplates=list_of(ANYTHING),
    ),
    status=opened(
        "currentRevision updateRevision",
        "observedGeneration replicas readyReplicas availableReplicas updatedReplicas currentReplicas "
        "unavailableReplicas fullyLabeledReplicas currentNumberScheduled desiredNumberScheduled numberReady "
        "numberAvailable numberUnavailable numberMisscheduled updatedNumberScheduled active succeeded failed "
        "ready collisionCount",
        conditions=_CONDITIONS,
        startTime=TIME,
        completionTime=TIME,
    ),
)
