"""Results of CNI in each version's shape, and chained: ours and other plugins'."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.cni import results, spec
from multinet.cni.results import Result, ResultAddress, ResultInterface, ResultRoute
from multinet.cni.spec import CNIError

OURS = Result(
    interfaces=(
        ResultInterface("eth0", "02:00:00:00:00:01", "/run/netns/a", 1500),
        ResultInterface("eth1", "02:00:00:00:00:02", "/run/netns/a", 1500),
    ),
    ips=(
        ResultAddress("10.47.255.252/12", 0, "10.47.255.254"),
        ResultAddress("fd00::2/64", 0, "fd00::1"),
        ResultAddress("10.1.1.252/24", 1),
    ),
    routes=(ResultRoute("0.0.0.0/0", "10.47.255.254"), ResultRoute("::/0", "fd00::1")),
    nameservers=("10.47.255.253",),
)
# What a bridge plugin says, with keys of 1.1.0 and one that nobody knows.
BRIDGE = {
    "cniVersion": "1.1.0",
    "interfaces": [
        {"name": "cni0", "mac": "02:00:00:00:00:0a", "mtu": 1500},
        {"name": "eth9", "mac": "02:00:00:00:00:0b", "sandbox": "/run/netns/a", "pciID": "x"},
    ],
    "ips": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 1}],
    "routes": [{"dst": "192.0.2.0/24", "mtu": 1400}],
    "dns": {"nameservers": ["10.9.0.53"], "search": ["example"]},
    "x-vendor": {"kept": [1]},
}


@pytest.mark.parametrize("version", spec.SUPPORTED_VERSIONS[2:])
def test_a_result_has_the_shape_of_its_version(version):
    made = json.loads(json.dumps(OURS.to_object(version)))
    assert made["cniVersion"] == version
    assert [item["interface"] for item in made["ips"]] == [0, 0, 1]
    assert [item["name"] for item in made["interfaces"]] == ["eth0", "eth1"]
    assert all(item["sandbox"] == "/run/netns/a" for item in made["interfaces"])
    assert made["routes"][0] == {"dst": "0.0.0.0/0", "gw": "10.47.255.254"}
    assert made["dns"] == {"nameservers": ["10.47.255.253"]}
    # ips[].version left with 1.0.0, interfaces[].mtu came with 1.1.0.
    families = [item.get("version") for item in made["ips"]]
    assert families == (["4", "6", "4"] if version < "1.0.0" else [None] * 3)
    assert ("mtu" in made["interfaces"][0]) == (version >= "1.1.0")


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_first_versions_have_one_address_of_each_family(version):
    assert OURS.to_object(version) == {
        "cniVersion": version,
        "ip4": {
            "ip": "10.47.255.252/12",
            "gateway": "10.47.255.254",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.47.255.254"}],
        },
        "ip6": {"ip": "fd00::2/64", "gateway": "fd00::1", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
        "dns": {"nameservers": ["10.47.255.253"]},
    }


def test_an_unknown_version_is_refused():
    with pytest.raises(CNIError) as caught:
        OURS.to_object("2.0.0")
    assert caught.value.code == spec.INCOMPATIBLE_VERSION


def test_what_was_there_before_stays_and_positions_are_moved():
    made = OURS.to_object("1.1.0", results.previous_result({"prevResult": BRIDGE}))
    assert [item["name"] for item in made["interfaces"]] == ["cni0", "eth9", "eth0", "eth1"]
    assert made["interfaces"][1]["pciID"] == "x"
    assert [(item["address"], item["interface"]) for item in made["ips"]] == [
        ("10.9.0.2/24", 1),
        ("10.47.255.252/12", 2),
        ("fd00::2/64", 2),
        ("10.1.1.252/24", 3),
    ]
    assert made["routes"][0] == {"dst": "192.0.2.0/24", "mtu": 1400}
    assert made["dns"] == {"nameservers": ["10.9.0.53", "10.47.255.253"], "search": ["example"]}
    assert made["x-vendor"] == {"kept": [1]}


def test_a_chain_through_an_older_version_loses_only_what_that_has_no_room_for():
    made = results.as_version(BRIDGE, "0.4.0")
    assert made["interfaces"][1] == {
        "name": "eth9",
        "mac": "02:00:00:00:00:0b",
        "sandbox": "/run/netns/a",
    }
    assert made["routes"] == [{"dst": "192.0.2.0/24"}]
    assert made["ips"] == [{**BRIDGE["ips"][0], "version": "4"}]
    assert results.as_version(made, "1.1.0")["ips"] == BRIDGE["ips"]


def test_a_result_of_the_first_versions_is_read():
    old = {
        "cniVersion": "0.2.0",
        "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
    }
    made = results.as_version(old, "1.0.0")
    assert made["ips"] == [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}]
    assert made["routes"] == [{"dst": "0.0.0.0/0"}]
    assert results.as_version(made, "0.2.0") == {**old, "dns": {}}


@pytest.mark.parametrize(
    "previous",
    [
        [],
        {"interfaces": {}},
        {"ips": [{"address": "nonsense"}]},
        {"ips": [{"address": "10.0.0.1/8", "interface": 3}]},
        {"ips": [{"address": 7}]},
        {"routes": [{"dst": None}]},
        {"ip4": "10.0.0.1/8"},
        {"dns": []},
        {"dns": {"nameservers": "10.0.0.1"}},
    ],
)
def test_what_is_no_result_is_refused(previous):
    with pytest.raises(CNIError) as caught:
        results.previous_result({"prevResult": previous})
    assert caught.value.code == spec.INVALID_CONFIG


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("10.0.0.1/8"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["address", "dst", "ip", "interface", "routes"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["interfaces", "ips", "routes", "dns", "ip4", "ip6"]), JSON),
    st.sampled_from(spec.SUPPORTED_VERSIONS),
)
def test_any_json_is_a_result_or_a_cni_error(value, version):
    refusal = made = None
    try:
        made = results.as_version(value, version)
    except CNIError as error:
        refusal = error.code
    if made is None:
        assert refusal == spec.INVALID_CONFIG
    else:
        assert results.as_version(made, version) == made
