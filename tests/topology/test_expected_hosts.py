"""What plain hosts must have, from what a user asked the config API for."""

from topology.expectation import ExpectedPod
from topology.expected_hosts import expect_hosts
from topology.graph import Reachability

HOSTS = {"vm1": "/proc/7/ns/net", "vm2": "/proc/8/ns/net"}


def network(name, vni):
    return {
        "metadata": {"name": name},
        "spec": {
            "fqName": ["default-domain", "default-project", name],
            "vni": vni,
            "forwardingMode": "l2_l3",
            "subnets": [{"cidr": f"10.1.{vni}.0/24"}],
        },
    }


def vmi(index, net, *, netns="/proc/7/ns/net", node="node1", pod=None, addresses=("10.1.5.9",)):
    return {
        "metadata": {"name": f"p{index}", "annotations": {"multinet.opencontrail.org/netns": netns}},
        "spec": {
            "pod": pod or {},
            "node": node,
            "index": index,
            "network": net,
            "interface": f"net{index}",
            "mac": f"02:00:00:00:00:{index:02x}",
            "addresses": [{"address": each, "prefixLength": 24} for each in addresses],
        },
    }


NETWORKS = [network("red", 5), network("green", 6)]


def test_a_host_has_the_interfaces_that_name_its_namespace():
    of_a_pod = vmi(3, "red", pod={"namespace": "default", "name": "a", "uid": "u"})
    asked = [vmi(2, "green"), vmi(1, "red"), of_a_pod, vmi(4, "red", netns="/proc/9/ns/net")]
    (found,) = expect_hosts(HOSTS, asked, NETWORKS)
    assert (found.pod, found.node) == ("host/vm1", "node1")
    assert [(item.interface, item.network, item.vni) for item in found.interfaces] == [
        ("net1", "red", 5),
        ("net2", "green", 6),
    ]
    assert found.interfaces[0].mac == "02:00:00:00:00:01"


def test_what_has_no_address_or_network_yet_and_what_is_on_two_nodes_is_left_out():
    assert expect_hosts(HOSTS, [vmi(1, "red", addresses=()), vmi(2, "blue")], NETWORKS) == ()
    assert expect_hosts(HOSTS, [vmi(1, "red"), vmi(2, "green", node="node2")], NETWORKS) == ()


def test_hosts_reach_whom_their_networks_reach():
    hosts = expect_hosts(
        HOSTS, [vmi(1, "red"), vmi(1, "red", netns="/proc/8/ns/net", node="node2")], NETWORKS
    )
    (green,) = expect_hosts({"vm3": "/x"}, [vmi(1, "green", netns="/x")], NETWORKS)
    pod = ExpectedPod("default/a", "u", "node1", hosts[0].interfaces)
    reachability = Reachability((*hosts, green, pod))

    def reaches(one, other):
        return reachability.judge((one, "net1"), (other, "net1"), "icmp").must_reach

    assert reaches("host/vm1", "host/vm2") is True
    assert reaches("host/vm2", "default/a") is True
    assert reaches("default/a", "host/vm3") is False
