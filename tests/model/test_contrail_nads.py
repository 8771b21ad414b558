"""Rows 1.2, 1.3 and 1.5: NADs and CIDRs as the original takes them."""

import pytest

from multinet.model import nad_contrail

OURS = '{"cniVersion": "0.3.0", "type": "contrail-k8s-cni", "isGateway": true}'


def nad(config=OURS, annotations=None):
    meta = {"name": "left", "namespace": "ns1", "annotations": annotations}
    return {"metadata": meta, "spec": {"config": config} if config is not None else {}}


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        (OURS, True),
        ('{"type": "Contrail-k8s-cni"}', False),
        ('{"type": "contrail-cni"}', False),
        ('{"type": "macvlan"}', False),
        ('{"type": "multinet-cni"}', False),
        (None, False),
        ("", False),
        ('{"plugins": [{"type": "contrail-k8s-cni"}]}', False),
        ("[1]", False),
        ("{“type”: “contrail-k8s-cni”}", False),
    ],
)
def test_1_2_acceptance_by_one_exact_type(config, accepted):
    assert nad_contrail.is_accepted(nad(config)) is accepted


@pytest.mark.parametrize(
    ("cidr", "block", "gateway"),
    [
        ("10.1.1.0/24", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.5/24", "10.1.1.0/24", "10.1.1.254"),
        (" 10.1.1.0/24 ", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.0/255.255.255.0", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.0/0.0.0.255", "10.1.1.0/24", "10.1.1.254"),
        ("10.1.1.0/30", "10.1.1.0/30", "10.1.1.2"),
        ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.254"),
        ("2001:db8::/64", "2001:db8::/64", "2001:db8::ffff:ffff:ffff:fffe"),
    ],
)
def test_N21_blocks_that_make_a_network(cidr, block, gateway):
    subnet = nad_contrail.subnet_of(cidr)
    assert (str(subnet.cidr), str(subnet.gateway)) == (block, gateway)


@pytest.mark.parametrize(
    "cidr",
    [
        *("10.1.1.0/31", "10.1.1.0/32", "10.1.1.0", "10.1.1", "10", "10.1.1.0/33", "abc", ""),
        *("['10.1.1.0/24']", "10.0.0.0/24,10.0.1.0/24"),
    ],
)
def test_N21_blocks_that_make_none(cidr):
    assert nad_contrail.subnet_of(cidr) is None


def test_N21_a_30_has_no_address_for_a_pod():
    assert nad_contrail.subnet_of("10.1.1.0/30").usable == 0


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("{'domain': 'd', 'project': 'p', 'name': 'n'}", ("d", "p", "n")),
        ('{"domain": "d", "project": "p", "name": "n", "extra": 5}', ("d", "p", "n")),
        ('{"domain": "d", "project": "p", "name": "n", "extra": true}', None),
        ('{"domain": "d", "project": "p"}', None),
        ('{"domain": "", "project": "p", "name": "n"}', None),
        ("d:p:n", None),
        ("{}", None),
        ("['d', 'p', 'n']", None),
        ("", None),
    ],
)
def test_N10_the_network_annotation_is_a_python_literal(text, target):
    found = nad_contrail.target(nad(annotations={"opencontrail.org/network": text}), cluster="k8s")
    assert found == target


def test_N12_no_annotations_no_network():
    assert nad_contrail.target(nad(), cluster="k8s") is None
    assert nad_contrail.target(nad(annotations={}), cluster="k8s") is None


def test_N23_the_name_is_computed_before_the_cidr_is_read():
    bad = nad(annotations={"opencontrail.org/cidr": "abc"})
    assert nad_contrail.target(bad, cluster="k8s") == (
        "default-domain",
        "k8s-ns1",
        "k8s-left-pod-network",
    )
    assert nad_contrail.intent(bad, cluster="k8s") is None


def test_N8_flags_are_true_only_when_they_say_so():
    marks = {"opencontrail.org/cidr": "10.1.1.0/24", "opencontrail.org/ip_fabric_snat": "TRUE"}
    assert nad_contrail.intent(nad(annotations=marks), cluster="k8s").fabric_snat
    marks["opencontrail.org/ip_fabric_forwarding"] = "yes"
    assert not nad_contrail.intent(nad(annotations=marks), cluster="k8s").ip_fabric_forwarding
    marks["opencontrail.org/ip_fabric_forwarding"] = "true"
    both = nad_contrail.intent(nad(annotations=marks), cluster="k8s")
    assert (both.ip_fabric_forwarding, both.fabric_snat) == (True, False)
