"""The oracle on what decides a pod's networks beside its selection: annotations, isolation, dialects."""

import json

import pytest

from multinet.model import naming
from multinet.model.dialect import CONTRAIL_CLASSIC, DEFAULT
from topology.expectation import Expectations

UIDS = {name: f"00000000-0000-4000-8000-{number:012d}" for number, name in enumerate("abcd")}
REFERENCE = json.dumps({"domain": "default-domain", "project": "p", "name": "blue"})
GREEN = json.dumps({"domain": "default-domain", "project": "p", "name": "green"})
BOTH = pytest.mark.parametrize("dialect", [DEFAULT, CONTRAIL_CLASSIC], ids=["default", "classic"])
GUID = "24:8a:07:03:00:8d:ae:2e"


def marked(**annotations):
    return {f"opencontrail.org/{key}": value for key, value in annotations.items()}


def pod(name, networks=None, namespace="default", **annotations):
    keys = marked(**annotations) | ({"k8s.v1.cni.cncf.io/networks": networks} if networks else {})
    metadata = {"name": name, "namespace": namespace, "uid": UIDS[name], "annotations": keys}
    return {"metadata": metadata, "spec": {"nodeName": "node1"}, "status": {"phase": "Running"}}


def space(name, **annotations):
    return {"metadata": {"name": name, "annotations": marked(**annotations)}}


def nad(name, config=None, uid="", **annotations):
    metadata = {"name": name, "namespace": "default", "uid": uid, "annotations": marked(**annotations)}
    return {"metadata": metadata, "spec": {"config": config or json.dumps({"type": "contrail-k8s-cni"})}}


def network(project, name, vni, *cidrs, mode="l2_l3", made_of="", born="2026-01-01T00:00:00Z", called=""):
    fq_name = ["default-domain", project, name]
    metadata = {"name": called or naming.object_name(tuple(fq_name)), "creationTimestamp": born}
    if made_of:
        metadata["labels"] = {"multinet.opencontrail.org/origin": "nad"}
        metadata["annotations"] = {"multinet.opencontrail.org/nad": made_of}
    subnets = [{"cidr": cidr} for cidr in cidrs]
    return {
        "metadata": metadata,
        "spec": {"fqName": fq_name, "vni": vni, "forwardingMode": mode, "subnets": subnets},
    }


CLUSTER = network("k8s-default", "k8s-default-pod-network", 4, "10.32.0.0/12", mode="l3")
ISOLATED = network("k8s-iso", "k8s-iso-pod-network", 7, "10.32.0.0/12", mode="l3")
BLUE = network("p", "blue", 8, "10.8.0.0/24", mode="l3")
RIGHT = network("k8s-default", "k8s-right-pod-network", 5, "10.1.1.0/24", made_of="default/right")
NETWORKS = [CLUSTER, ISOLATED, BLUE, RIGHT]
NADS = [nad("right", cidr="10.1.1.0/24")]


def expect(one, *spaces, nads=NADS, networks=NETWORKS, dialect=DEFAULT):
    (found,) = Expectations(dialect).observe([one], nads, networks, spaces)
    return found


def names(found):
    return [(one.interface, one.network) for one in found.interfaces]


@BOTH
def test_interface_0_is_where_pod_or_namespace_say(dialect):
    blue = [("eth0", "default-domain.p.blue")]
    assert names(expect(pod("a", network=REFERENCE), dialect=dialect)) == blue
    assert names(expect(pod("a"), space("default", network=REFERENCE), dialect=dialect)) == blue
    both = expect(pod("a", network=REFERENCE), space("default", network=GREEN), dialect=dialect)
    assert names(both) == blue
    assert both.interfaces[0].status_name == "cluster-wide-default"
    assert "p:green" in expect(pod("a", network=GREEN), dialect=dialect).problem
    assert expect(pod("a", network="{"), dialect=dialect).problem


@BOTH
def test_interface_0_is_in_the_isolated_namespaces_network(dialect):
    isolated = space("iso", isolation="true")
    one = pod("a", namespace="iso")
    own = [("eth0", "default-domain.k8s-iso.k8s-iso-pod-network")]
    assert names(expect(one, isolated, dialect=dialect)) == own
    (early,) = expect(one, isolated, networks=[CLUSTER], dialect=dialect).interfaces
    assert (early.network, early.forwarding_mode, early.subnets) == (own[0][1], "l3", ("10.32.0.0/12",))
    default = [("eth0", "default-domain.k8s-default.k8s-default-pod-network")]
    assert names(expect(one, space("iso", isolation="false"), dialect=dialect)) == default
    assert names(expect(one, dialect=dialect)) == default


def test_isolation_set_later_counts_for_new_pods():
    memory = Expectations()
    memory.observe([pod("a", namespace="iso")], [], NETWORKS, [space("iso")])
    old, new = memory.observe(
        [pod("a", namespace="iso"), pod("b", namespace="iso")], [], NETWORKS, [space("iso", isolation="true")]
    )
    assert old.interfaces[0].vni == 4
    assert new.interfaces[0].vni == 7


def test_a_dual_stack_nad_gives_an_address_of_each_family():
    both = [nad("right", cidr="10.1.1.0/24, 2001:db8::/64, 10.2.2.0/24")]
    found = expect(pod("a", "right"), nads=both, networks=[CLUSTER]).interfaces[1]
    assert found.subnets == ("10.1.1.0/24", "2001:db8::/64")
    made = network("k8s-default", "k8s-right-pod-network", 9, "10.1.1.0/24", "2001:db8::/64")
    memory = Expectations()
    memory.observe([pod("a", "right")], both, [CLUSTER])
    (found,) = memory.observe([pod("a", "right")], both, [CLUSTER, made])
    assert (found.interfaces[1].vni, found.interfaces[1].subnets) == (9, ("10.1.1.0/24", "2001:db8::/64"))


def test_requests_are_expected_exactly_or_refused():
    asked = {"name": "right", "interface": "eth1", "ips": ["10.1.1.9/24"], "default-route": ["10.1.1.254"]}
    first, second, third = expect(pod("a", json.dumps([{"name": "right"}, asked]))).interfaces
    assert [first.interface, second.interface, third.interface] == ["eth0", "eth2", "eth1"]
    assert (third.addresses, third.subnets, third.gateways) == (
        ("10.1.1.9",),
        ("10.1.1.0/24",),
        ("10.1.1.254",),
    )
    assert [one.carries_default_route for one in (first, second, third)] == [False, False, True]
    for wrong in (
        {"interface": "eth0"},
        {"ips": ["10.9.9.9"]},
        {"infiniband-guid": GUID},
    ):
        assert expect(pod("a", json.dumps([{"name": "right"} | wrong]))).problem


def test_a_network_that_is_not_the_nads_own_is_refused_or_shared_as_the_dialect_says():
    somebodys = network("k8s-default", "k8s-right-pod-network", 5, "10.1.1.0/24")
    assert "exists and was not made of" in expect(pod("a", "right"), networks=[CLUSTER, somebodys]).problem
    shared = expect(pod("a", "right"), networks=[CLUSTER, somebodys], dialect=CONTRAIL_CLASSIC)
    assert [one.vni for one in shared.interfaces] == [4, 5]
    edited = [nad("right", cidr="10.9.9.0/24")]
    assert "10.9.9.0/24" in expect(pod("a", "right"), nads=edited).problem
    assert not expect(pod("a", "right"), nads=edited, dialect=CONTRAIL_CLASSIC).problem


def test_of_networks_with_one_name_the_oldest_counts_and_unreadable_ones_do_not():
    younger = network("p", "blue", 30, "10.30.0.0/24", born="2026-02-01T00:00:00Z", called="aaa")
    broken = {"metadata": {"name": "broken"}, "spec": {"fqName": ["one"]}}
    found = expect(pod("a", network=REFERENCE), networks=[younger, BLUE, CLUSTER, broken])
    assert found.interfaces[0].vni == 8


def test_classic_reads_by_the_first_character_and_drops_what_it_does_not_know():
    text = "right, right"
    assert len(expect(pod("a", text)).interfaces) == 3
    assert len(expect(pod("a", text), dialect=CONTRAIL_CLASSIC).interfaces) == 2
    keys = json.dumps(
        [{"name": "right", "mac": "02:11:22:33:44:55", "ips": ["10.1.1.9"], "interface": "eth0"}]
    )
    (_, one) = expect(pod("a", keys), dialect=CONTRAIL_CLASSIC).interfaces
    assert (one.interface, one.mac, one.addresses) == ("eth0", naming.mac_of(UIDS["a"], 1), ())
    listed = [nad("right", json.dumps({"plugins": [{"type": "contrail-k8s-cni"}]}), cidr="10.1.1.0/24")]
    assert len(expect(pod("a", "right"), nads=listed).interfaces) == 2
    assert len(expect(pod("a", "right"), nads=listed, dialect=CONTRAIL_CLASSIC).interfaces) == 1


def test_classic_remembers_what_a_nad_first_asked_for_until_it_is_deleted():
    memory = Expectations(CONTRAIL_CLASSIC)
    to_blue, to_right = nad("m", uid="1", network=REFERENCE), nad("m", uid="1", cidr="10.1.1.0/24")
    memory.observe([], [to_blue], NETWORKS)
    (found,) = memory.observe([pod("a", "m")], [to_right], NETWORKS)
    assert found.interfaces[1].vni == 8
    again = nad("m", uid="2", cidr="10.7.7.0/24")
    (_, found) = memory.observe([pod("a", "m"), pod("b", "m")], [again], NETWORKS)
    assert found.interfaces[1].fq_name[2] == "k8s-m-pod-network"


def test_classic_never_completes_a_pod_that_broke_off():
    mapped = [nad("m", network=GREEN)]
    memory, strict = Expectations(CONTRAIL_CLASSIC), Expectations()
    green = network("p", "green", 11, "10.11.0.0/24")
    for oracle in (memory, strict):
        (found,) = oracle.observe([pod("a", "m")], mapped, NETWORKS)
        assert "default/m" in found.problem
    (half,) = memory.observe([pod("a", "m")], mapped, [*NETWORKS, green])
    assert half.problem
    (whole,) = strict.observe([pod("a", "m")], mapped, [*NETWORKS, green])
    assert [one.vni for one in whole.interfaces] == [4, 11]
    (anew,) = memory.observe([pod("b", "m")], mapped, [*NETWORKS, green])
    assert len(anew.interfaces) == 2
