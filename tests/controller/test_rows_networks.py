"""Rows N..: NADs and their networks, in both dialects where these differ (``classic`` is R20/21)."""

import json

import pytest

from multinet.kube.resources import NADS, NAMESPACES, PODS, VIRTUAL_NETWORKS
from multinet.model.dialect import CONTRAIL_CLASSIC

DEFAULT = "default-domain.k8s-default.k8s-default-pod-network"
LEFT = "default-domain.k8s-default.k8s-left-pod-network"
BLUE = "{'domain': 'default-domain', 'project': 'k8s-extns', 'name': 'blue'}"
BOTH = pytest.mark.parametrize("each", ["world", "classic"], indirect=True)


@pytest.fixture
def each(request):
    """The world of the dialect that the parameter names."""
    return request.getfixturevalue(request.param)


def spec(world, name=LEFT):
    found = world.api.named(VIRTUAL_NETWORKS, name)
    return found and found["spec"]


def cidr(world, name=LEFT):
    return spec(world, name)["subnets"][0]["cidr"]


def user_network(world, name, block="10.9.0.0/24", fq=None):
    fq_name = fq or ["default-domain", "k8s-extns", name]
    made = {"metadata": {"name": name}, "spec": {"fqName": fq_name, "subnets": [{"cidr": block}]}}
    return world.api.put(VIRTUAL_NETWORKS, made)


@pytest.mark.parametrize(
    "config", ['{"plugins": [{"type": "contrail-k8s-cni"}]}', '{"type": "multinet-cni"}', None, ""]
)
async def test_1_2_configs_that_only_the_default_dialect_takes(world, classic, config):
    for each in (world, classic):
        each.nad("default/left", config, cidr="10.1.1.0/24")
        await each.settle()
    assert LEFT in world.networks()
    assert classic.networks() == [DEFAULT]


@BOTH
@pytest.mark.parametrize("config", ['{"type": "macvlan"}', '{"type": "Contrail-k8s-cni"}'])
async def test_1_2_another_type_is_left_alone(each, config):
    each.nad("default/left", config, cidr="10.1.1.0/24")
    await each.settle()
    assert each.networks() == [DEFAULT]
    assert each.said.events == []


async def test_N5_a_nad_edited_to_another_type_is_remembered_and_never_cleaned_up(world, classic):
    for each in (world, classic):
        each.nad("default/left", cidr="10.1.1.0/24")
        await each.settle()
        each.nad("default/left", '{"type": "macvlan"}', cidr="10.1.1.0/24")
        await each.settle()
    assert world.networks() == [DEFAULT]
    classic.api.remove(NADS, "default/left")
    await classic.settle()
    assert LEFT in classic.networks()
    classic.pod("default/p", "left")
    assert len(await classic.attached("default/p")) == 2


async def test_N7_problems_are_told_by_default_and_only_logged_in_classic(world, classic):
    for each in (world, classic):
        each.nad("default/left", cidr="10.1.1.0/33")
        await each.settle()
    ((reason, message),) = world.said.warnings("default/left")
    assert reason == "CIDRInvalid"
    assert "To mend it: write blocks" in message
    marks = world.api.named(NADS, "default/left")["metadata"]["annotations"]
    condition = json.loads(marks["multinet.opencontrail.org/condition"])
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", "CIDRInvalid")
    assert "To mend it" in condition["message"]
    assert classic.said.events == []
    stored = classic.api.named(NADS, "default/left")["metadata"]["annotations"]
    assert list(stored) == ["opencontrail.org/cidr"]


async def test_N7_a_mended_nad_says_so_and_its_pod_starts_by_itself(world):
    world.nad("default/left", cidr="10.1.1.0/33")
    world.pod("default/p", "left")
    await world.refused("default/p", "NADInvalid")
    await world.settle()
    nad = world.api.named(NADS, "default/left")
    marks = nad["metadata"]["annotations"] | {"opencontrail.org/cidr": "10.1.1.0/24"}
    world.api.put(NADS, {**nad, "metadata": {**nad["metadata"], "annotations": marks}})
    await world.attached("default/p")
    await world.settle()
    marks = world.api.named(NADS, "default/left")["metadata"]["annotations"]
    assert json.loads(marks["multinet.opencontrail.org/condition"])["status"] == "True"


@BOTH
async def test_N9_cidr_wins_over_network(each):
    user_network(each, "blue")
    each.nad("default/left", cidr="10.1.1.0/24", network=BLUE)
    await each.settle()
    each.pod("default/p", "left")
    made = await each.attached("default/p")
    assert made[1]["addresses"][0]["address"] == "10.1.1.252"


@BOTH
async def test_N10_N11_the_network_annotation_maps_to_a_network_that_may_come_later(each):
    each.nad("default/mapped", network=BLUE)
    await each.settle()
    user_network(each, "blue")
    await each.settle()
    each.pod("default/p", "mapped")
    made = await each.attached("default/p")
    assert made[1]["network"] == "blue"


@BOTH
async def test_N13_names(each):
    each.namespace("ns1")
    each.nad("ns1/left", cidr="10.1.1.0/24")
    await each.settle()
    name = "default-domain.k8s-ns1.k8s-left-pod-network"
    assert spec(each, name)["fqName"] == ["default-domain", "k8s-ns1", "k8s-left-pod-network"]


@pytest.mark.parametrize("dialect", ["default", "contrail-classic"])
async def test_N14_one_project_for_all_namespaces(start_world, dialect):
    settings = {"cluster_project": "all"} | ({"dialect": CONTRAIL_CLASSIC} if dialect != "default" else {})
    world = await start_world(**settings)
    world.namespace("other")
    world.nad("default/left", cidr="10.1.1.0/24")
    await world.settle()
    world.nad("other/left", cidr="10.2.2.0/24")
    await world.settle()
    left = "default-domain.all.k8s-left-pod-network"
    assert world.networks() == ["default-domain.all.k8s-default-pod-network", left]
    assert cidr(world, left) == "10.1.1.0/24"
    world.pod("other/p", "left")
    if dialect == "default":
        assert world.said.warnings("other/left")[0][0] == "NetworkTaken"
        await world.refused("other/p", "NetworkTaken")
    else:
        made = await world.attached("other/p")
        assert made[1]["addresses"][0]["address"] == "10.1.1.252"


async def test_N16_without_its_namespace_classic_makes_nothing_until_another_event(classic):
    classic.nad("late/left", cidr="10.1.1.0/24")
    await classic.settle()
    classic.namespace("late")
    await classic.settle()
    assert classic.networks() == [DEFAULT]
    classic.nad("late/left", cidr="10.1.1.0/24")
    await classic.settle()
    assert len(classic.networks()) == 2


@BOTH
@pytest.mark.parametrize(
    ("forwarding", "snat", "made"),
    [("false", "false", (False, False)), ("false", "true", (False, True)), ("true", "true", (True, False))],
)
async def test_N17_N18_N19_the_network_of_a_nad(each, forwarding, snat, made):
    each.nad("default/left", cidr="10.1.1.5/24", ip_fabric_forwarding=forwarding, ip_fabric_snat=snat)
    await each.settle()
    found = spec(each)
    assert found["forwardingMode"] == "l2_l3"
    assert (found["ipFabricForwarding"], found["fabricSnat"]) == made
    assert found["subnets"] == [{"cidr": "10.1.1.0/24", "gateway": "10.1.1.254", "dns": "10.1.1.253"}]
    each.pod("default/p", "left,left")
    pod = await each.attached("default/p")
    assert [vmi["addresses"][0]["address"] for vmi in pod[1:]] == ["10.1.1.252", "10.1.1.251"]


async def test_N21_what_classic_accepts_and_the_default_refuses_with_the_reason(world, classic):
    for each in (world, classic):
        each.nad("default/tiny", cidr="10.1.1.0/30")
        each.nad("default/huge", cidr="0.0.0.0/0")
        await each.settle()
    assert world.networks() == [DEFAULT]
    assert [world.said.warnings(f"default/{name}")[0][0] for name in ("tiny", "huge")] == [
        "CIDRUnusable",
        "CIDRUnusable",
    ]
    assert cidr(classic, LEFT.replace("left", "tiny")) == "10.1.1.0/30"
    assert spec(classic, LEFT.replace("left", "huge"))["subnets"][0]["gateway"] == "255.255.255.254"


async def test_N21_ipv6_alone(world, classic):
    for each in (world, classic):
        each.nad("default/six", cidr="2001:db8::/64")
        await each.settle()
        each.pod("default/p", "six")
        made = await each.attached("default/p")
        assert made[1]["addresses"] == [
            {
                "address": "2001:db8::ffff:ffff:ffff:fffc",
                "prefixLength": 64,
                "gateway": "2001:db8::ffff:ffff:ffff:fffe",
                "dns": "2001:db8::ffff:ffff:ffff:fffd",
            }
        ]


@BOTH
async def test_N22_overlapping_networks_are_apart(each):
    each.nad("default/one", cidr="10.32.0.0/24")
    each.nad("default/two", cidr="10.32.0.0/24")
    await each.settle()
    each.pod("default/p", "one,two")
    made = await each.attached("default/p")
    assert [vmi["addresses"][0]["address"] for vmi in made[1:]] == ["10.32.0.252", "10.32.0.252"]
    assert len({vmi["vni"] for vmi in made}) == 3


async def test_N25_a_changed_definition_is_taken_when_unused_and_ignored_in_classic(world, classic):
    for each in (world, classic):
        each.nad("default/left", cidr="10.1.1.0/24")
        await each.settle()
        each.nad("default/left", cidr="10.2.2.0/24", ip_fabric_snat="true")
        await each.settle()
    assert (cidr(world), spec(world)["fabricSnat"]) == ("10.2.2.0/24", True)
    assert (cidr(classic), spec(classic)["fabricSnat"]) == ("10.1.1.0/24", False)


async def test_N25_another_network_annotation_counts_at_once_or_in_classic_after_a_restart(world, classic):
    for each in (world, classic):
        user_network(each, "blue")
        user_network(each, "red", "10.8.0.0/24")
        each.nad("default/mapped", network=BLUE)
        await each.settle()
        each.nad("default/mapped", network=BLUE.replace("blue", "red"))
        await each.settle()
        each.pod("default/p", "mapped")
        await each.attached("default/p")
    assert world.interfaces("default/p")[1]["network"] == "red"
    assert classic.interfaces("default/p")[1]["network"] == "blue"
    await classic.stop()
    await classic.start()
    classic.pod("default/q", "mapped")
    assert (await classic.attached("default/q"))[1]["network"] == "red"


@BOTH
async def test_N26_an_annotation_added_later_works(each):
    each.nad("default/left")
    await each.settle()
    each.nad("default/left", cidr="10.1.1.0/24")
    await each.settle()
    assert cidr(each) == "10.1.1.0/24"


@BOTH
async def test_N24_N27_an_unused_network_goes_with_its_nad_and_comes_again(each):
    each.nad("default/left", cidr="10.1.1.0/24")
    await each.settle()
    each.api.remove(NADS, "default/left")
    await each.settle()
    assert each.networks() == [DEFAULT]
    each.nad("default/left", cidr="10.2.2.0/24")
    await each.settle()
    assert cidr(each) == "10.2.2.0/24"


async def test_N28_N29_a_nad_deleted_in_use(world, classic):
    for each in (world, classic):
        each.nad("default/left", cidr="10.1.1.0/24")
        await each.settle()
        each.pod("default/old", "left")
        before = await each.attached("default/old")
        each.api.remove(NADS, "default/left")
        await each.settle()
        assert LEFT in each.networks()
        assert each.interfaces("default/old") == before
        each.pod("default/new", "left")
    await world.refused("default/new", "NADNotFound")
    assert len(await classic.attached("default/new")) == 1
    for each in (world, classic):
        each.api.remove(PODS, "default/new")
        each.api.remove(PODS, "default/old")
        await each.settle()
    assert world.networks() == [DEFAULT]
    assert LEFT in classic.networks()
    classic.nad("default/left", cidr="10.2.2.0/24")
    await classic.settle()
    assert cidr(classic) == "10.1.1.0/24"
    classic.pod("default/p", "left")
    assert (await classic.attached("default/p"))[1]["addresses"][0]["address"] == "10.1.1.252"


async def test_N29_made_again_with_another_cidr_in_use_is_refused_with_the_reason(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    world.pod("default/old", "left")
    await world.attached("default/old")
    world.api.remove(NADS, "default/left")
    await world.settle()
    world.nad("default/left", cidr="10.2.2.0/24")
    await world.settle()
    assert [reason for reason, _ in world.said.warnings("default/left")] == ["NetworkUnchanged"]
    world.pod("default/new", "left")
    message = await world.refused("default/new", "NetworkUnchanged")
    assert "the NAD says subnet 10.2.2.0/24, the network still has subnet 10.1.1.0/24" in message
    world.api.remove(PODS, "default/old")
    made = await world.attached("default/new")
    assert made[1]["addresses"][0]["address"] == "10.2.2.252"


@BOTH
async def test_N30_the_network_of_a_mapping_nad_is_not_touched(each):
    user_network(each, "blue")
    each.nad("default/mapped", network=BLUE)
    await each.settle()
    each.api.remove(NADS, "default/mapped")
    await each.settle()
    assert "blue" in each.networks()


async def test_N31_classic_finds_the_network_to_delete_by_its_last_name(world, classic):
    for each in (world, classic):
        each.namespace("ns1")
        each.namespace("ns2")
        each.nad("ns1/dup", cidr="10.1.1.0/24")
        await each.settle()
        each.nad("ns2/dup", cidr="10.1.1.0/24")
        await each.settle()
        each.api.remove(NADS, "ns2/dup")
        await each.settle()
    assert "default-domain.k8s-ns1.k8s-dup-pod-network" in world.networks()
    assert "default-domain.k8s-ns2.k8s-dup-pod-network" not in world.networks()
    assert "default-domain.k8s-ns1.k8s-dup-pod-network" not in classic.networks()
    assert "default-domain.k8s-ns2.k8s-dup-pod-network" in classic.networks()


async def test_N32_a_nad_called_default(world, classic):
    for each in (world, classic):
        each.nad("default/default", cidr="10.9.9.0/24")
        await each.settle()
        assert cidr(each, DEFAULT) == "10.32.0.0/12"
    assert world.said.warnings("default/default")[0][0] == "NameReserved"
    classic.pod("default/p", "default")
    assert {vmi["network"] for vmi in await classic.attached("default/p")} == {DEFAULT}
    classic.api.remove(PODS, "default/p")
    await classic.settle()
    for each in (world, classic):
        each.api.remove(NADS, "default/default")
        await each.settle()
    assert world.networks() == [DEFAULT]
    assert classic.networks() == []


async def test_N32_a_nad_called_as_its_isolated_namespace_takes_nothing(world):
    world.namespace("iso", isolation="true")
    await world.settle()
    world.nad("iso/iso", cidr="10.9.9.0/24")
    await world.settle()
    assert world.said.warnings("iso/iso")[0][0] == "NetworkTaken"
    world.api.remove(NADS, "iso/iso")
    await world.settle()
    assert "default-domain.k8s-iso.k8s-iso-pod-network" in world.networks()


@BOTH
async def test_N34_nads_of_other_namespaces_are_open_to_all(each):
    each.namespace("other")
    each.nad("other/data", cidr="10.1.1.0/24")
    await each.settle()
    each.pod("default/p", "other/data")
    made = await each.attached("default/p")
    assert made[1]["nad"] == "other/data"
    assert made[1]["pod"]["namespace"] == "default"


async def test_R3_a_nad_deleted_while_the_controller_was_away(world, classic):
    for each in (world, classic):
        each.nad("default/left", cidr="10.1.1.0/24")
        await each.settle()
        await each.stop()
        each.api.remove(NADS, "default/left")
        await each.start()
        await each.settle()
    assert world.networks() == [DEFAULT]
    assert LEFT in classic.networks()


async def test_protection_holds_a_nad_until_its_last_pod_is_gone(start_world):
    world = await start_world(protect_networks=True)
    world.nad("default/left", cidr="10.1.1.0/24")
    world.pod("default/a", "left")
    world.pod("default/b", "left")
    await world.attached("default/a")
    await world.attached("default/b")
    await world.settle()
    world.api.remove(NADS, "default/left")
    await world.settle()
    assert world.api.named(NADS, "default/left")["metadata"]["deletionTimestamp"]
    ((reason, message),) = world.said.warnings("default/left")
    assert reason == "NetworkInUse"
    assert "default/a, default/b" in message
    world.pod("default/new", "left")
    await world.refused("default/new", "NADNotFound")
    for name in ("a", "b"):
        assert world.api.named(NADS, "default/left")
        world.api.remove(PODS, f"default/{name}")
        await world.settle()
    assert world.api.named(NADS, "default/left") is None
    assert world.networks() == [DEFAULT]


async def test_protection_turned_off_frees_the_nads(start_world):
    world = await start_world(protect_networks=True)
    world.nad("default/left", cidr="10.1.1.0/24")
    await world.settle()
    assert world.api.named(NADS, "default/left")["metadata"]["finalizers"]
    await world.stop()
    world.settings = type(world.settings)()
    await world.start()
    await world.settle()
    assert world.api.named(NADS, "default/left")["metadata"]["finalizers"] == []


async def test_an_isolated_namespaces_network_goes_with_the_namespace(world):
    world.namespace("iso", isolation="true")
    await world.settle()
    assert "default-domain.k8s-iso.k8s-iso-pod-network" in world.networks()
    world.api.remove(NAMESPACES, "iso")
    await world.settle()
    assert world.networks() == [DEFAULT]
