"""The workload kinds (apps/v1, batch/v1) and evictions: defaults, validation, the scale of a workload.

Source: kubernetes ``pkg/apis/apps/v1/defaults.go``, ``pkg/apis/apps/validation``, ``pkg/apis/batch``,
``pkg/registry/core/pod/storage/eviction.go``; the parts a user of a lab meets. Pod disruption budgets are not
served, so an eviction is a deletion. Who makes pods of these objects: :mod:`multinet.workloads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from multinet.apiserver import merge_rules, pod_defaults, pod_validation, shapes
from multinet.apiserver import workload_columns as cells
from multinet.apiserver.codec import copied
from multinet.apiserver.errors import (
    FieldError,
    bad_request,
    expect,
    field_forbidden,
    invalid_value,
    required,
    shown,
)
from multinet.apiserver.operations import Deletion, Operations, Options, Target
from multinet.apiserver.resources import Column, ResourceType, Strategy, Version
from multinet.model.objects import Obj

_UID_LABEL = "batch.kubernetes.io/controller-uid"
_REPLICATED = ("deployments", "replicasets", "statefulsets")


def _default_deployment(obj: Obj) -> None:
    spec = _spec(obj)
    for name, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        spec.setdefault(name, value)
    strategy = spec.setdefault("strategy", {})
    expect(strategy, dict, "spec.strategy")
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        expect(rolling, dict, "spec.strategy.rollingUpdate")
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


def _default_replica_set(obj: Obj) -> None:
    _spec(obj).setdefault("replicas", 1)


def _default_daemon_set(obj: Obj) -> None:
    spec = _spec(obj)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    expect(strategy, dict, "spec.updateStrategy")
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("maxUnavailable", 1)


def _default_stateful_set(obj: Obj) -> None:
    spec = _spec(obj)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    expect(strategy, dict, "spec.updateStrategy")
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)


def _default_job(obj: Obj) -> None:
    spec = _spec(obj)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("suspend", False)
    spec.setdefault("completionMode", "NonIndexed")
    template = spec.setdefault("template", {})
    expect(template, dict, "spec.template")
    if not spec.get("selector") and not spec.get("manualSelector"):
        own = {_UID_LABEL: obj["metadata"]["uid"]}
        spec["selector"] = {"matchLabels": dict(own)}
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels |= {**own, "batch.kubernetes.io/job-name": obj["metadata"]["name"]}
        labels |= {"controller-uid": obj["metadata"]["uid"], "job-name": obj["metadata"]["name"]}


def _spec(obj: Obj) -> Obj:
    spec: Obj = obj.setdefault("spec", {})
    expect(spec, dict, "spec")
    return spec


def _created(default: Callable[[Obj], None]) -> Callable[[Obj], None]:
    def prepare(obj: Obj) -> None:
        default(obj)
        obj["status"] = {}

    return prepare


def _updated(default: Callable[[Obj], None]) -> Callable[[Obj, Obj], None]:
    return lambda obj, _old: default(obj)


def _valid(obj: Obj) -> Iterator[FieldError]:
    spec = obj["spec"]
    for name in ("replicas", "minReadySeconds", "parallelism", "completions", "backoffLimit"):
        value = spec.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            yield invalid_value(f"spec.{name}", value, "must be greater than or equal to 0")
    template = spec.get("template")
    if not isinstance(template, dict):
        yield required("spec.template")
        return
    yield from _valid_selector(spec.get("selector"), template)
    yield from _valid_template(obj["kind"], template)


def _valid_selector(selector: Any, template: Obj) -> Iterator[FieldError]:
    if not isinstance(selector, dict) or not (
        selector.get("matchLabels") or selector.get("matchExpressions")
    ):
        yield required("spec.selector")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    wanted: Mapping[str, Any] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield invalid_value(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )


def _valid_template(kind: str, template: Obj) -> Iterator[FieldError]:
    pod = copied({"metadata": {}, "spec": template.get("spec")})
    if isinstance(pod["spec"], dict):
        pod_defaults.fill_in(pod["spec"])
    for found in pod_validation.validate(pod):
        yield replace(found, field=f"spec.template.{found.field}")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if kind == "Job" and policy not in ("Never", "OnFailure"):
        yield required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    if kind != "Job" and policy not in (None, "Always"):
        detail = 'supported values: "Always"'
        yield invalid_value("spec.template.spec.restartPolicy", policy, detail)


def _valid_change(obj: Obj, old: Obj) -> Iterator[FieldError]:
    if obj["spec"].get("selector") != old["spec"].get("selector"):
        yield invalid_value("spec.selector", obj["spec"].get("selector"), "field is immutable")
    if obj["kind"] == "Job" and obj["spec"].get("template") != old["spec"].get("template"):
        yield invalid_value("spec.template", obj["spec"].get("template"), "field is immutable")
    if obj["kind"] == "StatefulSet" and obj["spec"].get("serviceName") != old["spec"].get("serviceName"):
        yield field_forbidden("spec", "updates to statefulset spec for 'serviceName' are forbidden")


def _kind(
    group: str,
    plural: str,
    kind: str,
    default: Callable[[Obj], None],
    columns: tuple[Column, ...],
    *,
    short: tuple[str, ...] = (),
) -> ResourceType:
    subresources = ("status", "scale") if plural in _REPLICATED else ("status",)
    return ResourceType(
        group,
        plural,
        kind,
        True,
        (Version("v1", columns, shapes.WORKLOAD),),
        short_names=short,
        categories=("all",),
        subresources=subresources,
        field_labels=("status.successful",) if kind == "Job" else (),
        strategy=Strategy(_created(default), _updated(default), _valid, _valid_change),
        merge=merge_rules.WORKLOAD,
        generation=True,
    )


WORKLOAD_KINDS = (
    _kind("apps", "deployments", "Deployment", _default_deployment, cells.DEPLOYMENT, short=("deploy",)),
    _kind("apps", "replicasets", "ReplicaSet", _default_replica_set, cells.REPLICA_SET, short=("rs",)),
    _kind("apps", "daemonsets", "DaemonSet", _default_daemon_set, cells.DAEMON_SET, short=("ds",)),
    _kind("apps", "statefulsets", "StatefulSet", _default_stateful_set, cells.STATEFUL_SET, short=("sts",)),
    _kind("batch", "jobs", "Job", _default_job, cells.JOB),
)


def scale_of(workload: Mapping[str, Any]) -> Obj:
    """The ``autoscaling/v1`` Scale of a workload."""
    metadata, spec, status = workload["metadata"], workload["spec"], workload.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = spec.get("selector") or {}
    labels = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {"replicas": status.get("replicas", 0), "selector": ",".join(labels)},
    }


def rescale(operations: Operations, target: Target, change: Callable[[Obj], Obj], options: Options) -> Obj:
    """Change a workload's number of replicas by what ``change`` makes of its Scale."""
    whole = replace(target, subresource="")

    def apply(workload: Obj) -> Obj:
        scale = change(scale_of(workload))
        for field in ("spec", "metadata"):
            expect(scale.get(field), dict, field)
        wanted = scale.get("spec") or {}
        workload["spec"]["replicas"] = wanted.get("replicas", 0)
        sent = (scale.get("metadata") or {}).get("resourceVersion")
        if sent:
            workload["metadata"]["resourceVersion"] = sent
        return workload

    return scale_of(operations.modify(whole, apply, options).view())


def evict(operations: Operations, target: Target, eviction: Obj, options: Options) -> None:
    """Delete a pod as its Eviction asks (``POST pods/NAME/eviction``)."""
    asked = eviction.get("deleteOptions") or {}
    expect(asked, dict, "deleteOptions")
    grace = asked.get("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request(
            f"json: cannot unmarshal {shown(grace)} into gracePeriodSeconds: expected an integer"
        )
    for field, kind in (("preconditions", dict), ("dryRun", list)):
        expect(asked.get(field), kind, f"deleteOptions.{field}")
    preconditions = asked.get("preconditions") or {}
    deletion = Deletion(
        grace_seconds=grace,
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=options.dry_run or "All" in (asked.get("dryRun") or ()),
    )
    operations.delete(replace(target, subresource=""), deletion)
