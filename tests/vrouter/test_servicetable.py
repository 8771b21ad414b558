"""The rules of services as text: what leads where, and what changes when something changes."""

import dataclasses

from multinet.model.services import Endpoint, Service, ServicePort
from multinet.vrouter import servicetable
from multinet.vrouter.servicetable import Rules

WEB = Service(
    namespace="d",
    name="web",
    addresses=("10.96.1.1",),
    headless=False,
    selector=(("app", "web"),),
    ports=(ServicePort("", "TCP", 80, 8080, 30080),),
    external=True,
)
HERE, THERE = Endpoint("10.32.0.1", 8080, "n1", "d/a"), Endpoint("10.32.0.2", 8080, "n2", "d/b")


def rules(service=WEB, *endpoints):
    return servicetable.rules_of(service, {("", "TCP"): endpoints}, "n1")


def bodies(found, container):
    """The rules of the chains that a container's elements lead to, by key."""
    return {
        key: found.chains.get(value.removeprefix("goto "), (value,))
        for (held, key), value in found.elements.items()
        if held == container
    }


def test_cluster_address_and_node_port_lead_to_one_chain_that_picks_an_endpoint():
    found = rules(WEB, THERE, HERE)
    (picked,) = bodies(found, "cluster_ips")["tcp . 10.96.1.1 . 80"]
    assert "dnat ip to numgen random mod 2 map { 0 : 10.32.0.1 . 8080, 1 : 10.32.0.2 . 8080 }" in picked
    assert bodies(found, "node_ports")["tcp . 30080"] == (picked,)
    # A pod may meet itself by way of another node's port, too.
    assert set(bodies(found, "hairpin")) == {"10.32.0.1 . 10.32.0.1", "10.32.0.2 . 10.32.0.2"}


def test_each_family_has_its_own_addresses_and_endpoints():
    service = dataclasses.replace(WEB, addresses=("10.96.1.1", "fd00:10:96::1"), affinity_s=60)
    six = Endpoint("fd00:10:32::1", 8080, "n1", "d/a")
    found = rules(service, HERE, six)
    for container, key, words in (
        ("cluster_ips", "tcp . 10.96.1.1 . 80", "ip saddr @a-"),
        ("node_ports", "tcp . 30080", "ip saddr @a-"),
        ("cluster_ips6", "tcp . fd00:10:96::1 . 80", "ip6 saddr @a-"),
        ("node_ports6", "tcp . 30080", "ip6 saddr @a-"),
    ):
        assert bodies(found, container)[key][0].startswith(words)
    targets = [body[1] for name, body in found.chains.items() if name.startswith("e-")]
    assert sorted(targets) == [
        "meta l4proto tcp dnat ip to 10.32.0.1:8080",
        "meta l4proto tcp dnat ip6 to [fd00:10:32::1]:8080",
    ]
    assert sorted(each.split(";")[0] for each in found.sets.values()) == ["type ipv4_addr", "type ipv6_addr"]
    # Of a family without endpoints there is nothing.
    assert not any(name.endswith("6") for name, _ in rules(service, HERE).elements)


def test_without_endpoints_or_address_there_is_nothing():
    assert rules(WEB) == Rules()
    assert rules(dataclasses.replace(WEB, addresses=(), headless=True), HERE) == Rules()


def test_local_policies_use_this_nodes_endpoints_or_drop():
    service = dataclasses.replace(WEB, local_external=True, local_internal=True)
    found = rules(service, THERE, HERE)
    assert bodies(found, "node_ports")["tcp . 30080"] == ("meta l4proto tcp dnat ip to 10.32.0.1:8080",)
    assert set(bodies(found, "local_ports")) == {"tcp . 30080"}
    assert len(found.chains) == 1
    assert bodies(rules(service, THERE), "cluster_ips") == {"tcp . 10.96.1.1 . 80": ("drop",)}


def test_affinity_has_a_set_of_clients_per_endpoint():
    found = rules(dataclasses.replace(WEB, affinity_s=60), THERE, HERE)
    assert [each.split(";")[2].strip() for each in found.sets.values()] == ["timeout 60s"] * 2
    body = bodies(found, "cluster_ips")["tcp . 10.96.1.1 . 80"]
    assert len(body) == 3
    assert body[0].startswith("ip saddr @a-")
    assert sum(name.startswith("e-") for name in found.chains) == 2


def test_only_what_changed_is_told_to_the_kernel():
    other = dataclasses.replace(WEB, name="db", addresses=("10.96.1.2",), external=False)
    both, fewer = rules(WEB, HERE), rules(WEB, HERE, THERE)
    for each in (both, fewer):
        each.update(rules(other, HERE))
    assert servicetable.script(both, both) == ""
    script = servicetable.script(both, fewer)
    assert "10.96.1.1" in script
    assert "10.96.1.2" not in script
    assert script.index("add chain") < script.index("add element") < script.index("delete chain")


def test_much_is_done_in_parts_that_each_leave_the_table_whole():
    many = Rules()
    for number in range(300):
        service = dataclasses.replace(WEB, name=f"s{number}", addresses=(f"10.97.0.{number}",))
        many.update(rules(service, HERE, THERE))
    parts = list(servicetable.transactions(Rules(), many))
    assert len(parts) > 3
    assert max(map(len, parts)) < 16_000
    assert "".join(parts) == servicetable.script(Rules(), many)
    gone = list(servicetable.transactions(many, Rules()))
    assert "delete element" in gone[0]
    assert "delete chain" in gone[-1]


def test_what_is_read_back_is_known_by_its_names():
    found = rules(WEB, HERE)
    name = next(iter(found.chains))
    listing = {
        "nftables": [
            {"chain": {"name": "base-x"}},
            {"chain": {"name": name}},
            {
                "map": {
                    "name": "cluster_ips",
                    "elem": [[{"concat": ["tcp", "10.96.1.1", 80]}, {"goto": {"target": name}}]],
                }
            },
            {
                "map": {
                    "name": "node_ports",
                    "elem": [[{"concat": ["tcp", 30080]}, {"goto": {"target": name}}]],
                }
            },
            {"set": {"name": "hairpin", "elem": [{"concat": ["10.32.0.1", "10.32.0.1"]}]}},
        ]
    }
    assert servicetable.script(servicetable.read(listing, "base-x"), found) == ""
    assert servicetable.read(listing, "base-y") is None
