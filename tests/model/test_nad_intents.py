"""NADs: acceptance, annotations and the CIDR table of the Contrail reading (N21) in the default dialect."""

import pytest

from multinet.model import nad as nads
from multinet.model.nad import NadError

OURS = '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'


def nad(config=OURS, name="right-network", namespace="default", **annotations):
    marked = {f"opencontrail.org/{key}": value for key, value in annotations.items()}
    meta = {"name": name, "namespace": namespace, "annotations": marked or None}
    return {"metadata": meta, "spec": {} if config is None else {"config": config}}


def problem(obj):
    with pytest.raises(NadError) as caught:
        nads.parse(obj)
    assert caught.value.what
    assert caught.value.next_step
    assert "default/" in caught.value.where
    return caught.value


@pytest.mark.parametrize(
    ("cidr", "block", "gateway"),
    [
        ("10.1.1.0/24", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.5/24", "10.1.1.0/24", "10.1.1.254"),
        (" 10.1.1.0/24 ", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.0/255.255.255.0", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.0/0.0.0.255", "10.1.1.0/24", "10.1.1.254"),
        ("10.32.0.0/12", "10.32.0.0/12", "10.47.255.254"),
        ("10.1.1.0/29", "10.1.1.0/29", "10.1.1.6"),
    ],
)
def test_blocks_that_are_accepted(cidr, block, gateway):
    intent = nads.parse(nad(cidr=cidr))
    assert intent.kind == "create"
    assert intent.cidrs == (block,)
    assert str(intent.subnets[0].gateway) == gateway
    assert intent.target == ("default-domain", "k8s-default", "k8s-right-network-pod-network")


@pytest.mark.parametrize(
    ("cidr", "reason", "words"),
    [
        ("10.1.1.0/30", "CIDRUnusable", "leave no address"),
        ("10.1.1.0/31", "CIDRUnusable", "leave no address"),
        ("10.1.1.0/32", "CIDRUnusable", "leave no address"),
        ("10.1.1.0", "CIDRInvalid", "no prefix length"),
        ("10.1.1", "CIDRInvalid", "no prefix length"),
        ("10", "CIDRInvalid", "no prefix length"),
        ("10.1.1.0/33", "CIDRInvalid", "33"),
        ("abc", "CIDRInvalid", "no prefix length"),
        ("", "CIDRInvalid", "empty"),
        ("[10.1.1.0/24]", "CIDRInvalid", "written in JSON"),
        ("[]", "CIDRInvalid", "at least one string"),
        ("10.0.0.0/24,", "CIDRInvalid", "empty"),
        ("10.0.0.0/24,10.0.0.128/25", "SubnetsOverlap", "overlap"),
        ("2001:db8::/128", "CIDRUnusable", "leave no address"),
        ("2000::/3", "CIDRUnusable", "larger than /16"),
        ("fe80::/64", "CIDRUnusable", "link-local"),
        ("::ffff:10.0.0.0/120", "CIDRUnusable", "IPv4-mapped"),
        ("0.0.0.0/0", "CIDRUnusable", "larger than /8"),
        ("224.0.0.0/24", "CIDRUnusable", "multicast"),
    ],
)
def test_blocks_that_are_refused(cidr, reason, words):
    error = problem(nad(cidr=cidr))
    assert error.reason == reason
    assert words in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "10.1.1.0/24,2001:db8::/64",
        " 10.1.1.0/24 , 2001:db8::5/64 ",
        '["10.1.1.0/24", "2001:db8::/64"]',
        "['10.1.1.0/24', '2001:db8::/64']",
    ],
)
def test_several_blocks_of_both_families(text):
    intent = nads.parse(nad(cidr=text))
    assert intent.cidrs == ("10.1.1.0/24", "2001:db8::/64")
    assert [str(subnet.gateway) for subnet in intent.subnets] == [
        "10.1.1.254",
        "2001:db8::ffff:ffff:ffff:fffe",
    ]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("{'domain': 'd', 'project': 'p', 'name': 'n'}", ("d", "p", "n")),
        ('{"domain": "d", "project": "p", "name": "n", "extra": true}', ("d", "p", "n")),
    ],
)
def test_mapping_to_an_existing_network(text, target):
    intent = nads.parse(nad(network=text))
    assert (intent.kind, intent.target, intent.subnets) == ("map", target, ())


@pytest.mark.parametrize(
    "text",
    [
        "d:p:n",
        "{}",
        "['d']",
        '{"domain": "d", "project": "p"}',
        "{'domain': '', 'project': 'p', 'name': 'n'}",
        "{\\",
        "(" * 3000,
    ],
)
def test_mappings_that_can_not_be_read(text):
    assert problem(nad(network=text)).reason == "NetworkInvalid"


@pytest.mark.parametrize(
    ("config", "plugin"),
    [
        ('{"type": "macvlan"}', "macvlan"),
        ('{"type": "Contrail-k8s-cni"}', "Contrail-k8s-cni"),
        ('{"cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]}', "bridge"),
    ],
)
def test_other_types_are_foreign_whatever_they_carry(config, plugin):
    intent = nads.parse(nad(config, cidr="10.1.1.0/24"))
    assert (intent.kind, intent.target, intent.plugin_type) == ("foreign", None, plugin)


@pytest.mark.parametrize(
    "config", [None, "", OURS, '{"plugins": [{"type": "contrail-k8s-cni"}]}', '{"type": "multinet-cni"}']
)
def test_configs_that_are_ours(config):
    assert nads.parse(nad(config, cidr="10.1.1.0/24")).kind == "create"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{“type”: “contrail-k8s-cni”}", "ConfigNotJSON"),
        ("{", "ConfigNotJSON"),
        ("[1]", "ConfigInvalid"),
        ("{}", "ConfigInvalid"),
        ('{"type": 5}', "ConfigInvalid"),
        (None, "EmptyDefinition"),
        (OURS, "NetworkMissing"),
    ],
)
def test_configs_that_can_not_be_used(config, reason):
    assert problem(nad(config)).reason == reason


def test_unknown_keys_are_noted():
    reference = '{"domain": "d", "project": "p", "name": "n", "nmae": "x"}'
    intent = nads.parse(nad(network=reference))
    assert [note.reason for note in intent.notes] == ["AnnotationUnknown"]


def test_flags_and_notes():
    intent = nads.parse(nad(cidr="10.1.1.0/24", ip_fabric_snat="TRUE", ip_fabric_forwarding="false"))
    assert (intent.fabric_snat, intent.ip_fabric_forwarding, intent.notes) == (True, False, ())
    both = nads.parse(nad(cidr="10.1.1.0/24", ip_fabric_snat="true", ip_fabric_forwarding="true"))
    assert (both.fabric_snat, both.ip_fabric_forwarding) == (False, True)
    assert [note.reason for note in both.notes] == ["SnatUnused"]
    odd = nads.parse(nad(cidr="10.1.1.0/24", ip_fabric_snat="yes"))
    assert odd.fabric_snat is False
    assert [note.reason for note in odd.notes] == ["FlagInvalid"]


def test_cidr_wins_over_network_and_says_so():
    intent = nads.parse(nad(cidr="10.1.1.0/24", network="{'domain': 'd', 'project': 'p', 'name': 'n'}"))
    assert intent.kind == "create"
    assert [note.reason for note in intent.notes] == ["NetworkAnnotationUnused"]


def test_the_default_networks_name_is_reserved():
    assert problem(nad(name="default", cidr="10.1.1.0/24")).reason == "NameReserved"
    assert nads.parse(nad(name="default", namespace="other", cidr="10.1.1.0/24")).kind == "create"


def device(name, **annotations):
    made = nad(**annotations)
    made["metadata"]["annotations"] = (made["metadata"]["annotations"] or {}) | {nads.ANNOTATION_DEVICE: name}
    return made


def test_a_device_makes_a_network_with_or_without_addresses():
    bare, addressed = nads.parse(device("nic0")), nads.parse(device("enp3s0.7", cidr="10.1.1.0/24"))
    assert (bare.kind, bare.device, bare.cidrs) == ("create", "nic0", ())
    assert (addressed.kind, addressed.device, addressed.cidrs) == ("create", "enp3s0.7", ("10.1.1.0/24",))
    assert addressed.shown == "subnet 10.1.1.0/24 and device enp3s0.7"


@pytest.mark.parametrize("name", ["", "lo", "a" * 16, "a/b", "a b", ".."])
def test_names_that_no_spare_nic_has(name):
    assert problem(device(name)).reason == "DeviceInvalid"


def test_a_device_is_in_no_network_of_others_and_is_not_forwarded():
    reference = '{"domain": "d", "project": "p", "name": "n"}'
    assert problem(device("nic0", network=reference)).reason == "DeviceInvalid"
    intent = nads.parse(device("nic0", cidr="10.1.1.0/24", ip_fabric_snat="true"))
    assert [note.reason for note in intent.notes] == ["FlagUnused"]
    assert not intent.fabric_snat
