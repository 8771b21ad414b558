"""Defaults and findings of a pod's spec, held against what kube-apiserver answers for the same."""

from __future__ import annotations

from typing import Any

import pytest

from multinet.apiserver import pod_defaults, pod_validation
from multinet.apiserver.errors import StatusError


def filled(**spec: Any) -> dict[str, Any]:
    whole = {"containers": [{"name": "c", "image": "x:1"}], **spec}
    pod_defaults.fill_in(whole)
    return whole


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "x:1", **fields}]}


def mounted(*paths: str) -> dict[str, Any]:
    mounts = [{"name": "v", "mountPath": path} for path in paths]
    return {**container(volumeMounts=mounts), "volumes": [{"name": "v", "emptyDir": {}}]}


def ports(*held: dict[str, Any]) -> dict[str, Any]:
    return container(ports=list(held))


@pytest.mark.parametrize(
    ("spec", "finding"),
    [
        (container(volumeMounts=[{"name": "v", "mountPath": "/x"}]), 'volumeMounts[0].name: Not found: "v"'),
        (mounted(""), "volumeMounts[0].mountPath: Required value"),
        (mounted("/a", "/a"), 'volumeMounts[1].mountPath: Invalid value: "/a": must be unique'),
        ({"volumes": [{"emptyDir": {}}]}, "spec.volumes[0].name: Required value"),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, 'spec.volumes[1].name: Duplicate value: "v"'),
        (
            {"volumes": [{"name": "v", "emptyDir": {}, "configMap": {"name": "x"}}]},
            "spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type",
        ),
        ({"volumes": [{"name": "v", "hostPath": {}}]}, "spec.volumes[0].hostPath.path: Required value"),
        (
            container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        (container(resources={"requests": {"cpu": "-1"}}), "must be greater than or equal to 0"),
        (ports({"containerPort": 0}), "ports[0].containerPort: Required value"),
        (
            ports({"containerPort": 80, "hostPort": 81}, {"containerPort": 82, "hostPort": 81}),
            'ports[1].hostPort: Duplicate value: "TCP//81"',
        ),
        (
            {**ports({"containerPort": 80, "hostPort": 81}), "hostNetwork": True},
            "hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ),
        (container(env=[{"name": "a=b"}]), "printable ASCII characters other than '='"),
        (
            container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.nope"}}}]),
            'fieldPath: Invalid value: "status.nope": error converting fieldPath: field label not supported',
        ),
        (container(env=[{"name": "A", "valueFrom": {}}]), "must specify one of: `fieldRef`"),
        (container(livenessProbe={}), "livenessProbe: Required value: must specify a handler type"),
        (
            container(readinessProbe={"httpGet": {"path": "/"}}),
            "readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            container(lifecycle={"preStop": {"exec": {"command": ["x"]}, "sleep": {"seconds": 1}}}),
            "lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
        ),
        ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig`"),
        ({"activeDeadlineSeconds": 0}, "must be between 1 and 2147483647, inclusive"),
        ({"hostname": "A_"}, 'spec.hostname: Invalid value: "A_": a lowercase RFC 1123 label'),
        ({"nodeSelector": {"a b": "c"}}, 'spec.nodeSelector: Invalid value: "a b"'),
        (
            {"tolerations": [{"key": "a", "operator": "X"}]},
            'tolerations[0].operator: Unsupported value: "X": supported values: "Equal", "Exists"',
        ),
        ({"tolerations": [{"operator": "Equal"}]}, "operator must be Exists when `key` is empty"),
    ],
)
def test_what_kube_apiserver_refuses_is_refused_in_its_words(spec: dict[str, Any], finding: str) -> None:
    found = [str(one) for one in pod_validation.validate({"spec": filled(**spec)})]
    assert len(found) == 1
    assert finding in found[0]


def test_what_is_sound_is_taken() -> None:
    whole = mounted("/a", "/b")
    whole["containers"][0] |= {"ports": [{"containerPort": 80}], "env": [{"name": "a.b", "value": "1"}]}
    assert list(pod_validation.validate({"spec": filled(**whole, hostNetwork=True)})) == []


def test_defaults_of_parts() -> None:
    probe = {"httpGet": {"port": 80}}
    items = [{"path": "x", "fieldRef": {"fieldPath": "metadata.labels"}}]
    spec = filled(
        containers=[
            {
                "name": "c",
                "image": "x:1",
                "ports": [{"containerPort": 80}],
                "livenessProbe": probe,
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m"}},
            }
        ],
        hostNetwork=True,
        volumes=[{"name": "a"}, {"name": "b", "downwardAPI": {"items": items}}],
    )
    (one,) = spec["containers"]
    assert one["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    assert one["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert one["livenessProbe"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}
    assert one["livenessProbe"]["failureThreshold"] == 3
    assert one["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert spec["volumes"][0] == {"name": "a", "emptyDir": {}}
    assert spec["volumes"][1]["downwardAPI"]["defaultMode"] == 0o644
    assert items[0]["fieldRef"] == {"fieldPath": "metadata.labels", "apiVersion": "v1"}
    assert pod_defaults.qos_class(spec) == "Burstable"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"requests": {"example.org/x": "1"}}, "BestEffort"),
    ],
)
def test_the_class_of_service(resources: dict[str, Any], expected: str) -> None:
    assert pod_defaults.qos_class(filled(**container(resources=resources))) == expected


def test_what_is_no_quantity_is_no_pod() -> None:
    with pytest.raises(StatusError, match="quantities must match the regular expression") as caught:
        filled(**container(resources={"requests": {"cpu": "abc"}}))
    assert caught.value.code == 400
