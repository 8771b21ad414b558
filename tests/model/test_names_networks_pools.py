"""Names, subnets, address pools, objects and the status annotation."""

import ipaddress
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multinet.errors import InputError
from multinet.model import conditions, crds, naming, status
from multinet.model.attachments import (
    Address,
    AttachedInterface,
    InstanceIP,
    Interface,
    PodRef,
    VirtualMachine,
)
from multinet.model.conditions import Condition
from multinet.model.ipam import Pool
from multinet.model.networks import Subnet, VirtualNetwork

UID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
POD = PodRef("ns1", "web", UID)
V4 = ipaddress.IPv4Address


def test_contrails_names():
    assert naming.nad_network_fq_name("ns1", "left") == ("default-domain", "k8s-ns1", "k8s-left-pod-network")
    assert naming.default_network_fq_name() == ("default-domain", "k8s-default", "k8s-default-pod-network")
    assert (
        naming.fq_text(naming.nad_network_fq_name("ns1", "left"))
        == "default-domain:k8s-ns1:k8s-left-pod-network"
    )


PART = st.text(min_size=1, max_size=80)


@example(one=("0", "0", "0"), other=(":", "0" * 25, "0" * 25))
@given(one=st.tuples(PART, PART, PART), other=st.tuples(PART, PART, PART))
def test_object_names_are_valid_and_distinct(one, other):
    for fq_name in (one, other):
        name = naming.object_name(fq_name)
        assert naming.is_dns_subdomain(name)
        assert len(name) <= 200
        assert naming.is_dns_subdomain(
            naming.instance_ip_name(name, "fd00:1111:2222:3333:4444:5555:6666:7777")
        )
    assert (naming.object_name(one) == naming.object_name(other)) == (one == other)


@given(st.ip_addresses(), st.ip_addresses())
def test_an_instance_ip_is_named_by_its_address_alone(one, other):
    names = [naming.instance_ip_name("net", str(address)) for address in (one, other)]
    assert all(naming.is_dns_subdomain(name) for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_mac_addresses_are_local_unicast_stable_and_differ():
    macs = {naming.mac_of(UID, index) for index in range(100)}
    assert len(macs) == 100
    assert all(mac.startswith("02:") and len(mac) == 17 for mac in macs)
    assert naming.mac_of(UID, 3) == naming.mac_of(UID, 3)
    assert naming.mac_of("no-uuid", 0) != naming.mac_of("no-uuid", 1)


def test_a_long_pod_name_is_cut_to_a_valid_one():
    name = naming.interface_object_name("a" * 199 + "." + "b" * 53, UID, 2)
    assert name == "a" * 199 + "-6f9619ff-2"


@pytest.mark.parametrize(
    ("cidr", "gateway", "dns", "usable"),
    [
        ("10.1.1.0/24", "10.1.1.254", "10.1.1.253", 252),
        ("10.32.0.0/12", "10.47.255.254", "10.47.255.253", (1 << 20) - 4),
        ("10.1.1.0/29", "10.1.1.6", "10.1.1.5", 4),
        ("10.1.1.0/30", "10.1.1.2", "10.1.1.1", 0),
        ("10.1.1.0/31", None, None, 0),
        ("10.1.1.0/32", None, None, 0),
    ],
)
def test_a_subnet_keeps_its_ends(cidr, gateway, dns, usable):
    subnet = Subnet.of(cidr)
    assert (str(subnet.gateway) if subnet.gateway else None) == gateway
    assert (str(subnet.dns) if subnet.dns else None) == dns
    assert subnet.usable == usable


def test_a_chosen_gateway_stays_and_dns_avoids_it():
    subnet = Subnet.from_spec({"cidr": "10.1.1.0/24", "gateway": "10.1.1.253"}).completed()
    assert (str(subnet.gateway), str(subnet.dns)) == ("10.1.1.253", "10.1.1.252")
    with pytest.raises(InputError, match="outside of its subnet"):
        Subnet.from_spec({"cidr": "10.1.1.0/24", "dns": "10.2.1.1"})


def test_pools_go_from_the_top_down_and_reuse_what_was_freed():
    pool = Pool(Subnet.of("10.1.1.0/29"))
    taken = [pool.choose() for _ in range(5)]
    assert [str(address) for address in taken[:4]] == ["10.1.1.4", "10.1.1.3", "10.1.1.2", "10.1.1.1"]
    assert taken[4] is None
    pool.give_back(V4("10.1.1.2"))
    pool.give_back(V4("10.1.1.4"))
    assert [str(pool.choose()), str(pool.choose()), pool.choose()] == ["10.1.1.4", "10.1.1.2", None]


def test_pools_take_only_what_is_free_and_theirs():
    pool = Pool(Subnet.of("10.1.1.0/24"), [V4("10.1.1.252")])
    assert str(pool.choose()) == "10.1.1.251"
    for address in (
        "10.1.1.252",
        "10.1.1.251",
        "10.1.1.254",
        "10.1.1.253",
        "10.1.1.0",
        "10.1.1.255",
        "10.1.2.1",
    ):
        assert pool.take(V4(address)) is False
    assert pool.take(V4("10.1.1.7")) is True


def test_a_large_pool_is_cheap():
    started = time.perf_counter()
    pool = Pool(Subnet.of("10.32.0.0/12"))
    chosen = [pool.choose() for _ in range(20_000)]
    for address in chosen[:10_000]:
        pool.give_back(address)
    again = [pool.choose() for _ in range(10_000)]
    assert again == chosen[:10_000]
    assert time.perf_counter() - started < 2.0


@given(st.lists(st.tuples(st.sampled_from(["choose", "free", "take"]), st.integers(0, 15)), max_size=60))
def test_a_pool_behaves_like_a_set(moves):
    pool = Pool(Subnet.of("10.1.1.0/28"))
    free = {V4(f"10.1.1.{number}") for number in range(1, 13)}
    for what, number in moves:
        address = V4(f"10.1.1.{number}")
        if what == "choose":
            expected = max(free, default=None)
            assert pool.choose() == expected
            free.discard(expected)
        elif what == "take":
            assert pool.take(address) is (address in free)
            free.discard(address)
        elif 1 <= number <= 12:
            pool.give_back(address)
            free.add(address)
        assert pool.free == len(free)


INTERFACE = Interface(
    pod=POD,
    node="node1",
    index=1,
    of=2,
    network="net",
    vni=7,
    forwarding_mode="l2_l3",
    nad="ns1/left",
    interface="eth1",
    mac="02:00:00:00:00:01",
    addresses=(Address("10.1.1.252", 24, "10.1.1.254", "10.1.1.253"),),
)


@pytest.mark.parametrize("routes", [None, (), ("10.1.1.254",)])
def test_interfaces_survive_the_round_trip(routes):
    interface = Interface.from_object(INTERFACE.to_object() | {}) if routes is None else INTERFACE
    if routes is not None:
        spec = INTERFACE.to_object()
        spec["spec"]["defaultRoute"] = list(routes)
        interface = Interface.from_object(spec)
    assert interface.default_route == routes
    assert Interface.from_object(interface.to_object()) == interface
    assert interface.name == "web-6f9619ff-1"
    assert interface.status_name == "ns1/left"


def test_other_objects_survive_the_round_trip():
    seen = AttachedInterface(
        0, "eth0", "02:00:00:00:00:01", ("10.47.255.252",), 1450, "cluster-wide-default", True
    )
    machine = VirtualMachine(
        POD, "node1", ("web-6f9619ff-0",), Condition("Resolved", "True", "Attached", "ok", "t"), (seen,)
    )
    assert VirtualMachine.from_object(machine.to_object()) == machine
    owner = InstanceIP("net", "10.1.1.252", POD, "web-6f9619ff-1")
    assert owner.name == "net.10.1.1.252"
    assert InstanceIP.from_object(owner.to_object()) == owner
    network = VirtualNetwork(
        ("d", "p", "n"), (Subnet.of("10.1.1.0/24"),), vni=5, nad="ns1/left", origin="nad"
    )
    assert VirtualNetwork.from_object(network.to_object()) == VirtualNetwork.from_object(
        VirtualNetwork.from_object(network.to_object()).to_object()
    )
    with pytest.raises(InputError, match="three non-empty strings"):
        VirtualNetwork.from_object({"metadata": {"name": "x"}, "spec": {"fqName": ["a"]}})


def test_status_has_one_entry_per_attachment_in_order():
    seen = AttachedInterface(1, "eth1", "02:00:00:00:00:01", ("10.1.1.252",), 1450, "ns1/left", False)
    first = status.NetworkStatus(
        "cluster-wide-default", "eth0", ("10.47.255.252",), "02:00:00:00:00:00", default=True
    )
    text = status.encode(
        [first, status.NetworkStatus.of(seen, gateway=["10.1.1.254"]), status.NetworkStatus.of(seen)]
    )
    back = status.decode(text)
    assert [entry.name for entry in back] == ["cluster-wide-default", "ns1/left", "ns1/left"]
    assert back[0] == first
    assert back[1].gateway == ("10.1.1.254",)
    assert back[1].to_object()["ips"] == ["10.1.1.252"]


def test_status_of_contrail_is_understood_and_damage_is_told():
    (entry,) = status.decode('[{"ips": "20.20.20.252", "mac": "02:2c:59:66:f4:12", "name": "left"}]')
    assert (entry.ips, entry.default, entry.interface) == (("20.20.20.252",), False, "")
    for text in ("", "{", "{}", "[1]", '[{"mac": "x"}]', "[" * 100_000):
        with pytest.raises(InputError, match="can't be read"):
            status.decode(text)


def test_conditions_keep_their_time_while_the_status_stays():
    old = [Condition("Ready", "True", "A", "", "then").to_object(), {"type": "Other", "status": "True"}]
    kept = conditions.merged(old, Condition("Ready", "True", "B", "", "now"))
    assert [c["type"] for c in kept] == ["Other", "Ready"]
    assert kept[1]["lastTransitionTime"] == "then"
    assert (
        conditions.merged(old, Condition("Ready", "False", "B", "", "now"))[1]["lastTransitionTime"] == "now"
    )


def test_crds_name_what_the_others_expect():
    made = {crd["metadata"]["name"]: crd["spec"] for crd in crds.crd_manifests()}
    assert len(made) == 6
    policies = made["multi-networkpolicies.k8s.cni.cncf.io"]
    assert [(one["name"], one["storage"]) for one in policies["versions"]] == [
        ("v1beta2", True),
        ("v1beta1", False),
    ]
    nad = made["network-attachment-definitions.k8s.cni.cncf.io"]
    assert (nad["scope"], nad["names"]["shortNames"]) == ("Namespaced", ["net-attach-def"])
    schema = nad["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["spec"]["properties"]["config"] == {"type": "string"}
    assert "required" not in schema
    for name, short in (("virtualnetworks", "vn"), ("virtualmachines", "vm"), ("instanceips", "iip")):
        spec = made[f"{name}.multinet.opencontrail.org"]
        assert spec["names"]["shortNames"] == [short]
        assert spec["versions"][0]["subresources"] == {"status": {}}
