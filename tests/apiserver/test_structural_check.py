"""The quick check never says yes where jsonschema says no."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.apiserver import pod_schema
from multinet.apiserver.structural import compile_check
from multinet.model.crds import crd_manifests

TYPES = st.sampled_from(["string", "integer", "number", "boolean"])
SCALARS = st.one_of(
    st.fixed_dictionaries({"type": TYPES}),
    st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(0, 3)}),
    st.fixed_dictionaries({"type": st.just("string"), "pattern": st.sampled_from(["^a", "b$"])}),
    st.fixed_dictionaries({"type": st.just("string"), "enum": st.just(["a", "b"])}),
    st.fixed_dictionaries({"type": st.just("integer"), "minimum": st.integers(-2, 2)}),
    st.fixed_dictionaries({"type": st.just(["integer", "string"])}),
    st.fixed_dictionaries({"type": st.just(["string", "null"])}),
    st.fixed_dictionaries({"type": st.just("integer"), "multipleOf": st.just(2)}),
    st.just({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": below, "maxItems": st.integers(0, 2)}),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from("ab"), below),
                "required": st.lists(st.sampled_from("ab"), unique=True),
                "additionalProperties": st.one_of(st.booleans(), below),
            }
        ),
    ),
    max_leaves=4,
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.just(1.5), st.sampled_from(["", "a", "ab", "b"])
    ),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.sampled_from("abc"), below)),
    max_leaves=6,
)


@given(SCHEMAS, VALUES)
def test_a_yes_is_always_right(schema, value):
    if compile_check(schema)(value):
        assert jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("manifest", crd_manifests(), ids=lambda m: m["metadata"]["name"])
def test_our_own_definitions_compile(manifest):
    for version in manifest["spec"]["versions"]:
        check = compile_check(version["schema"]["openAPIV3Schema"])
        assert check({"apiVersion": "v1", "kind": "x", "metadata": {}, "spec": 5}) is False


def test_a_pod_is_checked_quickly(monkeypatch):
    monkeypatch.setattr(pod_schema.POD, "_validator", None)
    spec = {"containers": [{"name": "c", "image": "x", "command": ["a"]}], "hostNetwork": True}
    assert pod_schema.POD.validate({"metadata": {}, "spec": spec, "status": {"phase": "x"}}) == []
