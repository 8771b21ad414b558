"""Pods to interfaces and addresses: the documented walk, requests, refusals, edits, ends."""

import json

import pytest

from multinet.controller.errors import Refusal
from multinet.kube.resources import INSTANCE_IPS, PODS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES
from multinet.model import naming
from multinet.model.attachments import PodRef

CIDR = "10.20.0.0/24"
PENDING = {"phase": "Pending"}


def addresses(interfaces):
    return [item["address"] for vmi in interfaces for item in vmi["addresses"]]


async def test_a_plain_pod_gets_eth0_in_the_default_network(world):
    pod = world.pod("default/plain")
    (eth0,) = await world.attached("default/plain")
    assert eth0["interface"] == "eth0"
    assert eth0["nad"] == ""
    assert eth0["forwardingMode"] == "l3"
    assert eth0["addresses"] == [
        {"address": "10.47.255.252", "prefixLength": 12, "gateway": "10.47.255.254", "dns": "10.47.255.253"}
    ]
    assert eth0["mac"] == naming.mac_of(pod["metadata"]["uid"], 0)
    assert world.networks() == ["default-domain.k8s-default.k8s-default-pod-network"]


async def test_both_forms_select_in_order(world):
    world.namespace("other")
    world.nad("default/right", cidr="10.20.20.0/24")
    world.nad("default/left", cidr="10.30.30.0/24")
    world.nad("other/data", cidr="10.40.40.0/24")
    world.pod("default/comma", "left,other/data,right")
    world.pod(
        "default/json",
        json.dumps([{"name": "left"}, {"name": "data", "namespace": "other"}, {"name": "right"}]),
    )
    for key in ("default/comma", "default/json"):
        made = await world.attached(key)
        assert [item["interface"] for item in made] == ["eth0", "eth1", "eth2", "eth3"]
        assert [item["nad"] for item in made] == ["", "default/left", "other/data", "default/right"]
        assert all(item["of"] == 4 for item in made)
        assert made[1]["forwardingMode"] == "l2_l3"
    everything = addresses(world.interfaces("default/comma")) + addresses(world.interfaces("default/json"))
    assert {"10.20.20.252", "10.20.20.251"} < set(everything)
    assert len(set(everything)) == 8


async def test_the_same_network_twice_gives_two_interfaces(world):
    world.nad("default/left", cidr=CIDR)
    world.pod("default/p", "left,left")
    made = await world.attached("default/p")
    assert [item["interface"] for item in made] == ["eth0", "eth1", "eth2"]
    assert addresses(made)[1:] == ["10.20.0.252", "10.20.0.251"]
    assert len({item["mac"] for item in made}) == 3


async def test_port_security_is_off_where_asked_for_and_never_on_interface_0(world):
    world.nad("default/left", cidr=CIDR)
    for value, said in (("true", [None, None]), ("false", [None, False])):
        world.pod(f"default/{value}", "left", annotations={"opencontrail.org/port_security": value})
        made = await world.attached(f"default/{value}")
        assert [item.get("portSecurity") for item in made] == said
    world.pod("default/typo", "left", annotations={"opencontrail.org/port_security": "no"})
    await world.refused("default/typo", "PortSecurityInvalid")


async def test_requests_are_honoured_exactly(world):
    world.nad("default/left", cidr=CIDR)
    world.nad("default/right", cidr="10.21.0.0/24")
    element = {
        "name": "left",
        "ips": ["10.20.0.7/24"],
        "mac": "02:AA:BB:CC:DD:EE",
        "interface": "net7",
        "default-route": ["10.20.0.1"],
    }
    world.pod("default/p", json.dumps([element, {"name": "right"}]))
    eth0, net7, eth2 = await world.attached("default/p")
    assert net7["interface"] == "net7"
    assert net7["mac"] == "02:aa:bb:cc:dd:ee"
    assert net7["addresses"][0]["address"] == "10.20.0.7"
    assert net7["defaultRoute"] == ["10.20.0.1"]
    assert eth0["defaultRoute"] == []
    assert eth2["interface"] == "eth2"
    assert "defaultRoute" not in eth2


async def test_an_empty_default_route_means_the_networks_gateway(world):
    world.nad("default/left", cidr=CIDR)
    world.pod("default/p", '[{"name": "left", "default-route": []}]')
    _, eth1 = await world.attached("default/p")
    assert eth1["defaultRoute"] == ["10.20.0.254"]


async def test_a_requested_name_does_not_shift_others_and_is_avoided(world):
    world.nad("default/a", cidr=CIDR)
    world.pod("default/p", '[{"name": "a", "interface": "eth2"}, {"name": "a"}, {"name": "a"}]')
    made = await world.attached("default/p")
    assert [item["interface"] for item in made] == ["eth0", "eth2", "eth3", "eth4"]


@pytest.mark.parametrize(
    ("selection", "reason", "words"),
    [
        ("a,,b", "SelectionInvalid", "an item of the list is empty"),
        ("[{", "SelectionInvalid", "can't be read"),
        ("missing", "NADNotFound", "default/missing is not known"),
        ("nowhere/a", "NADNotFound", "there is no namespace nowhere"),
        ("foreign", "NADForeign", "'macvlan'"),
        ("bad", "NADInvalid", "is no CIDR"),
        ("lost", "NetworkNotFound", "default-domain:p:n"),
        ('[{"name": "a", "ips": ["10.99.0.1"]}]', "AddressInvalid", "the network has 10.20.0.0/24"),
        ('[{"name": "a", "ips": ["10.20.0.254"]}]', "AddressInvalid", "network's own"),
        ('[{"name": "a", "ips": ["10.20.0.9/16"]}]', "AddressInvalid", "prefix length 24"),
        ('[{"name": "a", "default-route": ["10.99.0.1"]}]', "GatewayInvalid", "10.99.0.1"),
        ('[{"name": "a", "interface": "eth0"}]', "InterfaceNameTaken", "eth0"),
        (
            '[{"name": "a", "infiniband-guid": "24:8a:07:03:00:8d:ae:2e"}]',
            "RequestUnsupported",
            "infiniband",
        ),
    ],
)
async def test_what_can_not_be_met_is_refused_with_the_reason(world, selection, reason, words):
    world.nad("default/a", cidr=CIDR)
    world.nad("default/bad", cidr="10.1.1.0/33")
    world.nad("default/foreign", '{"type": "macvlan"}')
    world.nad("default/lost", network='{"domain": "default-domain", "project": "p", "name": "n"}')
    world.pod("default/p", selection)
    message = await world.refused("default/p", reason)
    assert words in message
    await world.settle()
    assert world.interfaces("default/p") == []
    assert world.api.all(INSTANCE_IPS) == []
    assert [found for found, _ in world.said.warnings("default/p")] == [reason]


async def test_an_address_in_use_is_refused_with_its_owner_and_granted_when_free(world):
    world.nad("default/a", cidr=CIDR)
    world.pod("default/first", '[{"name": "a", "ips": ["10.20.0.9"]}]')
    await world.attached("default/first")
    world.pod("default/second", '[{"name": "a", "ips": ["10.20.0.9"]}]')
    message = await world.refused("default/second", "AddressInUse")
    assert "it belongs to pod default/first" in message
    world.api.remove(PODS, "default/first")
    made = await world.attached("default/second")
    assert addresses(made)[1] == "10.20.0.9"


async def test_two_pods_that_ask_for_one_address_at_once(world):
    world.nad("default/a", cidr=CIDR)
    for name in ("x", "y"):
        world.pod(f"default/{name}", '[{"name": "a", "ips": ["10.20.0.9"]}]')
    await world.api.until("both judged", lambda: world.resolved("default/x") and world.resolved("default/y"))
    verdicts = sorted(world.resolved(f"default/{name}")["status"] for name in ("x", "y"))
    assert verdicts == ["False", "True"]


async def test_a_mac_in_use_in_the_network_is_refused(world):
    world.nad("default/a", cidr=CIDR)
    world.nad("default/b", cidr=CIDR)
    text = '[{"name": "%s", "mac": "02:00:00:00:00:09"}]'
    world.pod("default/one", text % "a")
    await world.attached("default/one")
    world.pod("default/two", text % "a")
    await world.refused("default/two", "MACInUse")
    world.pod("default/three", text % "b")
    await world.attached("default/three")
    world.api.remove(PODS, "default/one")
    await world.attached("default/two")


async def test_an_exhausted_pool_refuses_holds_nothing_and_recovers(world):
    world.nad("default/tiny", cidr="10.20.0.0/29")
    for number in range(4):
        world.pod(f"default/p{number}", "tiny")
        await world.attached(f"default/p{number}")
    world.pod("default/late", "tiny")
    message = await world.refused("default/late", "PoolExhausted")
    assert "all 4 addresses of 10.20.0.0/29" in message
    await world.settle()
    assert len(world.api.all(INSTANCE_IPS)) == 8
    world.api.remove(PODS, "default/p2")
    await world.attached("default/late")


async def test_a_pod_that_needs_more_than_is_free_does_not_spin(world):
    world.nad("default/tiny", cidr="10.20.0.0/29")
    world.pod("default/p", "tiny,tiny,tiny,tiny,tiny")
    await world.refused("default/p", "PoolExhausted")
    await world.settle()
    requests = world.api.requests
    await world.settle()
    assert world.api.requests == requests
    assert world.api.all(INSTANCE_IPS) == []


async def test_a_pod_waits_for_nad_namespace_and_network(world):
    world.pod("default/p", "later/blue")
    await world.refused("default/p", "NADNotFound")
    world.namespace("later")
    world.nad("later/blue", cidr="10.1.1")
    await world.refused("default/p", "NADInvalid")
    world.nad("later/blue", cidr="10.1.1.0/24")
    made = await world.attached("default/p")
    assert made[1]["nad"] == "later/blue"


async def test_host_network_and_unbound_pods_are_left_alone(world):
    world.pod("default/host", hostNetwork=True)
    world.pod("default/unbound", nodeName="")
    world.pod("default/witness")
    await world.attached("default/witness")
    await world.settle()
    assert world.vm("default/host") is None
    assert world.vm("default/unbound") is None
    bound = world.api.named(PODS, "default/unbound")
    world.api.put(PODS, bound | {"spec": {"nodeName": "node2"}})
    (eth0,) = await world.attached("default/unbound")
    assert eth0["node"] == "node2"


@pytest.mark.parametrize("end", ["deleted", "Succeeded", "Failed"])
async def test_a_pod_that_ends_gives_everything_back(world, end):
    world.nad("default/a", cidr=CIDR)
    pod = world.pod("default/p", "a,a")
    await world.attached("default/p")
    if end == "deleted":
        world.api.remove(PODS, "default/p")
    else:
        world.api.put(PODS, pod | {"status": {"phase": end}})
    await world.settle()
    assert [world.api.all(kind) for kind in (VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS)] == [
        [],
        [],
        [],
    ]


async def test_a_new_pod_of_the_same_name_gets_its_own_objects(world):
    world.nad("default/a", cidr=CIDR)
    first = world.pod("default/p", "a")
    await world.attached("default/p")
    world.api.remove(PODS, "default/p")
    second = world.pod("default/p", "a")
    await world.settle()
    assert {spec["pod"]["uid"] for spec in world.interfaces("default/p")} == {second["metadata"]["uid"]}
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert len(world.api.all(INSTANCE_IPS)) == 2


async def test_editing_the_selection_of_an_attached_pod_changes_nothing_and_is_told_once(world):
    world.nad("default/a", cidr=CIDR)
    world.nad("default/b", cidr="10.21.0.0/24")
    pod = world.pod("default/p", "a")
    before = await world.attached("default/p")
    for text in ("a,b", "a,b", "a,b"):
        edited = {
            **pod,
            "metadata": {**pod["metadata"], "annotations": {"k8s.v1.cni.cncf.io/networks": text}},
        }
        world.api.put(PODS, edited)
        await world.settle()
    await world.stop()
    await world.start()
    await world.settle()
    assert world.interfaces("default/p") == before
    told = [reason for reason, _ in world.said.warnings("default/p")]
    assert told == ["SelectionChangeIgnored"]


async def test_a_damaged_or_removed_status_annotation_is_mended(world):
    key = "k8s.v1.cni.cncf.io/network-status"
    pod = world.pod("default/p")
    (eth0,) = await world.attached("default/p")
    seen = {"index": 0, "interface": "eth0", "mac": eth0["mac"], "ips": ["10.47.255.252"], "default": True}
    vm = world.vm("default/p")
    vm["status"]["interfaces"] = [seen | {"mtu": 1450, "network": "cluster-wide-default"}]
    world.api.put(VIRTUAL_MACHINES, vm)
    for damage in ("not json", "[]", '[{"name": "cluster-wide-default", "ips": ["1.2.3.4"]}]'):
        current = world.api.named(PODS, "default/p")
        world.api.put(PODS, {**current, "metadata": {**pod["metadata"], "annotations": {key: damage}}})
        await world.settle()
        written = json.loads(world.api.named(PODS, "default/p")["metadata"]["annotations"][key])
        assert [(e["name"], e["interface"], e["ips"], e["default"]) for e in written] == [
            ("cluster-wide-default", "eth0", ["10.47.255.252"], True)
        ]
    current = world.api.named(PODS, "default/p")
    world.api.put(PODS, {**current, "metadata": {**pod["metadata"], "annotations": {}}})
    await world.settle()
    assert key in world.api.named(PODS, "default/p")["metadata"]["annotations"]


async def test_orphans_are_collected_at_start(world):
    world.nad("default/a", cidr=CIDR)
    world.pod("default/p", "a,a")
    await world.attached("default/p")
    await world.stop()
    world.api.remove(PODS, "default/p")
    await world.start()
    await world.settle()
    assert world.api.all(VIRTUAL_MACHINES) == []
    assert world.api.all(VIRTUAL_MACHINE_INTERFACES) == []
    assert world.api.all(INSTANCE_IPS) == []


async def test_a_machine_removed_by_hand_is_made_again_with_the_same_addresses(world):
    world.nad("default/a", cidr=CIDR)
    world.pod("default/p", "a")
    before = await world.attached("default/p")
    world.api.remove(VIRTUAL_MACHINES, f"default/{world.vm('default/p')['metadata']['name']}")
    await world.attached("default/p")
    await world.settle()
    assert world.interfaces("default/p") == before
    assert len(world.api.all(INSTANCE_IPS)) == 2


@pytest.mark.parametrize("bundles", [True, False])
async def test_an_address_which_the_cache_shows_as_free_and_the_api_does_not_is_passed_over(world, bundles):
    """A bundle ends there; written one by one, what it made is found and another address is taken."""
    world.api.bundles = bundles
    world.nad("default/left", cidr=CIDR)
    world.nad("default/right", cidr="10.30.0.0/24")
    await world.settle()
    network = next(name for name in world.networks() if "left" in name)
    name = naming.instance_ip_name(network, "10.20.0.252")
    owner = {"network": network, "address": "10.20.0.252", "podUID": "other"}
    # No event tells of it, as when the watch is late.
    unseen = {"metadata": {"name": name, "resourceVersion": "1", "uid": "x"}, "spec": owner}
    world.api.objects.setdefault(INSTANCE_IPS, {})[name] = unseen
    world.pod("default/p", "left,right")
    made = await world.attached("default/p")
    assert addresses(made) == ["10.47.255.252", "10.20.0.251", "10.30.0.252"]
    await world.settle()
    owners = [iip["spec"]["podUID"] for iip in world.api.all(INSTANCE_IPS)]
    assert sorted(owners, key=len) == ["other", *[made[0]["pod"]["uid"]] * 3]


async def test_a_pod_in_its_nodes_network_is_told_that_its_selection_is_not_attached(world):
    world.nad("default/left", cidr="10.1.1.0/24")
    world.pod("default/host", "left", hostNetwork=True)
    world.pod("default/plain", hostNetwork=True)
    await world.settle()
    ((reason, message),) = world.said.warnings("default/host")
    assert (reason, "remove hostNetwork" in message) == ("SelectionIgnored", True)
    assert world.said.warnings("default/plain") == []
    assert world.interfaces("default/host") == []


async def test_each_cause_has_its_own_grace(world):
    """A NAD came late, and that was told; that its network is being made is then no reason to warn."""
    pods, moment = world.controller._pods, [0.0]
    pods._clock = lambda: moment[0]
    pods._later = lambda _key, _delay: None
    pod = PodRef("default", "p", "uid")
    missing = Refusal("NADNotFound", "no NAD", grace_s=0.2)
    unready = Refusal("NetworkNotReady", "it is being made", grace_s=3.0, transient=True)
    assert pods._is_patient(pod, missing, (), 0)
    moment[0] = 10.0
    assert not pods._is_patient(pod, missing, (), 0)
    assert pods._is_patient(pod, unready, (), 0)
    moment[0] = 14.0
    assert not pods._is_patient(pod, unready, (), 0)
