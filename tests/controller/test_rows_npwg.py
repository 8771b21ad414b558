"""CORE rows of NPWG about selection (4), status (5), the default network (6) and restriction (7.4)."""

import json

import pytest

from multinet.kube.resources import INSTANCE_IPS, VIRTUAL_NETWORKS
from multinet.model import selection, status
from multinet.model.attachments import Interface
from multinet.model.selected import PortMapping
from multinet.model.status import NetworkStatus

V6 = "2001:db8::"


async def furnish(world):
    world.namespace("other")
    world.nad("default/a", cidr="10.1.1.0/24")
    world.nad("default/b", cidr="10.2.2.0/24")
    world.nad(
        "default/alias",
        network="{'domain': 'default-domain', 'project': 'k8s-default', 'name': 'k8s-a-pod-network'}",
    )
    world.nad("default/dual", cidr="10.6.6.0/24, 2001:db8::/64")
    world.nad("other/a", cidr="10.3.3.0/24")
    world.nad("other/only", cidr="10.4.4.0/24")
    await world.settle()


@pytest.fixture
async def lab(world):
    """Networks a, b, dual and alias (of a) in the pods' namespace; other/a and other/only elsewhere."""
    await furnish(world)
    return world


async def nads_of(world, text):
    world.pod("default/p", text)
    return [vmi["nad"] for vmi in await world.attached("default/p")][1:]


def element(**keys):
    return json.dumps([{"name": "a"} | keys])


async def refused_whole(world, text, reason):
    """The pod is refused, and nothing of it is left: the verdict FAIL-CLOSED."""
    world.pod("default/p", text)
    message = await world.refused("default/p", reason)
    await world.settle()
    assert world.interfaces("default/p") == []
    assert world.api.all(INSTANCE_IPS) == []
    return message


async def test_NPWG_4_b_selected_networks_come_on_top_of_the_default_one(lab):
    lab.pod("default/p", "a,b")
    assert len(await lab.attached("default/p")) == 3


async def test_NPWG_4_1_a_c_the_key_and_its_absence(lab):
    assert await nads_of(lab, "a") == ["default/a"]
    lab.pod("default/none")
    assert len(await lab.attached("default/none")) == 1


async def test_NPWG_4_1_b_both_formats_give_the_same(lab):
    assert await nads_of(lab, "a,other/only") == ["default/a", "other/only"]
    lab.pod("default/json", '[{"name": "a"}, {"name": "only", "namespace": "other"}]')
    assert [vmi["nad"] for vmi in await lab.attached("default/json")][1:] == ["default/a", "other/only"]


@pytest.mark.parametrize("text", ["", "  \n", "[]", " [ ] "])
async def test_NPWG_4_1_d_empty_selections_attach_nothing(lab, text):
    assert await nads_of(lab, text) == []


@pytest.mark.parametrize("key", ["networks", "kubernetes.v1.cni.cncf.io/networks"])
async def test_NPWG_4_1_e_look_alike_keys_select_nothing(lab, key):
    lab.pod("default/p", annotations={key: "a"})
    assert len(await lab.attached("default/p")) == 1


async def test_NPWG_4_1_f_mixed_formats_attach_nothing(lab):
    await refused_whole(lab, 'a,{"name":"b"}', "SelectionInvalid")


async def test_NPWG_4_1_1_a_a_bare_name_is_of_the_pods_namespace_only(lab):
    assert await nads_of(lab, "a") == ["default/a"]
    lab.pod("default/q", "only")
    await lab.refused("default/q", "NADNotFound")


async def test_NPWG_4_1_1_b_a_qualified_name_is_of_that_namespace(lab):
    assert await nads_of(lab, "other/a") == ["other/a"]


@pytest.mark.parametrize("count", [1, 2, 5, 50, 200])
async def test_NPWG_4_1_1_c_one_attachment_per_item(lab, count):
    assert await nads_of(lab, ",".join(["a"] * count)) == ["default/a"] * count


@pytest.mark.parametrize("text", [" a , b ", "a,\nb", "\ta,b\n"])
async def test_NPWG_4_1_1_d_e_order_and_blanks(lab, text):
    assert await nads_of(lab, text) == ["default/a", "default/b"]


@pytest.mark.parametrize("text", ["x/y/z", "a,,b", "a,", "other/", "/a", "A", "a_b", "-a", "a@net1"])
async def test_NPWG_4_1_1_f_3_3_d_malformed_items_attach_nothing(lab, text):
    assert "character" in await refused_whole(lab, text, "SelectionInvalid")


@pytest.mark.parametrize("text", ['\n [{"name": "a"}]\n', '[{"name": "a"}]  '])
async def test_NPWG_4_1_2_b_blanks_around_json(lab, text):
    assert await nads_of(lab, text) == ["default/a"]


@pytest.mark.parametrize("text", ["{}", "[{", "[null]", "[[]]", "[1]", '["a"]', '[{"name": "a"}] x'])
async def test_NPWG_4_1_2_c_broken_json_attaches_nothing(lab, text):
    await refused_whole(lab, text, "SelectionInvalid")


STANDARD_KEYS = {
    "name",
    "namespace",
    "ips",
    "mac",
    "interface",
    "cni-args",
    "portMappings",
    "bandwidth",
    "default-route",
    "infiniband-guid",
    "ipam-claim-reference",
}


@pytest.mark.parametrize("key", ["ips", "interfaceRequest", "deviceID", "infinibandGUID", "gateway", "mtu"])
def test_NPWG_4_1_2_1_a_no_key_counts_that_is_neither_the_standards_nor_has_a_dot(key):
    (selected,) = selection.parse(element(**{key: ["10.1.1.7"]}), pod_namespace="default")
    assert (key in selected.ignored) == (key not in STANDARD_KEYS)


async def test_NPWG_4_1_2_1_b_unknown_keys_have_no_effect_and_are_told(lab):
    assert await nads_of(lab, element(interfaceRequest="x", **{"example.com/key": 1})) == ["default/a"]
    reasons = [reason for reason, _ in lab.said.warnings("default/p")]
    assert reasons == ["SelectionKeyIgnored", "SelectionKeyIgnored"]


@pytest.mark.parametrize("text", ['[{"namespace": "other"}]', '[{"name": ""}]', '[{"name": 5}]'])
async def test_NPWG_4_1_2_1_1_a_b_the_name_is_required(lab, text):
    await refused_whole(lab, text, "SelectionInvalid")


@pytest.mark.parametrize(
    ("extra", "nad"),
    [({}, "default/a"), ({"namespace": ""}, "default/a"), ({"namespace": "other"}, "other/a")],
)
async def test_NPWG_4_1_2_1_1_c_4_1_2_1_2_a_the_namespace(lab, extra, nad):
    assert await nads_of(lab, element(**extra)) == [nad]


@pytest.mark.parametrize("asked", [["10.1.1.7"], ["10.1.1.7/24"]])
async def test_NPWG_4_1_2_1_3_a_d_exactly_the_requested_address(lab, asked):
    lab.pod("default/p", element(ips=asked))
    _, eth1 = await lab.attached("default/p")
    assert [item["address"] for item in eth1["addresses"]] == ["10.1.1.7"]


@pytest.mark.parametrize(
    "ips",
    [
        [],
        ["300.1.1.1"],
        ["1.2.3"],
        ["fe80::1%eth0"],
        ["::ffff:1.2.3.4"],
        ["010.1.1.1"],
        [""],
        ["10.1.1.0/24"],
        "10.1.1.7",
    ],
)
async def test_NPWG_4_1_2_1_3_b_c_e_invalid_addresses_attach_nothing(lab, ips):
    await refused_whole(lab, element(ips=ips), "SelectionInvalid")


@pytest.mark.parametrize("ips", [["10.9.9.9"], ["10.1.1.7/16"], ["10.1.1.254"]])
async def test_NPWG_4_1_2_1_3_f_what_the_network_can_not_give_is_refused(lab, ips):
    await refused_whole(lab, element(ips=ips), "AddressInvalid")


async def test_NPWG_4_1_2_1_3_g_both_families(lab):
    lab.pod("default/p", json.dumps([{"name": "dual", "ips": ["10.6.6.7", f"{V6}7/64"]}]))
    _, eth1 = await lab.attached("default/p")
    assert [(item["address"], item["prefixLength"]) for item in eth1["addresses"]] == [
        ("10.6.6.7", 24),
        (f"{V6}7", 64),
    ]
    lab.pod("default/q", "dual")
    _, eth1 = await lab.attached("default/q")
    assert [item["address"] for item in eth1["addresses"]] == ["10.6.6.252", f"{V6}ffff:ffff:ffff:fffc"]


async def test_several_blocks_of_one_family_are_used_one_after_the_other(lab):
    lab.nad("default/two", cidr='["10.7.0.0/29", "10.7.1.0/29"]')
    lab.pod("default/p", ",".join(["two"] * 8))
    found = [vmi["addresses"] for vmi in (await lab.attached("default/p"))[1:]]
    assert all(len(addresses) == 1 for addresses in found)
    blocks = [addresses[0]["address"].rpartition(".")[0] for addresses in found]
    assert blocks == ["10.7.0"] * 4 + ["10.7.1"] * 4
    lab.pod("default/late", "two")
    message = await lab.refused("default/late", "PoolExhausted")
    assert "all 8 addresses of 10.7.0.0/29 and 10.7.1.0/29" in message


async def test_NPWG_4_1_2_1_3_h_a_taken_address_is_refused(lab):
    lab.pod("default/first", element(ips=["10.1.1.7"]))
    await lab.attached("default/first")
    lab.pod("default/p", element(ips=["10.1.1.7"]))
    assert "default/first" in await lab.refused("default/p", "AddressInUse")


async def test_NPWG_4_1_2_1_4_a_the_requested_mac(lab):
    lab.pod("default/p", element(mac="02:00:00:00:00:07"))
    assert (await lab.attached("default/p"))[1]["mac"] == "02:00:00:00:00:07"


@pytest.mark.parametrize(
    "mac",
    [
        "02:00:00:00:00:00:00:07",
        "0200.0000.0007",
        "zz",
        "01:00:00:00:00:01",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        5,
    ],
)
async def test_NPWG_4_1_2_1_4_b_c_invalid_macs_attach_nothing(lab, mac):
    await refused_whole(lab, element(mac=mac), "SelectionInvalid")


@pytest.mark.parametrize("name", ["x", "foo_bar.1", "a" * 15])
async def test_NPWG_4_1_2_1_5_a_b_the_requested_interface_name(lab, name):
    lab.pod("default/p", element(interface=name))
    assert (await lab.attached("default/p"))[1]["interface"] == name


@pytest.mark.parametrize("name", ["a" * 16, "a/b", "a:b", "a b", ".", "..", "", "%d"])
async def test_NPWG_4_1_2_1_5_b_c_invalid_names_attach_nothing(lab, name):
    await refused_whole(lab, element(interface=name), "SelectionInvalid")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"name": "a", "interface": "x1"}, {"name": "b", "interface": "x1"}]', "SelectionInvalid"),
        (element(interface="eth0"), "InterfaceNameTaken"),
        (element(interface="lo"), "InterfaceNameTaken"),
    ],
)
async def test_NPWG_4_1_2_1_5_d_names_in_use_are_refused(lab, text, reason):
    await refused_whole(lab, text, reason)


async def test_NPWG_4_1_2_1_6_a_cni_args_may_be_ignored(lab):
    assert await nads_of(lab, element(**{"cni-args": {"key": "value"}})) == ["default/a"]


@pytest.mark.parametrize(
    "mappings",
    [
        [],
        [{"containerPort": 1}],
        [{"hostPort": 80}],
        [{"hostPort": 0, "containerPort": 1}],
        [{"hostPort": 65536, "containerPort": 1}],
        [{"hostPort": "80", "containerPort": 1}],
        [{"hostPort": 80.5, "containerPort": 1}],
        [{"hostPort": 80, "containerPort": 0}],
        [{"hostPort": 80, "containerPort": 65536}],
        [{"hostPort": 80, "containerPort": "80"}],
        [{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}],
    ],
)
async def test_NPWG_4_1_2_1_7_b_c_d_e_g_invalid_port_mappings_attach_nothing(lab, mappings):
    await refused_whole(lab, element(portMappings=mappings), "SelectionInvalid")


async def test_NPWG_4_1_2_1_7_h_port_mappings_that_can_not_be_done_are_refused(lab):
    # Nodes have IPv4 addresses, and so have their ports.
    lab.nad("default/a", cidr="fd00:1::/64")
    mapping = {"hostPort": 80, "containerPort": 80, "protocol": "tCp"}
    assert "no IPv4 subnet" in await refused_whole(lab, element(portMappings=[mapping]), "RequestUnsupported")


async def test_NPWG_4_1_2_1_7_a_port_mappings_are_that_interfaces_alone(lab):
    lab.pod(
        "default/p", '[{"name": "b"}, {"name": "a", "portMappings": [{"hostPort": 80, "containerPort": 8}]}]'
    )
    listed = [item.get("portMappings") for item in await lab.attached("default/p")]
    assert listed == [None, None, [{"hostPort": 80, "containerPort": 8, "protocol": "tcp"}]]


def test_NPWG_4_1_2_1_7_f_without_a_protocol_it_is_tcp():
    text = element(portMappings=[{"hostPort": 80, "containerPort": 8080}])
    (selected,) = selection.parse(text, pod_namespace="default")
    assert selected.port_mappings == (PortMapping(80, 8080, "tcp"),)


@pytest.mark.parametrize(
    "bandwidth", [{}, {"ingressRate": 0}, {"egressRate": "1"}, {"ingressBurst": 1}, {"egressBurst": 1}]
)
async def test_NPWG_4_1_2_1_8_c_d_e_f_g_invalid_bandwidth_attaches_nothing(lab, bandwidth):
    await refused_whole(lab, element(bandwidth=bandwidth), "SelectionInvalid")


async def test_bandwidth_is_handed_to_the_node_agent_for_its_interface_alone(lab):
    asked = {"ingressRate": 1000, "ingressBurst": 20, "egressRate": 1 << 40}
    lab.pod("default/p", json.dumps([{"name": "a", "bandwidth": asked}, {"name": "a"}]))
    await lab.attached("default/p")
    found = [spec.get("bandwidth") for spec in lab.interfaces("default/p")]
    assert found == [None, asked, None]


async def test_NPWG_4_1_2_1_9_a_e_g_the_default_route_moves(lab):
    routes = {"default-route": ["10.1.1.1", "10.1.1.2"]}
    lab.pod("default/p", element(**routes))
    eth0, eth1 = await lab.attached("default/p")
    assert (eth0["defaultRoute"], eth1["defaultRoute"]) == ([], ["10.1.1.1", "10.1.1.2"])


async def test_NPWG_4_1_2_1_9_b_c_only_one_item_may_carry_it(lab):
    text = '[{"name": "a", "default-route": ["10.1.1.1"]}, {"name": "b", "default-route": ["10.2.2.1"]}]'
    await refused_whole(lab, text, "SelectionInvalid")


async def test_NPWG_4_1_2_1_9_d_an_empty_list_means_the_networks_own_gateways(lab):
    lab.pod("default/p", json.dumps([{"name": "dual", "default-route": []}]))
    assert (await lab.attached("default/p"))[1]["defaultRoute"] == ["10.6.6.254", f"{V6}ffff:ffff:ffff:fffe"]


@pytest.mark.parametrize(
    ("gateways", "reason"),
    [(["x"], "SelectionInvalid"), (["10.1.1.0/24"], "SelectionInvalid"), (["10.9.9.1"], "GatewayInvalid")],
)
async def test_NPWG_4_1_2_1_9_h_bad_gateways_attach_nothing(lab, gateways, reason):
    await refused_whole(lab, element(**{"default-route": gateways}), reason)


async def test_NPWG_4_1_2_1_9_f_a_gateway_of_one_family_moves_the_routes_of_both(lab):
    target = {"domain": "default-domain", "project": "k8s-default", "name": "k8s-dual-pod-network"}
    override = {"opencontrail.org/network": json.dumps(target)}
    lab.pod("default/p", element(**{"default-route": ["10.1.1.9"]}), override)
    eth0, eth1 = await lab.attached("default/p")
    assert len(eth0["addresses"]) == 2
    assert (eth0["defaultRoute"], eth1["defaultRoute"]) == ([], ["10.1.1.9"])


async def test_NPWG_4_1_2_1_11_b_c_ipam_claims(lab):
    claim = {"ipam-claim-reference": "claim"}
    assert await nads_of(lab, element(**claim)) == ["default/a"]
    lab.pod("default/q", element(ips=["10.1.1.7"], **claim))
    await lab.refused("default/q", "SelectionInvalid")


@pytest.mark.parametrize("text", ["a,a", "a,alias"])
async def test_NPWG_4_2_a_b_d_the_same_network_twice_is_two_attachments(lab, text):
    lab.pod("default/p", text)
    _, one, two = await lab.attached("default/p")
    assert one["network"] == two["network"]
    assert (one["interface"], two["interface"]) == ("eth1", "eth2")
    assert one["addresses"] != two["addresses"]
    assert one["mac"] != two["mac"]


async def entries_of(world, text):
    world.pod("default/p", text)
    interfaces = [Interface.from_object({"spec": spec}) for spec in await world.attached("default/p")]
    return json.loads(status.encode(map(NetworkStatus.planned, interfaces)))


async def test_NPWG_4_2_c_5_x_a_one_entry_per_attachment(lab):
    entries = await entries_of(lab, "a,a,other/a")
    assert [entry["name"] for entry in entries] == [
        "cluster-wide-default",
        "default/a",
        "default/a",
        "other/a",
    ]


async def test_NPWG_5_3_a_5_3_3_a_5_3_5_a_b_keys_and_types(lab):
    entries = await entries_of(lab, "dual")
    assert [entry["default"] for entry in entries] == [True, False]
    for entry in entries:
        assert set(entry) <= {"name", "interface", "ips", "mac", "default", "dns"}
        assert isinstance(entry["ips"], list)
        assert entry["interface"]
        assert isinstance(entry["dns"], dict)
    assert entries[1]["ips"] == ["10.6.6.252", f"{V6}ffff:ffff:ffff:fffc"]


async def test_NPWG_5_3_6_4_a_a_requested_default_route_is_in_the_entry(lab):
    text = '[{"name": "a", "default-route": ["10.1.1.9"]}, {"name": "b"}]'
    entries = await entries_of(lab, text)
    assert [entry.get("default-route") for entry in entries] == [None, ["10.1.1.9"], None]


def test_NPWG_5_3_a_what_the_standard_has_no_key_for_is_named_with_a_dot():
    entry = NetworkStatus("cluster-wide-default", default=True, mtu=1450, gateway=("10.47.255.254",))
    (made,) = json.loads(status.encode([entry]))
    assert {key for key in made if key not in {"name", "default", "dns"}} == {
        "multinet.opencontrail.org/mtu",
        "multinet.opencontrail.org/gateway",
    }
    assert status.decode(json.dumps([made])) == (entry,)
    (others,) = status.decode('[{"name": "n", "mtu": 9000, "gateway": ["10.0.0.1"]}]')
    assert (others.mtu, others.gateway) == (9000, ("10.0.0.1",))


async def test_NPWG_6_a_every_pod_has_the_default_network(lab):
    lab.namespace("kube-system")
    for key, text in (("kube-system/p", None), ("default/p", "a"), ("other/p", "")):
        lab.pod(key, text)
        assert (await lab.attached(key))[0]["network"].endswith("k8s-default-pod-network")


async def test_NPWG_6_2_a_the_default_network_comes_first(lab):
    lab.pod("default/p", "a")
    assert [vmi["index"] for vmi in await lab.attached("default/p")] == [0, 1]


async def test_NPWG_7_2_a_one_that_fails_fails_all(lab):
    await refused_whole(lab, "a,missing,b", "NADNotFound")


@pytest.mark.parametrize(
    ("pod", "network", "allowed"),
    [
        ("default/p", "other/a", False),
        ("other/p", "default/a", True),
        ("other/p", "a", True),
        ("other/p", "shared/s", True),
        ("default/p", '[{"name": "a", "namespace": "other"}]', False),
    ],
)
async def test_NPWG_7_4_a_b_isolated_namespaces_of_networks(start_world, pod, network, allowed):
    world = await start_world(namespace_isolation=True, global_namespaces=frozenset({"default", "shared"}))
    await furnish(world)
    world.namespace("shared")
    world.nad("shared/s", cidr="10.5.5.0/24")
    world.pod(pod, network)
    if allowed:
        assert len(await world.attached(pod)) == 2
    else:
        message = await world.refused(pod, "NetworkForbidden")
        assert "NPWG 7.4" in message
        assert world.interfaces(pod) == []


REFERENCE = '{"domain": "default-domain", "project": "k8s-other", "name": "k8s-a-pod-network"}'


async def test_NPWG_7_4_b_a_mapping_is_no_way_round(start_world):
    world = await start_world(namespace_isolation=True, global_namespaces=frozenset({"shared"}))
    await furnish(world)
    world.namespace("shared")
    world.nad("default/round", network=REFERENCE)
    world.nad("shared/published", network=REFERENCE)
    world.pod("default/p", "round")
    assert "k8s-other:k8s-a-pod-network" in await world.refused("default/p", "NetworkForbidden")
    world.pod("default/q", annotations={"opencontrail.org/network": REFERENCE})
    await world.refused("default/q", "NetworkForbidden")
    world.pod("default/r", "shared/published")
    assert len(await world.attached("default/r")) == 2
    world.pod("other/s", annotations={"opencontrail.org/network": REFERENCE})
    assert len(await world.attached("other/s")) == 1


async def test_NPWG_7_4_b_a_projects_networks_are_its_namespaces(start_world):
    world = await start_world(namespace_isolation=True, global_namespaces=frozenset())
    await furnish(world)
    spec = {"fqName": ["default-domain", "k8s-other", "made"], "subnets": [{"cidr": "10.8.8.0/24"}]}
    world.api.put(VIRTUAL_NETWORKS, {"metadata": {"name": "made"}, "spec": spec})
    for namespace in ("default", "other"):
        world.nad(f"{namespace}/m", network=REFERENCE.replace("k8s-a-pod-network", "made"))
        world.pod(f"{namespace}/p", "m")
    await world.refused("default/p", "NetworkForbidden")
    assert len(await world.attached("other/p")) == 2


async def test_EXT_1_a_name_with_an_interface_where_the_extension_is_on(start_world):
    world = await start_world(extensions=frozenset({"multus"}))
    await furnish(world)
    world.pod("default/p", "a@net1,other/a@net2,b")
    made = await world.attached("default/p")
    assert [(vmi["interface"], vmi["nad"]) for vmi in made[1:]] == [
        ("net1", "default/a"),
        ("net2", "other/a"),
        ("eth3", "default/b"),
    ]
