"""ConfigMaps, Secrets and definitions that kube-apiserver refuses, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from multinet.apiserver import configs, crd_types
from multinet.apiserver.errors import StatusError


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ({"data": {"a b": "x"}}, 'data[a b]: Invalid value: "a b": a valid config key must consist of'),
        ({"data": {"..": "x"}}, "data[..]: Invalid value: \"..\": must not be '..'"),
        ({"binaryData": {"a/b": "eA=="}}, 'binaryData[a/b]: Invalid value: "a/b"'),
        (
            {"data": {"a": "x"}, "binaryData": {"a": "eA=="}},
            'data[a]: Invalid value: "a": duplicate of key present in binaryData',
        ),
        ({"data": {"a": "x" * 1048577}}, "[]: Too long: may not be more than 1048576 bytes"),
    ],
)
def test_config_maps_that_are_refused(content: dict[str, Any], finding: str) -> None:
    (found,) = configs.validate_config_map(content)
    assert finding in str(found)


def test_secrets_that_are_refused() -> None:
    with pytest.raises(StatusError, match=r"Secret in version .* illegal base64 data"):
        configs.prepare_secret({"data": {"a": "!!!"}})
    secret = {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}
    configs.prepare_secret(secret)
    assert secret["data"] == {"tls.crt": "eA=="}
    assert list(map(str, configs.validate_secret(secret))) == ["data[tls.key]: Required value"]


@pytest.mark.parametrize(
    ("part", "finding"),
    [
        ({}, "properties[a].type: Required value: must not be empty for specified object fields"),
        ({"type": "array"}, "properties[a].items: Required value: must be specified"),
        (
            {"type": "array", "items": {}},
            "properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        ({"type": "object", "additionalProperties": {}}, "properties[a].additionalProperties.type"),
        ({"x-kubernetes-preserve-unknown-fields": True}, ""),
        ({"x-kubernetes-int-or-string": True}, ""),
    ],
)
def test_a_definitions_schema_is_structural(part: dict[str, Any], finding: str) -> None:
    names = {"plural": "things", "kind": "Thing"}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"a": part}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    found = list(crd_types.validate({"metadata": {"name": "things.example.org"}, "spec": spec}))
    assert len(found) == bool(finding)
    assert all(finding in str(one) for one in found)
