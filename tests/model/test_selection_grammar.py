"""The selection annotation: both forms, every key, every refusal with its position, and totality."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.model import selection
from multinet.model.selection import Bandwidth, NetworkSelection, PortMapping, SelectionError

MULTUS = frozenset({"multus"})


def parse(text, **options):
    return selection.parse(text, pod_namespace="ns1", **options)


def outcome(text, **options):
    try:
        return parse(text, **options)
    except SelectionError as error:
        return error


def names(text):
    return [item.nad for item in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n ", []),
        ("[]", []),
        (" [ ] ", []),
        ("net-a", ["ns1/net-a"]),
        ("net-a,net-b", ["ns1/net-a", "ns1/net-b"]),
        ("net-b,net-a", ["ns1/net-b", "ns1/net-a"]),
        ("net-a, net-b", ["ns1/net-a", "ns1/net-b"]),
        ("net-a,\nnet-b\n", ["ns1/net-a", "ns1/net-b"]),
        (" net-a", ["ns1/net-a"]),
        ("other/net-c", ["other/net-c"]),
        (
            "left-network,blue-network,extns/data-network",
            ["ns1/left-network", "ns1/blue-network", "extns/data-network"],
        ),
        ("net-a,net-a", ["ns1/net-a", "ns1/net-a"]),
        ("0start", ["ns1/0start"]),
        ("a" * 63, ["ns1/" + "a" * 63]),
        ('[ {"name":"net-a"} ]', ["ns1/net-a"]),
        ('\n [{"name":"net-a"}]\n', ["ns1/net-a"]),
        ('[{"name":"net-c","namespace":"other"}]', ["other/net-c"]),
        ('[{"name":"net-a","namespace":""}]', ["ns1/net-a"]),
        ('[\n  {"name": "network-a"},\n  {"name": "network-b"}\n]', ["ns1/network-a", "ns1/network-b"]),
    ],
)
def test_what_is_selected(text, expected):
    assert names(text) == expected


@pytest.mark.parametrize("count", [1, 2, 5, 50, 200])
def test_one_attachment_per_item(count):
    text = ",".join(f"n{number}" for number in range(count))
    assert len(parse(text)) == count
    assert names(text) == names(json.dumps([{"name": f"n{number}"} for number in range(count)]))


def test_every_key_is_read():
    element = {
        "name": "a",
        "namespace": "other",
        "interface": "foo_bar.1",
        "ips": ["10.1.1.7/24", "2001:DB8::7", "192.0.2.1"],
        "mac": "02-AA-bb-00-00-01",
        "default-route": ["10.1.1.1", "fe80::1"],
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tCp"},
            {"hostPort": 1, "containerPort": 65535},
        ],
        "bandwidth": {"ingressRate": 1000, "ingressBurst": 10, "egressRate": 5},
        "cni-args": {"deep": {"list": [1, 2.5, None, True]}},
        "infiniband-guid": "C2:11:22:33:44:55:66:77",
        "example.com/own": 1,
        "unknown": 2,
    }
    (item,) = parse(json.dumps([element]))
    assert item == NetworkSelection(
        name="a",
        namespace="other",
        interface="foo_bar.1",
        ips=("10.1.1.7/24", "2001:db8::7", "192.0.2.1"),
        mac="02:aa:bb:00:00:01",
        default_route=("10.1.1.1", "fe80::1"),
        port_mappings=(PortMapping(8080, 80, "tcp"), PortMapping(1, 65535)),
        bandwidth=Bandwidth(1000, 10, 5),
        cni_args={"deep": {"list": [1, 2.5, None, True]}},
        infiniband_guid="c2:11:22:33:44:55:66:77",
    )
    assert item.ignored == ("example.com/own", "unknown")
    assert parse('[{"name":"a","ipam-claim-reference":"vm.claim"}]')[0].ipam_claim_reference == "vm.claim"
    assert parse('[{"name":"a","default-route":[]}]')[0].default_route == ()


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("net-a,", 6, "an item of the list is empty"),
        (",", 0, "an item of the list is empty"),
        ("a,,b", 2, "an item of the list is empty"),
        ("a/b/c", 0, "'a/b' is no namespace"),
        ("t/", 2, "the network's name is empty"),
        ("/a", 0, "the namespace before / is empty"),
        ("ok,NET-A", 3, "'NET-A' is no network name"),
        ("a_b", 0, "no network name"),
        ("-a", 0, "no network name"),
        ("a b", 0, "no network name"),
        ("net-a@eth5", 5, "names an interface with @"),
        ("Other/a", 0, "'Other' is no namespace"),
        ('a,{"name":"b"}', 2, "the two forms are mixed"),
        ('{"name":"net-a"}', 0, "a single JSON map"),
        ('[{"name":"net-a"}', 17, "ends before the closing ']'"),
        ("[{", 2, "a key in double quotes"),
        ("[{'name':'net-a'}]", 2, "a key in double quotes"),
        ('[{"name":"a"},]', 13, "one too many"),
        ('[{"name":"a",}]', 12, "one too many"),
        ('[{"name":"a"}] x', 15, "more text after the end"),
        ('[{"name" "a"}]', 9, "a colon is expected"),
        ('[{"name":"a","name":"b"}]', 13, "the key 'name' is there twice"),
        ('[{"name":"a","cni-args":{"x":1,"x":2}}]', 31, "the key 'x' is there twice"),
        ('[{"name":"a","x":NaN}]', 17, "a value is expected"),
        ('[{"name":"a","x":1e999}]', 17, "too large"),
        ('[{"name":"a","x":"\\ud800"}]', 17, "surrogate"),
        ("[" * 100, 33, "nested more than"),
        ('["net-a"]', 1, "an item of the list is a string"),
        ("[1]", 1, "is a number"),
        ("[null]", 1, "is a null"),
        ("[[]]", 1, "is a list"),
        ('[{"namespace":"ns1"}]', 1, "has no name"),
        ('[{"name":5}]', 9, "name is a number"),
        ('[{"name":""}]', 9, "the network's name is empty"),
        ('[{"name":"other/net-c"}]', 9, '"namespace": "other", "name": "net-c"'),
        ('[{"name":"a","namespace":null}]', 25, "namespace is a null"),
        ('[{"name":"a","ips":[]}]', 19, "ips is empty"),
        ('[{"name":"a","ips":"10.1.1.1"}]', 19, "ips is a string"),
        ('[{"name":"a","ips":["300.1.1.1"]}]', 20, "is no IP address"),
        ('[{"name":"a","ips":["10.1.1.1","1.2.3"]}]', 31, "is no IP address"),
        ('[{"name":"a","ips":["fe80::1%eth0"]}]', 20, "zone"),
        ('[{"name":"a","ips":["::ffff:1.2.3.4"]}]', 20, "IPv4-mapped"),
        ('[{"name":"a","ips":["010.1.1.1"]}]', 20, "is no IP address"),
        ('[{"name":"a","ips":[""]}]', 20, "is no IP address"),
        ('[{"name":"a","ips":["10.1.1.0/24"]}]', 20, "network or broadcast"),
        ('[{"name":"a","ips":["10.1.1.255/24"]}]', 20, "network or broadcast"),
        ('[{"name":"a","ips":["10.1.1.1/33"]}]', 20, "no valid prefix length"),
        ('[{"name":"a","ips":["10.1.1.1/+4"]}]', 20, "no valid prefix length"),
        ('[{"name":"a","ips":["224.0.0.1"]}]', 20, "multicast"),
        ('[{"name":"a","ips":["10.1.1.1","10.1.1.1/24"]}]', 1, "asked for twice"),
        ('[{"name":"a","mac":"00:00:00:00:00:00"}]', 19, "all-zero"),
        ('[{"name":"a","mac":"01:00:5e:00:00:01"}]', 19, "multicast"),
        ('[{"name":"a","mac":"ff:ff:ff:ff:ff:ff"}]', 19, "multicast or broadcast"),
        ('[{"name":"a","mac":"zz:00:00:00:00:01"}]', 19, "six bytes"),
        ('[{"name":"a","mac":"0200.0000.0001"}]', 19, "six bytes"),
        ('[{"name":"a","mac":"02:00:00:00:00:00:00:01"}]', 19, "six bytes"),
        ('[{"name":"a","interface":""}]', 25, "1 to 15"),
        ('[{"name":"a","interface":"sixteen-bytes-xx"}]', 25, "it has 16 bytes"),
        ('[{"name":"a","interface":"a/b"}]', 25, "no interface name"),
        ('[{"name":"a","interface":"a:b"}]', 25, "no interface name"),
        ('[{"name":"a","interface":"a b"}]', 25, "blank"),
        ('[{"name":"a","interface":"\u00e0"}]', 25, "blank"),
        ('[{"name":"a","interface":".."}]', 25, "reserved"),
        ('[{"name":"a","interface":"eth%d"}]', 25, "no interface name"),
        ('[{"name":"a","interface":"x"},{"name":"b","interface":"x"}]', 30, "asked for twice"),
        ('[{"name":"a","default-route":["x"]}]', 30, "is no IP address"),
        ('[{"name":"a","default-route":["10.0.0.0/8"]}]', 30, "is no IP address"),
        ('[{"name":"a","default-route":[]},{"name":"b","default-route":[]}]', 33, "more than one item"),
        ('[{"name":"a","portMappings":[]}]', 28, "is empty"),
        ('[{"name":"a","portMappings":[{"hostPort":1}]}]', 29, "has no containerPort"),
        ('[{"name":"a","portMappings":[{"hostPort":0,"containerPort":1}]}]', 41, "hostPort is 0"),
        ('[{"name":"a","portMappings":[{"hostPort":65536,"containerPort":1}]}]', 41, "from 1 to 65535"),
        ('[{"name":"a","portMappings":[{"hostPort":"80","containerPort":1}]}]', 41, "hostPort is a string"),
        ('[{"name":"a","portMappings":[{"hostPort":80.5,"containerPort":1}]}]', 41, "hostPort is 80.5"),
        ('[{"name":"a","portMappings":[{"hostPort":true,"containerPort":1}]}]', 41, "hostPort is a boolean"),
        (
            '[{"name":"a","portMappings":[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]}]',
            72,
            "TCP, UDP or SCTP",
        ),
        ('[{"name":"a","bandwidth":{}}]', 25, "limits nothing"),
        ('[{"name":"a","bandwidth":{"ingressRate":0}}]', 40, "ingressRate is 0"),
        ('[{"name":"a","bandwidth":{"egressRate":1,"ingressBurst":5}}]', 41, "without ingressRate"),
        ('[{"name":"a","bandwidth":{"ingressRate":1,"egressBurst":5}}]', 42, "without egressRate"),
        ('[{"name":"a","cni-args":[]}]', 24, "cni-args is a list"),
        ('[{"name":"a","infiniband-guid":"02:00"}]', 31, "eight bytes"),
        ('[{"name":"a","ips":["10.1.1.1"],"ipam-claim-reference":"c"}]', 32, "both ips and"),
        ('[{"name":"a","ipam-claim-reference":""}]', 36, "is no object name"),
    ],
)
def test_what_is_refused_and_where(text, at, words):
    with pytest.raises(SelectionError) as caught:
        parse(text)
    error = caught.value
    assert error.position == at
    assert words in str(error)
    assert f"character {at + 1}" in error.where


def test_the_caret_stands_under_the_character():
    with pytest.raises(SelectionError) as caught:
        parse('[\n  {"name": "a"},\n  {"name": "b", "mac": "zz"}\n]')
    message, line, caret = caught.value.pointed().splitlines()
    assert "'zz' is no interface's MAC address" in message
    assert line[caret.index("^") :].startswith('"zz"')


def test_at_interface_is_an_extension():
    (item,) = parse("other/net-c@if1", extensions=MULTUS)
    assert (item.nad, item.interface) == ("other/net-c", "if1")
    with pytest.raises(SelectionError, match="no interface name"):
        parse("a@", extensions=MULTUS)


ALPHABET = st.sampled_from(
    list('[]{}",:/@ \n\t\\') + list("abz09.-_%é") + ["name", "ips", '"name":"a"', "10.1.1.1", "null"]
)
SOUP = st.lists(ALPHABET, max_size=40).map("".join)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "namespace",
    "interface",
    "ips",
    "mac",
    "default-route",
    "portMappings",
    "bandwidth",
    "cni-args",
    "infiniband-guid",
    "ipam-claim-reference",
    "x.y/z",
]
VALUES = st.sampled_from(
    [
        "ns",
        "eth7",
        ["10.1.1.9/24"],
        ["2001:db8::1"],
        "02:00:00:00:00:01",
        [],
        {"ingressRate": 5},
        {"a": [1, {"b": None}]},
        [{"hostPort": 1, "containerPort": 2}],
        "claim",
        "00:11:22:33:44:55:66:77",
    ]
)
ELEMENTS = st.dictionaries(st.sampled_from(KEYS), VALUES | JSON_VALUES, max_size=4).map(
    lambda d: {"name": "net"} | d
)
ANNOTATIONS = (
    st.text(max_size=60) | SOUP | JSON_VALUES.map(json.dumps) | st.lists(ELEMENTS, max_size=3).map(json.dumps)
)


@given(text=ANNOTATIONS, extensions=st.sampled_from([frozenset(), MULTUS]))
def test_any_text_gives_selections_or_a_selection_error(text, extensions):
    found = outcome(text, extensions=extensions)
    if isinstance(found, SelectionError):
        assert 0 <= found.position <= len(text)
        assert found.what
        assert found.pointed().endswith("^")
        return
    printed = selection.render(found)
    assert parse(printed) == found
    assert selection.render(parse(printed)) == printed


@given(cut=st.integers(0, 400), swap=st.characters())
def test_damage_to_a_good_annotation_never_escapes(cut, swap):
    good = json.dumps(
        [
            {"name": "a", "ips": ["10.1.1.2/24"], "mac": "02:00:00:00:00:01", "cni-args": {"k": [1]}},
            {"name": "b"},
        ]
    )
    cut %= len(good)
    for text in (good[:cut], good[:cut] + swap + good[cut + 1 :]):
        found = outcome(text)
        if isinstance(found, SelectionError):
            assert found.where.startswith("k8s.v1.cni.cncf.io/networks, character ")
