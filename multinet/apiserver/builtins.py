"""The table of built-in resources. A new kind is one entry here; behaviour only where it has any."""

from __future__ import annotations

from collections.abc import Iterator

from multinet.apiserver import (
    configs,
    crd_types,
    merge_rules,
    pod_columns,
    pod_schema,
    pod_validation,
    pods,
    shapes,
)
from multinet.apiserver import core_columns as cells
from multinet.apiserver.apps import WORKLOAD_KINDS
from multinet.apiserver.errors import FieldError, invalid_value, required
from multinet.apiserver.names import dns_label
from multinet.apiserver.network_policies import NETWORK_POLICY
from multinet.apiserver.operations import Options
from multinet.apiserver.resources import ResourceType, Strategy, Version
from multinet.apiserver.service_kinds import service_kinds
from multinet.model.objects import Obj

EVENT_FIELDS = (
    *(
        f"involvedObject.{field}"
        for field in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    ),
    "reason",
    "reportingComponent",
    "source",
    "type",
)


def _namespace_create(namespace: Obj) -> None:
    namespace["spec"] = {"finalizers": ["kubernetes"]}
    namespace["status"] = {"phase": "Active"}
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = namespace["metadata"][
        "name"
    ]


def _namespace_update(namespace: Obj, old: Obj) -> None:
    namespace["spec"] = old["spec"]
    labels = namespace["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = namespace["metadata"]["name"]


def _namespace_delete(namespace: Obj) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"


def _namespace_held(namespace: Obj) -> bool:
    return bool(namespace.get("spec", {}).get("finalizers"))


def _event_valid(event: Obj) -> Iterator[FieldError]:
    involved = event.get("involvedObject")
    if not isinstance(involved, dict):
        yield required("involvedObject")
        return
    namespace = involved.get("namespace") or "default"
    if namespace != event["metadata"].get("namespace"):
        yield invalid_value(
            "involvedObject.namespace", involved.get("namespace", ""), "does not match event.namespace"
        )


def _node_create(node: Obj) -> None:
    node.setdefault("spec", {})
    node.setdefault("status", {})


def _access_allowed(review: Obj, _options: Options) -> None:
    review["status"] = {"allowed": True, "reason": "the lab's token may do everything"}


def _rules_allowed(review: Obj, _options: Options) -> None:
    review["status"] = {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


def _self(review: Obj, _options: Options) -> None:
    review["status"] = {
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    }


CORE = (
    ResourceType(
        "",
        "namespaces",
        "Namespace",
        False,
        (Version("v1", cells.NAMESPACE, shapes.NAMESPACE),),
        short_names=("ns",),
        subresources=("status",),
        field_labels=("status.phase",),
        strategy=Strategy(
            _namespace_create,
            _namespace_update,
            name_errors=dns_label,
            prepare_delete=_namespace_delete,
            held=_namespace_held,
        ),
    ),
    ResourceType(
        "",
        "nodes",
        "Node",
        False,
        (Version("v1", cells.NODE, shapes.NODE),),
        short_names=("no",),
        subresources=("status",),
        field_labels=("spec.unschedulable",),
        field_defaults={"spec.unschedulable": "False"},
        strategy=Strategy(_node_create),
        merge=merge_rules.NODE,
    ),
    ResourceType(
        "",
        "pods",
        "Pod",
        True,
        (Version("v1", pod_columns.COLUMNS, pod_schema.POD),),
        short_names=("po",),
        categories=("all",),
        subresources=("status", "binding", "eviction", "log", "exec"),
        field_labels=(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
        field_defaults={"spec.hostNetwork": "False"},
        strategy=Strategy(
            pods.prepare_create,
            pods.prepare_update,
            pod_validation.validate,
            pods.validate_update,
            grace_seconds=pods.grace_seconds,
            allocate=pods.admit,
        ),
        merge=merge_rules.POD,
        generation=True,
    ),
    ResourceType(
        "",
        "events",
        "Event",
        True,
        (Version("v1", cells.EVENT, shapes.EVENT),),
        short_names=("ev",),
        field_labels=EVENT_FIELDS,
        strategy=Strategy(validate=_event_valid),
    ),
    ResourceType(
        "",
        "configmaps",
        "ConfigMap",
        True,
        (Version("v1", cells.CONFIG_MAP, shapes.CONFIG_MAP),),
        short_names=("cm",),
        strategy=Strategy(
            configs.prepare_config_map,
            lambda config_map, _old: configs.prepare_config_map(config_map),
            configs.validate_config_map,
            configs.content_changed,
        ),
    ),
    ResourceType(
        "",
        "secrets",
        "Secret",
        True,
        (Version("v1", cells.SECRET, shapes.SECRET),),
        field_labels=("type",),
        strategy=Strategy(
            configs.prepare_secret, configs.update_secret, configs.validate_secret, configs.content_changed
        ),
    ),
    ResourceType(
        "",
        "serviceaccounts",
        "ServiceAccount",
        True,
        (Version("v1", cells.SERVICE_ACCOUNT, shapes.SERVICE_ACCOUNT),),
        short_names=("sa",),
        merge=merge_rules.SERVICE_ACCOUNT,
    ),
)
OTHERS = (
    ResourceType("coordination.k8s.io", "leases", "Lease", True, (Version("v1", cells.LEASE, shapes.LEASE),)),
    ResourceType(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        False,
        (Version("v1", cells.CRD, shapes.CRD),),
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
        strategy=Strategy(
            crd_types.prepare_create,
            crd_types.prepare_update,
            crd_types.validate,
            crd_types.validate_update,
            prepare_delete=crd_types.prepare_delete,
        ),
        merge=merge_rules.CRD,
        generation=True,
    ),
    ResourceType(
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        False,
        (Version("v1"),),
        answer=_access_allowed,
    ),
    ResourceType(
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        False,
        (Version("v1"),),
        answer=_rules_allowed,
    ),
    ResourceType(
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
        False,
        (Version("v1"),),
        answer=_self,
    ),
)


def builtins(service_block6: str = "") -> tuple[ResourceType, ...]:
    """All kinds that are there before any CRD; services have IPv6 addresses of that block, if any."""
    return (*CORE, *service_kinds(service_block6), NETWORK_POLICY, *WORKLOAD_KINDS, *OTHERS)


BUILTINS = builtins()
