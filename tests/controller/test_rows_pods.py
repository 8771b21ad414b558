"""Rows P..: what a pod's annotation makes of it, in both dialects where these differ."""

import json

import pytest

from multinet.kube.resources import (
    INSTANCE_IPS,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)

BLUE = "{'domain': 'default-domain', 'project': 'k8s-extns', 'name': 'blue'}"
RED = BLUE.replace("blue", "red")
NETWORK = "opencontrail.org/network"
BOTH = pytest.mark.parametrize("each", ["world", "classic"], indirect=True)


@pytest.fixture
def each(request):
    """The world of the dialect that the parameter names."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def worlds(world, classic):
    """Both, each with net-a and net-b in its namespace and net-c in another one."""
    for each in (world, classic):
        await furnish(each)
    return world, classic


async def furnish(each):
    each.namespace("other")
    each.nad("default/net-a", cidr="10.1.1.0/24")
    each.nad("default/net-b", cidr="10.2.2.0/24")
    each.nad("other/net-c", cidr="10.3.3.0/24")
    await each.settle()


def user_network(world, name, block="10.9.0.0/24"):
    spec = {"fqName": ["default-domain", "k8s-extns", name], "subnets": [{"cidr": block}]}
    world.api.put(VIRTUAL_NETWORKS, {"metadata": {"name": name}, "spec": spec})


def names(interfaces):
    return [(vmi["interface"], vmi["nad"]) for vmi in interfaces]


def first_address(interfaces, index=0):
    return interfaces[index]["addresses"][0]["address"]


P1_P2_DIFFER = {
    "net-a, net-b": (["net-a", "net-b"], ["net-a"]),
    "net-a,\nnet-b": (["net-a", "net-b"], ["net-a"]),
    " net-a": (["net-a"], []),
    "net-a\n": (["net-a"], []),
    ' [{"name":"net-a"}]': (["net-a"], []),
    "net-a,missing,net-b": ("NADNotFound", ["net-a", "net-b"]),
    "net-c": ("NADNotFound", []),
    "NET-A": ("SelectionInvalid", []),
    "net-a,": ("SelectionInvalid", ["net-a"]),
    "net-a@eth5": ("SelectionInvalid", []),
    '{"name":"net-a"}': ("SelectionInvalid", []),
    '[{"name":"net-a","namespace":""}]': (["net-a"], []),
    '[{"name":"net-a","ips":["10.9.9.9"]}]': ("AddressInvalid", ["net-a"]),
}


@pytest.mark.parametrize("text", P1_P2_DIFFER)
async def test_P1_P2_P3_P4_where_the_grammars_differ(worlds, text):
    for each, expected in zip(worlds, P1_P2_DIFFER[text], strict=True):
        each.pod("default/p", text)
        if isinstance(expected, str):
            await each.refused("default/p", expected)
            continue
        made = await each.attached("default/p")
        assert [nad for _, nad in names(made)] == ["", *(f"default/{name}" for name in expected)]


@BOTH
@pytest.mark.parametrize(
    ("text", "nads"),
    [
        ("net-b,net-a", ["default/net-b", "default/net-a"]),
        ("net-a,net-a", ["default/net-a", "default/net-a"]),
        ("other/net-c,net-a", ["other/net-c", "default/net-a"]),
        ('[{"name":"net-c","namespace":"other"}]', ["other/net-c"]),
        ("[]", []),
        ("", []),
    ],
)
async def test_P5_the_order_of_the_list_is_the_order_of_the_interfaces(each, text, nads):
    await furnish(each)
    each.pod("default/p", text)
    made = await each.attached("default/p")
    assert [vmi["nad"] for vmi in made] == ["", *nads]
    assert [vmi["index"] for vmi in made] == list(range(len(nads) + 1))


@pytest.mark.parametrize(
    "text", ["a/b/c", "[1]", '["net-a"]', '[{"name":"net-a"}', '[{"name":"net-a","interface":"x"}]' * 2]
)
async def test_P_M1_a_selection_that_can_not_be_read(worlds, text):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", text)
    message = await world.refused("default/p", "SelectionInvalid")
    assert "character" in message
    assert [reason for reason, _ in world.said.warnings("default/p")] == ["SelectionInvalid"]
    await classic.settle()
    classic.touch("default/p", other="event")
    await classic.settle()
    assert [classic.vm("default/p"), classic.interfaces("default/p"), classic.said.events] == [None, [], []]
    assert classic.status("default/p") is None


async def test_P_M3_a_missing_nad_fails_the_pod_or_is_left_out_silently(worlds):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", "net-a,missing")
    await world.refused("default/p", "NADNotFound")
    assert names(await classic.attached("default/p")) == [("eth0", ""), ("eth1", "default/net-a")]
    await classic.settle()
    assert classic.said.events == []
    assert "missing" not in classic.status("default/p")


async def test_P_M4_a_known_nad_without_network_waits_or_leaves_a_pod_half_built_for_good(worlds):
    world, classic = worlds
    for each in worlds:
        each.nad("default/lost", network=BLUE)
        await each.settle()
        each.pod("default/p", "net-a,lost,net-b")
    await world.refused("default/p", "NetworkNotFound")
    assert world.interfaces("default/p") == []
    await classic.api.until("half a pod", lambda: classic.resolved("default/p"))
    await classic.settle()
    assert (classic.resolved("default/p")["status"], classic.resolved("default/p")["reason"]) == (
        "False",
        "HalfBuilt",
    )
    half = classic.interfaces("default/p")
    assert [(vmi["index"], vmi["of"], vmi["nad"]) for vmi in half] == [(0, 4, ""), (1, 4, "default/net-a")]
    assert classic.status("default/p") is None
    for each in worlds:
        user_network(each, "blue")
        await each.settle()
        each.touch("default/p", other="event")
        await each.settle()
    assert len(await world.attached("default/p")) == 4
    assert classic.interfaces("default/p") == half
    await classic.stop()
    await classic.start()
    await classic.settle()
    assert classic.interfaces("default/p") == half
    classic.api.remove(PODS, "default/p")
    await classic.settle()
    assert classic.api.all(INSTANCE_IPS) == []
    classic.pod("default/p", "net-a,lost,net-b")
    assert len(await classic.attached("default/p")) == 4


async def test_P_M5_an_exhausted_pool_refuses_or_leaves_a_pod_half_built(worlds):
    world, classic = worlds
    for each in worlds:
        each.nad("default/tiny", cidr="10.4.4.0/29")
        await each.settle()
        each.pod("default/all", "tiny,tiny,tiny,tiny")
        await each.attached("default/all")
        each.pod("default/late", "net-a,tiny")
    await world.refused("default/late", "PoolExhausted")
    await classic.api.until("half a pod", lambda: classic.resolved("default/late"))
    for each in worlds:
        each.api.remove(PODS, "default/all")
        await each.settle()
    assert len(await world.attached("default/late")) == 3
    assert [vmi["of"] for vmi in classic.interfaces("default/late")] == [3, 3]


@BOTH
async def test_P8_P9_P10_index_and_names(each):
    await furnish(each)
    each.pod("default/p", '[{"name":"net-a","interface":"foo"},{"name":"net-b"}]')
    made = await each.attached("default/p")
    assert [(vmi["index"], vmi["of"]) for vmi in made] == [(0, 3), (1, 3), (2, 3)]
    assert names(made) == [("eth0", ""), ("foo", "default/net-a"), ("eth2", "default/net-b")]


@BOTH
async def test_P12_there_is_no_limit_to_interfaces(each):
    await furnish(each)
    each.pod("default/p", ",".join(["net-a"] * 50))
    made = await each.attached("default/p")
    assert [vmi["interface"] for vmi in made] == [f"eth{number}" for number in range(51)]


async def test_P13_eth0_asked_for_a_secondary(worlds):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", '[{"name":"net-a","interface":"eth0"}]')
    await world.refused("default/p", "InterfaceNameTaken")
    assert [name for name, _ in names(await classic.attached("default/p"))] == ["eth0", "eth0"]


@BOTH
async def test_P14_who_decides_on_interface_0(each):
    await furnish(each)
    user_network(each, "blue", "10.8.0.0/24")
    user_network(each, "red", "10.9.0.0/24")
    each.namespace("both", network=RED, isolation="true")
    each.namespace("iso", isolation="true")
    await each.settle()
    each.pod("both/pod", annotations={NETWORK: BLUE})
    each.pod("both/namespace")
    each.pod("iso/isolated")
    each.pod("other/plain")
    found = {
        key: (await each.attached(key))[0]["network"]
        for key in ("both/pod", "both/namespace", "iso/isolated", "other/plain")
    }
    assert found == {
        "both/pod": "blue",
        "both/namespace": "red",
        "iso/isolated": "default-domain.k8s-iso.k8s-iso-pod-network",
        "other/plain": "default-domain.k8s-default.k8s-default-pod-network",
    }


@BOTH
async def test_P15_an_override_changes_the_network_behind_eth0_only(each):
    await furnish(each)
    user_network(each, "blue")
    await each.settle()
    each.pod("default/p", "net-a", annotations={NETWORK: BLUE})
    eth0, eth1 = await each.attached("default/p")
    assert (eth0["interface"], eth0["index"], eth0["nad"]) == ("eth0", 0, "")
    assert first_address([eth0]) == "10.9.0.252"
    assert eth1["nad"] == "default/net-a"
    await each.settle()
    if each.status("default/p"):
        assert "cluster-wide-default" in each.status("default/p")


async def test_P16_an_override_that_is_missing(worlds):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", annotations={NETWORK: BLUE})
    await world.refused("default/p", "NetworkNotFound")
    await classic.settle()
    assert (classic.vm("default/p"), classic.api.all(INSTANCE_IPS)) == (None, [])
    for each in worlds:
        user_network(each, "blue")
        await each.settle()
    assert first_address(await world.attached("default/p")) == "10.9.0.252"
    assert classic.vm("default/p") is None
    classic.touch("default/p", other="event")
    assert first_address(await classic.attached("default/p")) == "10.9.0.252"


async def test_P16_an_override_that_can_not_be_read_is_refused_with_the_reason(world):
    world.pod("default/p", annotations={NETWORK: "d:p:n"})
    message = await world.refused("default/p", "DefaultNetworkInvalid")
    assert "Pod default/p, opencontrail.org/network" in message


@BOTH
async def test_P17_the_override_of_a_running_pod_is_fixed(each):
    user_network(each, "blue")
    await each.settle()
    each.pod("default/p")
    before = await each.attached("default/p")
    each.touch("default/p", **{NETWORK: BLUE})
    await each.settle()
    assert each.interfaces("default/p") == before


@BOTH
@pytest.mark.parametrize("key", ["v1.multus-cni.io/default-network", "k8s.v1.cni.cncf.io/default-network"])
async def test_P18_other_implementations_overrides_are_not_understood(each, key):
    await furnish(each)
    each.pod("default/p", annotations={key: "net-a"})
    (eth0,) = await each.attached("default/p")
    assert first_address([eth0]) == "10.47.255.252"


@BOTH
async def test_P19_isolation_changes_interface_0_only(each):
    await furnish(each)
    each.namespace("iso", isolation="true")
    await each.settle()
    each.pod("iso/p", "default/net-a")
    each.pod("default/q", "net-a")
    assert [vmi["nad"] for vmi in await each.attached("iso/p")] == ["", "default/net-a"]
    assert {vmi["network"] for vmi in await each.attached("default/q")} & {
        vmi["network"] for vmi in each.interfaces("iso/p")
    } == {"default-domain.k8s-default.k8s-net-a-pod-network"}


async def test_P20_an_edit_of_a_running_pod_changes_nothing_and_is_told_once_or_never(worlds):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", "net-a")
        before = await each.attached("default/p")
        await each.settle()
        status = each.status("default/p")
        for text in ("net-a,net-b", "", "net-a,net-b"):
            each.touch("default/p", **{"k8s.v1.cni.cncf.io/networks": text})
            await each.settle()
        assert each.interfaces("default/p") == before
        assert each.status("default/p") == status
    assert {reason for reason, _ in world.said.warnings("default/p")} == {"SelectionChangeIgnored"}
    assert classic.said.events == []


async def test_P21_a_nad_made_after_the_pod(worlds):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", "later")
        await each.settle()
        each.nad("default/later", cidr="10.5.5.0/24")
        await each.settle()
    assert len(await world.attached("default/p")) == 2
    assert len(await classic.attached("default/p")) == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_P22_finished_pods(worlds, phase):
    for each in worlds:
        pod = each.pod("default/p", "net-a")
        await each.attached("default/p")
        each.api.put(PODS, pod | {"status": {"phase": phase}})
        await each.settle()
    world, classic = worlds
    assert world.api.all(INSTANCE_IPS) == []
    assert len(classic.api.all(INSTANCE_IPS)) == 2
    classic.api.remove(PODS, "default/p")
    await classic.settle()
    assert [classic.api.all(kind) for kind in (VIRTUAL_MACHINES, INSTANCE_IPS)] == [[], []]


@BOTH
async def test_P23_a_new_pod_of_the_same_name_is_another_pod(each):
    await furnish(each)
    each.pod("default/p", "net-a")
    before = await each.attached("default/p")
    each.api.remove(PODS, "default/p")
    each.pod("default/p", "net-a")
    await each.settle()
    after = await each.attached("default/p")
    assert {vmi["mac"] for vmi in before}.isdisjoint(vmi["mac"] for vmi in after)
    assert len(each.api.all(VIRTUAL_MACHINE_INTERFACES)) == len(each.api.all(INSTANCE_IPS)) == 2


async def test_an_interface_removed_by_hand_is_made_again(worlds):
    world, classic = worlds
    for each in worlds:
        each.pod("default/p", "net-a")
        await each.attached("default/p")
        await each.settle()
    before = world.interfaces("default/p")
    for each in worlds:
        gone = each.api.all(VIRTUAL_MACHINE_INTERFACES)[1]["metadata"]
        each.api.remove(VIRTUAL_MACHINE_INTERFACES, f"default/{gone['name']}")
        await each.settle()
    assert world.interfaces("default/p") == before
    assert len(classic.interfaces("default/p")) == 1


@pytest.mark.parametrize("kinds", [(VIRTUAL_MACHINE_INTERFACES,), (VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS)])
async def test_interfaces_removed_while_the_controller_was_away_are_made_again(world, kinds):
    await furnish(world)
    world.pod("default/p", "net-a,other/net-c")
    before = await world.attached("default/p")
    await world.settle()
    await world.stop()
    for kind in kinds:
        for key in list(world.api.objects[kind]):
            world.api.remove(kind, key)
    await world.start()
    await world.settle()
    assert [(vmi["mac"], vmi["addresses"]) for vmi in world.interfaces("default/p")] == [
        (vmi["mac"], vmi["addresses"]) for vmi in before
    ]
    assert len(world.api.all(INSTANCE_IPS)) == 3


async def test_an_address_removed_by_hand_is_owned_again_or_its_loss_is_told(world):
    await furnish(world)
    world.pod("default/p", "net-a")
    await world.attached("default/p")
    await world.settle()
    name = "default-domain.k8s-default.k8s-net-a-pod-network.10.1.1.252"
    owned = world.api.named(INSTANCE_IPS, name)
    world.api.remove(INSTANCE_IPS, name)
    await world.settle()
    assert world.api.named(INSTANCE_IPS, name)["spec"] == owned["spec"]
    world.api.remove(INSTANCE_IPS, name)
    stolen = {"metadata": {"name": name}, "spec": owned["spec"] | {"podUID": "", "interface": {}}}
    world.api.put(INSTANCE_IPS, stolen)
    await world.settle()
    assert [reason for reason, _ in world.said.warnings("default/p")] == ["AddressLost"]


@pytest.mark.parametrize("kind", [VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS])
async def test_orphans_are_collected_whenever_they_appear(world, kind):
    await furnish(world)
    world.pod("default/p", "net-a")
    await world.attached("default/p")
    orphan = json.loads(json.dumps(world.api.all(kind)[0]))
    orphan["metadata"]["name"] = "orphan"
    for reference in (orphan["spec"], orphan["spec"].get("pod", {})):
        reference |= {key: "gone" for key in ("uid", "podUID") if key in reference}
    world.api.put(kind, orphan)
    await world.settle()
    assert "orphan" not in {found["metadata"]["name"] for found in world.api.all(kind)}


async def test_objects_without_a_pod_are_left_alone(world):
    bare = {"metadata": {"name": "host", "namespace": "default"}, "spec": {"pod": {}, "network": "blue"}}
    for kind in (VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES):
        world.api.put(kind, bare)
    await world.settle()
    assert world.api.named(VIRTUAL_MACHINE_INTERFACES, "default/host")
    assert world.api.named(VIRTUAL_MACHINES, "default/host")
