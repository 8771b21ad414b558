"""The kernel oracle against a second opinion (pyroute2), and the veth peers it finds."""

from __future__ import annotations

import warnings

import pytest

from multinet.errors import LabError
from traffic import senders
from traffic.endpoint import inspect

pytestmark = pytest.mark.lab


@pytest.fixture
def wired(net):
    pod = net.pod("a")
    net.bridge("red")
    port = net.wire(pod, "eth1", "10.1.0.1/24", "red")
    net.ip("-n", pod, "link", "set", "eth1", "mtu", "1450", "address", "02:00:00:00:00:07")
    net.ip("-n", pod, "address", "add", "10.1.7.1/16", "dev", "eth1")
    net.ip("-n", pod, "route", "add", "default", "via", "10.1.0.254")
    net.ip("-n", pod, "route", "add", "10.99.0.0/16", "via", "10.1.0.253")
    net.ip("-n", pod, "link", "add", "name", "quiet0", "type", "bridge")
    return pod, port


def test_facts_agree_with_pyroute2(net, wired):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyroute2 import NetNS

    pod, _port = wired
    found = inspect("default/a", net.path(pod))
    with NetNS(pod) as second:
        for endpoint in found:
            link = second.get_links(endpoint.ifindex)[0]
            assert endpoint.interface == link.get_attr("IFLA_IFNAME")
            assert endpoint.mac == link.get_attr("IFLA_ADDRESS")
            assert endpoint.mtu == link.get_attr("IFLA_MTU")
            assert endpoint.up == bool(link["flags"] & 1)
            assert endpoint.kind == link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND")
            assert endpoint.peer_ifindex == (link.get_attr("IFLA_LINK") or 0)
            assert endpoint.peer_nsid == link.get_attr("IFLA_LINK_NETNSID")
            addresses = second.get_addr(index=endpoint.ifindex)
            assert list(endpoint.addresses) == [
                f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}" for one in addresses
            ]


def test_facts_of_a_pod(net, wired):
    pod, _port = wired
    quiet, eth1 = sorted(inspect("default/a", net.path(pod)), key=lambda one: one.interface, reverse=True)
    assert (eth1.interface, eth1.mac, eth1.mtu) == ("eth1", "02:00:00:00:00:07", 1450)
    assert eth1.addresses == ("10.1.0.1/24", "10.1.7.1/16")
    assert eth1.gateways == ("10.1.0.254",)
    assert ("10.99.0.0/16", "10.1.0.253") in eth1.routes
    assert (eth1.up, eth1.running) == (True, True)
    assert (quiet.interface, quiet.up, quiet.addresses, quiet.peer_ifindex) == ("quiet0", False, (), 0)


def test_the_peer_is_found_by_namespace_id_and_not_by_index(net, wired):
    pod, port = wired
    other = net.pod("other")
    endpoints = [one for one in inspect("default/a", net.path(pod)) if one.interface == "eth1"]
    # A decoy in another namespace, with the same ifindex as the real peer.
    index = str(endpoints[0].peer_ifindex)
    net.ip("-n", other, "link", "add", "name", "decoy", "index", index, "type", "bridge")
    candidates = [net.path(other), *net.control]
    peer = senders.find_peers(endpoints, candidates)[endpoints[0].place]
    assert (peer.netns, peer.interface) == (net.path(net.switch), port)
    assert senders.find_peers(endpoints, [net.path(other)]) == {}


def test_a_namespace_that_is_gone_is_an_error_with_its_path():
    with pytest.raises(LabError) as caught:
        inspect("default/gone", "/run/netns/never-was")
    assert caught.value.where == "default/gone"
    assert "/run/netns/never-was" in caught.value.why
