"""NADs to networks: made, mapped, refused, in use, removed; and networks made in the config API."""

import json

import pytest

from multinet.kube.resources import NADS, PODS, VIRTUAL_NETWORKS
from multinet.model import conditions

DEFAULT = "default-domain.k8s-default.k8s-default-pod-network"
LEFT = "default-domain.k8s-default.k8s-left-pod-network"


def ready(world, name):
    return conditions.find(world.api.named(VIRTUAL_NETWORKS, name) or {}, "Ready")


def user_network(world, name, **spec):
    fq_name = spec.pop("fq", ["default-domain", "k8s-extns", name])
    return world.api.put(VIRTUAL_NETWORKS, {"metadata": {"name": name}, "spec": {"fqName": fq_name, **spec}})


async def test_the_default_network_is_made_and_made_again(world):
    await world.settle()
    made = world.api.named(VIRTUAL_NETWORKS, DEFAULT)
    assert made["spec"]["subnets"] == [
        {"cidr": "10.32.0.0/12", "gateway": "10.47.255.254", "dns": "10.47.255.253"}
    ]
    assert made["spec"]["forwardingMode"] == "l3"
    assert ready(world, DEFAULT).is_true
    world.api.remove(VIRTUAL_NETWORKS, DEFAULT)
    await world.settle()
    assert world.api.named(VIRTUAL_NETWORKS, DEFAULT)["spec"]["vni"] == made["spec"]["vni"]


async def test_a_nad_makes_its_network_once(world):
    world.nad("default/left", cidr="10.30.30.5/24", ip_fabric_snat="true")
    await world.settle()
    vn = world.api.named(VIRTUAL_NETWORKS, LEFT)
    assert vn["spec"]["fqName"] == ["default-domain", "k8s-default", "k8s-left-pod-network"]
    assert vn["spec"]["subnets"] == [
        {"cidr": "10.30.30.0/24", "gateway": "10.30.30.254", "dns": "10.30.30.253"}
    ]
    assert (vn["spec"]["fabricSnat"], vn["spec"]["ipFabricForwarding"]) == (True, False)
    assert vn["metadata"]["labels"]["multinet.opencontrail.org/origin"] == "nad"
    assert vn["metadata"]["annotations"]["multinet.opencontrail.org/nad"] == "default/left"
    assert ready(world, LEFT).is_true
    version = vn["metadata"]["resourceVersion"]
    await world.stop()
    await world.start()
    await world.settle()
    assert world.api.named(VIRTUAL_NETWORKS, LEFT)["metadata"]["resourceVersion"] == version


async def test_a_nad_can_not_touch_the_default_network(world):
    world.nad("default/default", cidr="10.9.9.0/24")
    await world.settle()
    assert world.api.named(VIRTUAL_NETWORKS, DEFAULT)["spec"]["subnets"][0]["cidr"] == "10.32.0.0/12"
    ((reason, message),) = world.said.warnings("default/default")
    assert reason == "NameReserved"
    assert "give the NAD another name" in message
    world.api.remove(NADS, "default/default")
    await world.settle()
    assert DEFAULT in world.networks()


async def test_a_nads_network_never_becomes_an_isolated_namespaces(world):
    world.namespace("team")
    world.nad("team/team", cidr="10.9.9.0/24")
    await world.settle()
    world.namespace("team", isolation="true")
    world.pod("team/p")
    assert "the NAD team/team" in await world.refused("team/p", "NetworkTaken")
    world.api.remove(NADS, "team/team")
    (made,) = await world.attached("team/p")
    assert made["forwardingMode"] == "l3"
    assert made["addresses"][0]["address"].startswith("10.47.")


async def test_what_is_wrong_again_is_told_again(world):
    for cidr, told in (("10.1.1.0/32", 1), ("10.1.1.0/24", 1), ("10.1.1.0/32", 2), ("10.1.1.0/32", 2)):
        world.nad("default/n", cidr=cidr)
        await world.settle()
        assert len(world.said.warnings("default/n")) == told


async def test_mistyped_annotations_are_told(world):
    world.nad("default/n", cidr="10.1.1.0/24", **{"ip-fabric-snat": "true"})
    await world.settle()
    ((reason, message),) = world.said.warnings("default/n")
    assert reason == "AnnotationUnknown"
    assert "opencontrail.org/ip-fabric-snat is not known" in message
    marks = world.api.named(NADS, "default/n")["metadata"]["annotations"]
    condition = json.loads(marks["multinet.opencontrail.org/condition"])
    assert (condition["status"], condition["reason"], condition["message"]) == ("True", reason, message)
    world.pod("default/p", "n")
    assert len(await world.attached("default/p")) == 2


async def test_equal_names_in_two_namespaces_are_two_networks(world):
    world.namespace("other")
    world.nad("default/left", cidr="10.1.1.0/24")
    world.nad("other/left", cidr="10.1.1.0/24")
    await world.settle()
    vnis = {vn["spec"]["vni"] for vn in world.api.all(VIRTUAL_NETWORKS)}
    assert len(vnis) == 3
    world.api.remove(NADS, "other/left")
    await world.settle()
    assert world.networks() == [DEFAULT, LEFT]


async def test_a_nad_deleted_while_in_use_keeps_its_network_until_the_last_user(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    world.pod("default/a", "left")
    world.pod("default/b", "left")
    before = await world.attached("default/a"), await world.attached("default/b")
    world.api.remove(NADS, "default/left")
    await world.settle()
    world.pod("default/new", "left")
    await world.refused("default/new", "NADNotFound")
    await world.settle()
    assert LEFT in world.networks()
    assert (world.interfaces("default/a"), world.interfaces("default/b")) == before
    world.api.remove(PODS, "default/a")
    await world.settle()
    assert LEFT in world.networks()
    world.api.remove(PODS, "default/b")
    await world.settle()
    assert LEFT not in world.networks()


async def test_a_network_that_lost_its_nad_while_the_controller_was_away_is_removed(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    await world.settle()
    await world.stop()
    world.api.remove(NADS, "default/left")
    await world.start()
    await world.settle()
    assert LEFT not in world.networks()


async def test_a_changed_cidr_is_taken_when_unused_and_refused_when_in_use(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    await world.settle()
    world.nad("default/left", cidr="10.2.2.0/24")
    await world.settle()
    assert world.api.named(VIRTUAL_NETWORKS, LEFT)["spec"]["subnets"][0]["gateway"] == "10.2.2.254"
    world.pod("default/a", "left")
    made = await world.attached("default/a")
    assert made[1]["addresses"][0]["address"] == "10.2.2.252"
    world.nad("default/left", cidr="10.3.3.0/24")
    await world.settle()
    assert world.api.named(VIRTUAL_NETWORKS, LEFT)["spec"]["subnets"][0]["cidr"] == "10.2.2.0/24"
    assert [reason for reason, _ in world.said.warnings("default/left")] == ["NetworkUnchanged"]


async def test_a_nad_maps_to_a_network_made_elsewhere(world):
    reference = "{'domain': 'default-domain', 'project': 'k8s-extns', 'name': 'blue'}"
    world.nad("default/mapped", network=reference)
    await world.settle()
    assert [reason for reason, _ in world.said.warnings("default/mapped")] == ["NetworkNotFound"]
    world.pod("default/p", "mapped")
    await world.refused("default/p", "NetworkNotFound")
    user_network(world, "blue", subnets=[{"cidr": "10.9.0.0/24"}])
    made = await world.attached("default/p")
    assert made[1]["network"] == "blue"
    assert made[1]["addresses"][0] == {
        "address": "10.9.0.252",
        "prefixLength": 24,
        "gateway": "10.9.0.254",
        "dns": "10.9.0.253",
    }
    world.api.remove(NADS, "default/mapped")
    world.api.remove(PODS, "default/p")
    await world.settle()
    assert "blue" in world.networks()


async def test_a_users_network_is_completed_and_keeps_what_it_says(world):
    user_network(world, "blue", subnets=[{"cidr": "10.9.0.0/24", "gateway": "10.9.0.1"}], vni=77)
    await world.settle()
    spec = world.api.named(VIRTUAL_NETWORKS, "blue")["spec"]
    assert spec["vni"] == 77
    assert spec["subnets"] == [{"cidr": "10.9.0.0/24", "gateway": "10.9.0.1", "dns": "10.9.0.253"}]
    assert ready(world, "blue").is_true


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"subnets": []}, "NoSubnet"),
        ({"subnets": [{"cidr": "10.0.0.0/33"}]}, "SpecInvalid"),
        ({"subnets": [{"cidr": "10.0.0.0/24", "gateway": "10.1.0.1"}]}, "SpecInvalid"),
        ({"subnets": [{"cidr": "10.0.0.0/24"}, {"cidr": "10.0.0.128/25"}]}, "SubnetsOverlap"),
        ({"subnets": [{"cidr": "10.0.0.0/31"}]}, "CIDRUnusable"),
        ({"subnets": [{"cidr": "10.0.0.0/24"}], "fq": ["only", "two"]}, "SpecInvalid"),
        ({"subnets": [{"cidr": "10.0.0.0/24"}], "vni": 77}, "VNIInUse"),
        ({"subnets": [{"cidr": "10.40.0.0/24"}], "ipFabricForwarding": True}, "UnderlayBlockTaken"),
        ({"subnets": [{"cidr": "10.100.0.0/24"}], "ipFabricForwarding": True}, "UnderlayBlockTaken"),
        ({"subnets": [{"cidr": "fd00::/64"}], "ipFabricForwarding": True}, "UnderlayIPv4Only"),
        (
            {"subnets": [{"cidr": "10.0.0.0/24"}], "fq": ["default-domain", "k8s-extns", "blue"]},
            "DuplicateName",
        ),
    ],
)
async def test_a_network_that_can_not_be_says_why(world, spec, reason):
    user_network(world, "blue", subnets=[{"cidr": "10.9.0.0/24"}], vni=77)
    await world.settle()
    user_network(world, "worse", **spec)
    await world.settle()
    assert ready(world, "blue").is_true
    condition = ready(world, "worse")
    assert (condition.status, condition.reason) == ("False", reason)


async def test_a_nad_does_not_adopt_a_network_somebody_else_made(world):
    fq_name = ["default-domain", "k8s-default", "k8s-left-pod-network"]
    user_network(world, "mine", fq=fq_name, subnets=[{"cidr": "10.9.0.0/24"}])
    world.nad("default/left", cidr="10.1.1.0/24")
    await world.settle()
    ((reason, message),) = world.said.warnings("default/left")
    assert reason == "NetworkTaken"
    assert "opencontrail.org/network" in message
    world.api.remove(NADS, "default/left")
    await world.settle()
    assert "mine" in world.networks()


async def test_a_nad_edited_to_another_type_loses_its_network_when_unused(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    world.pod("default/p", "left")
    await world.attached("default/p")
    world.nad("default/left", '{"type": "macvlan"}')
    await world.settle()
    assert LEFT in world.networks()
    world.api.remove(PODS, "default/p")
    await world.settle()
    assert LEFT not in world.networks()


async def test_bad_nads_say_so_in_an_event(world):
    world.nad("default/quotes", "{“type”: “contrail-k8s-cni”}", cidr="10.1.1.0/24")
    world.nad("default/list", cidr="[10.1.1.0/24]")
    world.nad("default/none")
    await world.settle()
    assert "typographic quotes" in world.said.warnings("default/quotes")[0][1]
    assert "no list of CIDRs" in world.said.warnings("default/list")[0][1]
    assert world.said.warnings("default/none")[0][0] == "NetworkMissing"
    assert world.networks() == [DEFAULT]


def hand_out(world, name, device, **annotations):
    made = world.nad(f"default/{name}", **annotations)
    marked = made["metadata"]["annotations"] | {"multinet.opencontrail.org/device": device}
    return world.api.put(NADS, {**made, "metadata": made["metadata"] | {"annotations": marked}})


async def test_a_nad_hands_a_device_to_pods_with_or_without_an_address(world):
    hand_out(world, "left", "nic0", cidr="10.1.1.0/24")
    hand_out(world, "bare", "nic1")
    world.pod("default/a", "left,bare")
    made = await world.attached("default/a")
    assert [(each.get("device"), len(each["addresses"])) for each in made] == [
        (None, 1),
        ("nic0", 1),
        ("nic1", 0),
    ]
    assert ready(world, LEFT).is_true
    assert world.api.named(VIRTUAL_NETWORKS, LEFT)["spec"]["device"] == "nic0"
    hand_out(world, "left", "nic2", cidr="10.1.1.0/24")
    await world.settle()
    assert [reason for reason, _ in world.said.warnings("default/left")] == ["NetworkUnchanged"]


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        ("left,again", "DeviceSelectedTwice"),
        ("left,left", "DeviceSelectedTwice"),
        (
            '[{"name": "left", "bandwidth": {"ingressRate": 1000000, "ingressBurst": 100000}}]',
            "RequestUnsupported",
        ),
        ('[{"name": "left", "portMappings": [{"hostPort": 80, "containerPort": 80}]}]', "RequestUnsupported"),
    ],
)
async def test_what_can_not_be_asked_of_a_device(world, selection, reason):
    hand_out(world, "left", "nic0", cidr="10.1.1.0/24")
    hand_out(world, "again", "nic0")
    world.pod("default/a", selection)
    await world.refused("default/a", reason)


async def test_a_device_is_no_default_network(world):
    hand_out(world, "left", "nic0", cidr="10.1.1.0/24")
    await world.settle()
    reference = '{"domain": "default-domain", "project": "k8s-default", "name": "k8s-left-pod-network"}'
    world.pod("default/a", annotations={"opencontrail.org/network": reference})
    assert "nic0" in await world.refused("default/a", "NetworkUnsuitable")


async def test_blocks_in_the_underlay_are_unique_and_members_are_routed(world):
    for name, cidr, forwarding in (("a", "10.1.0.0/16", "true"), ("b", "10.1.1.0/24", "false")):
        world.nad(f"default/{name}", cidr=cidr, ip_fabric_forwarding=forwarding)
    await world.settle()
    # A network with an overlay may have the same addresses; another one in the underlay may not.
    world.nad("default/c", cidr="10.1.1.0/24", ip_fabric_forwarding="true")
    world.pod("default/p", "a,b")
    world.pod("default/q", "c")
    made = await world.attached("default/p")
    assert [vmi["forwardingMode"] for vmi in made] == ["l3", "l3", "l2_l3"]
    await world.refused("default/q", "NetworkNotReady")
    refused = ready(world, LEFT.replace("left", "c"))
    assert refused.reason == "UnderlayBlockTaken"
    assert "10.1.0.0/16" in refused.message


async def test_the_default_network_may_have_both_families(start_world):
    world = await start_world(pod_cidr6="fd00:10:32::/64")
    await world.settle()
    blocks = [each["cidr"] for each in world.api.named(VIRTUAL_NETWORKS, DEFAULT)["spec"]["subnets"]]
    assert blocks == ["10.32.0.0/12", "fd00:10:32::/64"]
    world.pod("default/p", "")
    (first,) = await world.attached("default/p")
    assert [(each["address"], each["prefixLength"]) for each in first["addresses"]] == [
        ("10.47.255.252", 12),
        ("fd00:10:32:0:ffff:ffff:ffff:fffc", 64),
    ]
    # So have the networks of isolated namespaces, whose pods' addresses are of the same pool.
    world.namespace("team", isolation="true")
    world.pod("team/p", "")
    (first,) = await world.attached("team/p")
    assert [each["address"] for each in first["addresses"]] == [
        "10.47.255.251",
        "fd00:10:32:0:ffff:ffff:ffff:fffb",
    ]
