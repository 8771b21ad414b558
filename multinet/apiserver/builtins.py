"""The table of built-in resources. A new kind is one entry here; behaviour only where it has any."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from multinet.apiserver import core_columns as cells
from multinet.apiserver import crd_types, merge_rules, pod_columns, pod_schema, pod_validation, pods, shapes
from multinet.apiserver.apps import WORKLOAD_KINDS
from multinet.apiserver.errors import FieldError, expect, field_forbidden, invalid_value, required
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


def _secret_create(secret: Obj) -> None:
    secret.setdefault("type", "Opaque")
    plain = secret.pop("stringData", None)
    for field, held in (("stringData", plain), ("data", secret.get("data"))):
        expect(held, dict, field)
        for key, value in (held or {}).items():
            expect(value, str, f"{field}[{key}]")
    if plain:
        data = secret.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})


def _secret_update(secret: Obj, old: Obj) -> None:
    secret.setdefault("type", old.get("type"))
    _secret_create(secret)


def _content_changed(obj: Obj, old: Obj) -> Iterator[FieldError]:
    """The fields of a ConfigMap or Secret that its ``immutable`` forbids to change."""
    if obj.get("kind") == "Secret" and obj.get("type") != old.get("type"):
        yield invalid_value("type", obj.get("type"), "field is immutable")
    if not old.get("immutable"):
        return
    for field in ("immutable", "data", "binaryData"):
        if (obj.get(field) or None) != (old.get(field) or None):
            yield field_forbidden(field, "field is immutable when `immutable` is set")


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
        strategy=Strategy(validate_update=_content_changed),
    ),
    ResourceType(
        "",
        "secrets",
        "Secret",
        True,
        (Version("v1", cells.SECRET, shapes.SECRET),),
        field_labels=("type",),
        strategy=Strategy(_secret_create, _secret_update, validate_update=_content_changed),
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
