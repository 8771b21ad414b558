"""Results, errors and parameters of CNI in each version."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.cni import request, spec
from multinet.cni.spec import CNIError


def test_an_error_says_what_and_why():
    made = json.loads(CNIError(11, "no agent", "start it").to_json("0.4.0"))
    assert made == {"cniVersion": "0.4.0", "code": 11, "msg": "no agent", "details": "start it"}


@pytest.mark.parametrize("name", ["eth0", "a", "x" * 15, "net-1.2_3"])
def test_usable_interface_names(name):
    spec.check_ifname(name)
    assert len(name) <= 15


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 16, "a/b", "a:b", "a b", "a\n", "é" * 8])
def test_unusable_interface_names(name):
    with pytest.raises(CNIError) as caught:
        spec.check_ifname(name)
    assert caught.value.code == spec.INVALID_ENVIRONMENT


@pytest.mark.parametrize("value", ["", "-a", ".a", "%", "a b", "a/b", "ä", "a\n"])
def test_unusable_container_ids(value):
    with pytest.raises(CNIError) as caught:
        spec.check_container_id(value)
    assert caught.value.code == spec.INVALID_ENVIRONMENT


def test_args():
    text = "IgnoreUnknown=1;K8S_POD_NAME=a;X=b=c;"
    assert spec.parse_args(text) == {"IgnoreUnknown": "1", "K8S_POD_NAME": "a", "X": "b=c"}
    with pytest.raises(CNIError):
        spec.parse_args("nonsense")


ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "abc",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "K8S_POD_NAME=p",
}
CONFIG = {"cniVersion": "1.0.0", "name": "multinet", "type": "multinet-cni"}


def parse(environment=None, **config):
    return request.parse({**ENVIRONMENT, **(environment or {})}, json.dumps({**CONFIG, **config}).encode())


def test_a_complete_call():
    made = parse()
    assert (made.command, made.container_id, made.netns) == ("ADD", "abc", "/run/netns/x")
    assert made.arg("K8S_POD_NAME") == "p"
    assert made.arg("K8S_POD_UID") == ""


@pytest.mark.parametrize("variable", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_COMMAND"])
def test_a_missing_variable_is_named(variable):
    with pytest.raises(CNIError) as caught:
        parse({variable: ""})
    assert caught.value.code == spec.INVALID_ENVIRONMENT
    assert variable in caught.value.msg


@pytest.mark.parametrize("version", ["9.9.9", "", "1.0", "v1.0.0"])
def test_unsupported_versions(version):
    with pytest.raises(CNIError) as caught:
        parse(cniVersion=version)
    assert caught.value.code == spec.INCOMPATIBLE_VERSION


def test_a_configuration_without_a_version_is_one_of_before_there_were_versions():
    assert parse(cniVersion=None).version == "0.1.0"


@pytest.mark.parametrize(("command", "version"), [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")])
def test_commands_younger_than_the_configuration(command, version):
    with pytest.raises(CNIError) as caught:
        parse({"CNI_COMMAND": command}, cniVersion=version)
    assert caught.value.code == spec.INCOMPATIBLE_VERSION


@pytest.mark.parametrize("stdin", [b"", b"  \n", b"{", b"[]", b"3", b"[" * 100000, b"\xff\xfe"])
def test_input_that_is_no_configuration(stdin):
    with pytest.raises(CNIError) as caught:
        request.parse(ENVIRONMENT, stdin)
    assert caught.value.code == spec.DECODE_FAILURE


def test_gc_without_a_list_is_refused_rather_than_taken_for_an_empty_one():
    with pytest.raises(CNIError) as caught:
        request.valid_attachments({})
    assert caught.value.code == spec.INVALID_CONFIG
    listed = [{"containerID": "a", "ifname": "eth0"}]
    assert request.valid_attachments({"cni.dev/attachments": listed}) == {("a", "eth0")}
    assert request.valid_attachments({"cni.dev/valid-attachments": []}) == frozenset()
    with pytest.raises(CNIError):
        request.valid_attachments({"cni.dev/valid-attachments": [], "cni.dev/attachments": None})


def test_gc_keeps_what_either_of_its_two_keys_lists():
    lists = {
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
        "cni.dev/attachments": [{"containerID": "b", "ifname": "eth0"}],
    }
    assert request.valid_attachments(lists) == {("a", "eth0"), ("b", "eth0")}


def test_capabilities_are_refused_by_name_and_value_unless_they_ask_for_nothing():
    request.refuse_runtime_config({"runtimeConfig": {"ips": [], "mac": "", "dns": {}, "bandwidth": None}})
    with pytest.raises(CNIError) as caught:
        request.refuse_runtime_config({"runtimeConfig": {"portMappings": [{"hostPort": 8080}]}})
    assert caught.value.code == spec.UNSUPPORTED_FIELD
    assert 'portMappings is not supported: [{"hostPort": 8080}]' in caught.value.msg
    with pytest.raises(CNIError) as caught:
        request.refuse_runtime_config({"runtimeConfig": [1]})
    assert caught.value.code == spec.INVALID_CONFIG


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
VALUES = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "eth0", "abc", "A=b"]) | st.text()


@given(
    environment=st.dictionaries(st.sampled_from(list(ENVIRONMENT)), VALUES),
    keys=st.dictionaries(st.sampled_from(["cniVersion", "name", "prevResult", "cni.dev/attachments"]), JSON),
    raw=st.none() | st.binary(),
)
def test_whatever_arrives_is_a_request_or_a_cni_error(environment, keys, raw):
    stdin = json.dumps({**CONFIG, **keys}).encode() if raw is None else raw
    refusal = made = None
    try:
        made = request.parse({**ENVIRONMENT, **environment}, stdin)
    except CNIError as error:
        refusal = json.loads(error.to_json(request.stated_version(stdin)))
    if made is not None:
        assert made.version in spec.SUPPORTED_VERSIONS
    else:
        assert refusal["code"] > 0
        assert refusal["cniVersion"] in spec.SUPPORTED_VERSIONS
