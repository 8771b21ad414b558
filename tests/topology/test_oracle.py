"""The oracle on hand-made objects; what it must say is written out here, not computed."""

import json

import pytest

from multinet.model import naming
from multinet.model.dialect import CONTRAIL_CLASSIC
from topology.backend import Wire
from topology.drawing import draw
from topology.expectation import Expectations
from topology.graph import Reachability, Tunnel

UIDS = {name: f"00000000-0000-4000-8000-{number:012d}" for number, name in enumerate("abcd")}


def pod(name, node="node1", networks=None, namespace="default", **spec):
    metadata = {"name": name, "namespace": namespace, "uid": UIDS[name]}
    if networks is not None:
        metadata["annotations"] = {"k8s.v1.cni.cncf.io/networks": networks}
    return {"metadata": metadata, "spec": {"nodeName": node, **spec}, "status": {"phase": "Running"}}


def nad(name, namespace="default", **annotations):
    keys = {f"opencontrail.org/{key}": value for key, value in annotations.items()}
    return {
        "metadata": {"name": name, "namespace": namespace, "annotations": keys},
        "spec": {"config": json.dumps({"cniVersion": "0.3.1", "type": "contrail-k8s-cni"})},
    }


def network(fq_name, vni, cidr, mode="l2_l3", made_of=""):
    metadata = {"name": naming.object_name(tuple(fq_name))}
    if made_of:
        metadata["labels"] = {"multinet.opencontrail.org/origin": "nad"}
        metadata["annotations"] = {"multinet.opencontrail.org/nad": made_of}
    return {
        "metadata": metadata,
        "spec": {"fqName": fq_name, "vni": vni, "forwardingMode": mode, "subnets": [{"cidr": cidr}]},
    }


DEFAULT = network(["default-domain", "k8s-default", "k8s-default-pod-network"], 4, "10.32.0.0/12", "l3")
RIGHT = network(
    ["default-domain", "k8s-default", "k8s-right-pod-network"], 5, "10.1.1.0/24", made_of="default/right"
)
BLUE = network(["default-domain", "default-project", "blue"], 6, "10.2.2.0/24")
RIGHT_NAD = nad("right", cidr="10.1.1.0/24")
TO_BLUE = nad(
    "mapped", "other", network='{"domain": "default-domain", "project": "default-project", "name": "blue"}'
)
NADS = [RIGHT_NAD, TO_BLUE]
NETWORKS = [DEFAULT, RIGHT, BLUE]


def expect(*pods, nads=NADS, networks=NETWORKS, **options):
    return Expectations(**options).observe(pods, nads, networks)


def short(expected):
    return [(one.index, one.interface, one.status_name, one.vni) for one in expected.interfaces]


def test_a_plain_pod_has_the_default_network_only():
    (found,) = expect(pod("a"))
    assert short(found) == [(0, "eth0", "cluster-wide-default", 4)]
    assert found.interfaces[0].forwarding_mode == "l3"
    assert found.interfaces[0].mac == naming.mac_of(UIDS["a"], 0)


@pytest.mark.parametrize(
    "selection",
    ["right,other/mapped", '[{"name": "right"}, {"name": "mapped", "namespace": "other"}]'],
    ids=["comma list", "JSON list"],
)
def test_both_forms_select_in_order(selection):
    (found,) = expect(pod("a", networks=selection))
    assert short(found) == [
        (0, "eth0", "cluster-wide-default", 4),
        (1, "eth1", "default/right", 5),
        (2, "eth2", "other/mapped", 6),
    ]
    assert found.interfaces[2].network == "default-domain.default-project.blue"


def test_an_explicit_name_and_mac_are_kept_and_shift_nothing():
    text = '[{"name": "right", "interface": "data", "mac": "02:11:22:33:44:55"}, {"name": "right"}]'
    (found,) = expect(pod("a", networks=text))
    assert [one.interface for one in found.interfaces] == ["eth0", "data", "eth2"]
    assert found.interfaces[1].mac == "02:11:22:33:44:55"


def test_an_unknown_network_fails_the_pod_or_is_skipped_as_the_dialect_says():
    (strict,) = expect(pod("a", networks="missing,right"))
    assert strict.interfaces == ()
    assert "default/missing" in strict.problem
    (classic,) = expect(pod("a", networks="missing,right"), dialect=CONTRAIL_CLASSIC)
    assert short(classic) == [(0, "eth0", "cluster-wide-default", 4), (1, "eth1", "default/right", 5)]


def test_port_security_can_be_switched_off_but_not_by_a_typo():
    for value, wrong in (("false", False), ("off", True)):
        secured = pod("a", networks="right")
        secured["metadata"]["annotations"]["opencontrail.org/port_security"] = value
        (decided,) = Expectations().observe([secured], [RIGHT_NAD], [DEFAULT, RIGHT])
        assert bool(decided.problem) is wrong
        assert len(decided.interfaces) == (0 if wrong else 2)


def test_a_mapped_network_must_exist_and_a_bad_selection_says_where():
    (found,) = expect(pod("a", networks="other/mapped"), networks=[DEFAULT])
    assert "other/mapped" in found.problem
    (found,) = expect(pod("a", networks="[{"))
    assert "k8s.v1.cni.cncf.io/networks, character" in found.problem


def test_what_is_not_on_a_node_or_on_its_way_out_takes_no_part():
    ended = pod("c") | {"status": {"phase": "Succeeded"}}
    ending = pod("d")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert expect(pod("a", node=""), pod("b", hostNetwork=True), ended, ending) == ()


def test_an_attachment_is_decided_once():
    memory = Expectations()
    (before,) = memory.observe([pod("a", networks="right")], NADS, NETWORKS)
    edited = pod("a", networks="right,other/mapped")
    (after,) = memory.observe([edited], [TO_BLUE], [DEFAULT, BLUE])
    assert after == before
    anew = pod("a", networks="right,other/mapped")
    anew["metadata"]["uid"] = UIDS["b"]
    (again,) = memory.observe([anew], [TO_BLUE], [DEFAULT, BLUE])
    assert "default/right" in again.problem


def test_a_pod_that_waited_for_its_nad_is_judged_anew_and_numbers_follow():
    memory = Expectations()
    (found,) = memory.observe([pod("a", networks="right")], [], [DEFAULT])
    assert found.problem
    (found,) = memory.observe([pod("a", networks="right")], NADS, [DEFAULT])
    assert [one.vni for one in found.interfaces] == [4, 0]
    assert found.interfaces[1].subnets == ("10.1.1.0/24",)
    (found,) = memory.observe([pod("a", networks="right")], NADS, NETWORKS)
    assert [one.vni for one in found.interfaces] == [4, 5]


A, B, C = "default/a", "default/b", "default/c"


@pytest.fixture
def three():
    pods = expect(
        pod("a", networks="right"), pod("b", networks="right"), pod("c", "node2", "right"), pod("d", "node2")
    )
    return Reachability(pods, {(A, "eth1"): ["10.1.1.252/24"], (C, "eth1"): ["10.1.1.250/24"]})


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "must_reach", "reason"),
    [
        (
            (A, "eth1"),
            (B, "eth1"),
            "tcp",
            True,
            "both in default-domain.k8s-default.k8s-right-pod-network on node1",
        ),
        (
            (A, "eth1"),
            (C, "eth1"),
            "udp",
            True,
            "over VNI 5 between node1 and node2 (10.1.1.252 to 10.1.1.250)",
        ),
        ((A, "eth0"), (C, "eth0"), "arp", True, "and the node answers ARP for it"),
        ((A, "eth0"), (C, "eth1"), "icmp", False, "different networks: "),
        ((A, "eth1"), ("default/d", "eth0"), "icmp", False, "different networks: "),
    ],
)
def test_pairs_are_judged_with_a_reason(three, source, destination, protocol, must_reach, reason):
    verdict = three.judge(source, destination, protocol)
    assert verdict.must_reach is must_reach
    assert reason in verdict.reason


def test_every_ordered_pair_of_interfaces_has_a_cell(three):
    expectation = three.expectation()
    assert len(expectation) == 7 * 6 * 4
    assert expectation[(A, "eth1", C, "eth1", "arp")] is True
    assert expectation[(A, "eth1", C, "eth0", "arp")] is False
    assert expectation[(A, "eth1", A, "eth0", "udp")] is False, "a pod's two networks must not leak either"
    assert sum(expectation.values()) == (4 * 3 + 3 * 2) * 4


def test_nothing_is_expected_between_two_interfaces_of_one_pod_in_one_network():
    twice = Reachability(expect(pod("a", networks="right,right"), pod("b", networks="right")))
    verdict = twice.judge((A, "eth1"), (A, "eth2"), "icmp")
    assert verdict.must_reach is None
    assert "does not answer its own address" in verdict.reason
    assert verdict in twice.verdicts()
    assert verdict.key not in twice.expectation()


def test_a_dead_tunnel_cuts_exactly_the_pairs_that_cross_it(three):
    right = Tunnel(("node1", "node2"), 5, "default-domain.k8s-default.k8s-right-pod-network")
    assert right in three.tunnels()
    assert len(three.tunnels()) == 2
    before, after = three.expectation(), three.without_tunnel(right).expectation()
    cut = {key[:4] for key in before if before[key] and not after[key]}
    assert cut == {
        (A, "eth1", C, "eth1"),
        (C, "eth1", A, "eth1"),
        (B, "eth1", C, "eth1"),
        (C, "eth1", B, "eth1"),
    }
    assert cut == {verdict.key[:4] for verdict in three.verdicts() if verdict.tunnel == right}
    assert three.expectation() == before, "the first graph is untouched"


def test_everything_is_json_and_the_same_each_time(three):
    text = json.dumps(three.to_dict(), sort_keys=True)
    assert text == json.dumps(Reachability(reversed(three.pods), three.addresses).to_dict(), sort_keys=True)
    first = three.to_dict()["pods"][0]
    assert first["interfaces"][1]["status_name"] == "default/right"
    assert first["interfaces"][1]["fq_name"] == ["default-domain", "k8s-default", "k8s-right-pod-network"]


def test_the_drawing_has_every_part_once_and_no_two_boxes_overlap(three):
    drawing = draw(three, ("node1", "node2"))
    json.dumps(drawing)
    ids = [box["id"] for box in drawing["nodes"]]
    assert len(ids) == len(set(ids)) == 1 + 3 + 4 + 2
    assert {edge["source"] for edge in drawing["edges"]} | {
        edge["target"] for edge in drawing["edges"]
    } <= set(ids)
    assert sum(edge["kind"] == "attachment" for edge in drawing["edges"]) == 7
    assert [edge["vni"] for edge in drawing["edges"] if edge["kind"] == "tunnel"] == [4, 5]
    for one in drawing["nodes"]:
        assert one["x"] >= 0
        assert one["x"] + one["w"] <= drawing["width"]
        assert one["y"] + one["h"] <= drawing["height"]
        for other in drawing["nodes"]:
            apart = (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
            assert one is other or apart, (one["id"], other["id"])


def wired(name, device, **annotations):
    made = nad(name, **annotations)
    made["metadata"]["annotations"]["multinet.opencontrail.org/device"] = device
    return made


@pytest.mark.parametrize(
    ("wires", "networks", "must_reach", "reason"),
    [
        (
            [Wire(("node2", "node1"), "nic0")],
            "ab",
            True,
            "over the wire between the NICs nic0 of node1 and node2",
        ),
        ([Wire(("node1", "node2"), "nic1")], "ab", False, "their NICs are not ends of one wire"),
        ([Wire(("node1", "node3"), "nic0")], "ab", False, "their NICs are not ends of one wire"),
        ([Wire(("node1", "node2"), "nic0")], "other", None, "different networks, but the NICs nic0"),
        ([], "other", False, "different networks: "),
    ],
)
def test_nics_reach_what_their_wire_leads_to(wires, networks, must_reach, reason):
    second = "wire" if networks == "ab" else "other"
    nads = [wired("wire", "nic0", cidr="10.9.0.0/24"), wired("other", "nic0", cidr="10.9.0.0/24")]
    pods = expect(pod("a", networks="wire"), pod("b", "node2", second), nads=nads)
    assert [each.interfaces[1].device for each in pods] == ["nic0", "nic0"]
    reachability = Reachability(pods, wires=wires)
    verdict = reachability.judge((A, "eth1"), (B, "eth1"), "icmp")
    assert verdict.must_reach is must_reach
    assert reason in verdict.reason
    assert reachability.tunnels() == (Tunnel(("node1", "node2"), 4, DEFAULT["metadata"]["name"]),)


def test_a_nic_without_addresses_is_expected_without_any():
    (expected,) = expect(pod("a", networks="bare"), nads=[wired("bare", "nic0")])
    assert (expected.problem, expected.interfaces[1].subnets) == ("", ())
    (twice,) = expect(pod("a", networks="bare,bare"), nads=[wired("bare", "nic0")])
    assert "can't be eth1 and eth2 of one pod" in twice.problem


def test_a_network_of_the_underlay_is_routed_without_an_overlay():
    plain_nad = nad("plain", cidr="10.7.0.0/24", ip_fabric_forwarding="true")
    pods = expect(pod("a", networks="plain"), pod("b", "node2", "plain"), nads=[plain_nad])
    assert [item.forwarding_mode for item in pods[0].interfaces] == ["l3", "l3"]
    verdict = Reachability(pods).judge((A, "eth1"), (B, "eth1"), "arp")
    assert verdict.must_reach
    assert "over the underlay between node1 and node2, and the node answers ARP for it" in verdict.reason
    assert Reachability(pods).judge((A, "eth1"), (B, "eth0"), "icmp").must_reach is False


def test_gateway_and_dns_address_of_each_network_answer_by_arp_and_echo(three):
    verdicts = three.services()
    assert {(each.source, each.destination) for each in verdicts if each.address == "10.1.1.254"} == {
        (place, ("network", "gateway")) for place in ((A, "eth1"), (B, "eth1"), (C, "eth1"))
    }
    assert {each.address for each in verdicts if each.source == (A, "eth1")} == {"10.1.1.254", "10.1.1.253"}
    assert {each.address for each in verdicts if each.source == (A, "eth0")} == {
        "10.47.255.254",
        "10.47.255.253",
    }
    assert {each.protocol for each in verdicts} == {"arp", "icmp"}
    assert all(each.must_reach for each in verdicts)
    assert [each.protocol for each in three.services(["udp", "icmp"])] == ["icmp"] * (len(verdicts) // 2)
    without = {each.source[1]: each.must_reach for each in three.services(lack="no nft")}
    assert without == {"eth0": True, "eth1": None}


def test_a_network_of_nics_answers_for_nothing_and_one_of_ipv6_in_that_family():
    nads = [nad("six", cidr="fd00::/64"), nad("wire", cidr="10.9.0.0/24")]
    nads[1]["metadata"]["annotations"]["multinet.opencontrail.org/device"] = "nic0"
    (found,) = expect(pod("a", networks="six,wire"), nads=nads)
    six = (("gateway6", "fd00::ffff:ffff:ffff:fffe"), ("dns6", "fd00::ffff:ffff:ffff:fffd"))
    assert [item.services for item in found.interfaces[1:]] == [six, ()]
