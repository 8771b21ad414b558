"""Strategic merge patch against the examples of the Kubernetes documentation."""

from __future__ import annotations

import copy

import pytest

from multinet.apiserver.errors import StatusError
from multinet.apiserver.merge_rules import POD
from multinet.apiserver.patches import merge, patcher
from multinet.apiserver.strategic import strategic_merge


def containers(*items):
    return {"spec": {"containers": list(items)}}


A = {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}
B = {"name": "b", "image": "b:1"}


def test_lists_merge_by_key_and_new_items_follow():
    patched = strategic_merge(containers(A, B), containers({"name": "b", "image": "b:2"}, {"name": "c"}), POD)
    assert [c["name"] for c in patched["spec"]["containers"]] == ["a", "b", "c"]
    assert patched["spec"]["containers"][1]["image"] == "b:2"


def test_nested_lists_merge_too_and_null_removes():
    patch = containers({"name": "a", "image": None, "env": [{"name": "Y", "value": "2"}]})
    (a,) = strategic_merge(containers(A), patch, POD)["spec"]["containers"]
    assert a == {"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}


def test_delete_and_replace_directives():
    deleted = strategic_merge(containers(A, B), containers({"name": "a", "$patch": "delete"}), POD)
    assert deleted == containers(B)
    replaced = strategic_merge(containers(A, B), containers({"name": "c"}, {"$patch": "replace"}), POD)
    assert replaced == containers({"name": "c"})
    whole = strategic_merge({"spec": {"x": 1}}, {"spec": {"$patch": "replace", "y": 2}}, POD)
    assert whole == {"spec": {"y": 2}}


def test_order_directive():
    patch = containers({"name": "c"})
    patch["spec"]["$setElementOrder/containers"] = [{"name": "c"}, {"name": "b"}, {"name": "a"}]
    patched = strategic_merge(containers(A, B), patch, POD)
    assert [c["name"] for c in patched["spec"]["containers"]] == ["c", "b", "a"]


def test_primitive_lists_join_and_lose_what_is_named():
    tree = {"metadata": {"finalizers": ["a", "b"]}}
    added = strategic_merge(tree, {"metadata": {"finalizers": ["c", "a"]}}, POD)
    assert added["metadata"]["finalizers"] == ["a", "b", "c"]
    removed = strategic_merge(tree, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, POD)
    assert removed["metadata"]["finalizers"] == ["b"]


def test_retain_keys_clears_the_other_sources_of_a_volume():
    tree = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {
        "spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}
    }
    patched = strategic_merge(tree, patch, POD)
    assert patched["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_lists_without_a_key_are_replaced_and_the_original_is_left_alone():
    tree = containers({"name": "a", "command": ["x", "y"]})
    before = copy.deepcopy(tree)
    patched = strategic_merge(tree, containers({"name": "a", "command": ["z"]}), POD)
    assert patched["spec"]["containers"][0]["command"] == ["z"]
    assert tree == before


def test_an_item_without_its_merge_key_is_refused():
    with pytest.raises(StatusError, match="does not contain declared merge key: name"):
        strategic_merge(containers(A), containers({"image": "x"}), POD)


def test_merge_patch_is_rfc_7386():
    assert merge({"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": None}, "l": [2]}) == {"a": {"c": 2}, "l": [2]}
    assert merge({"a": "x"}, {"a": {"b": {"c": None}}}) == {"a": {"b": {}}}


def test_json_patch_says_what_failed():
    from multinet.apiserver.builtins import BUILTINS

    pods = next(resource for resource in BUILTINS if resource.plural == "pods")
    media = "application/json-patch+json"
    add = patcher(b'[{"op":"add","path":"/metadata/x","value":1}]', media, pods)
    assert add({"metadata": {}}) == {"metadata": {"x": 1}}
    test = patcher(b'[{"op":"test","path":"/metadata/x","value":1}]', media, pods)
    with pytest.raises(StatusError) as refused:
        test({"metadata": {"x": 2}})
    assert refused.value.code == 422
