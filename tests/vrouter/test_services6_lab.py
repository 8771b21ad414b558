"""Services of IPv6 on two nodes: by cluster address and node port, with affinity, for UDP, refused."""

import contextlib
import socket

import pytest

from multinet.vrouter import nft
from multinet.waits import WaitExpiredError
from tests.vrouter import conftest
from tests.vrouter.conftest import ip
from tests.vrouter.servicenodes import Services, ask, serving, talking

pytestmark = pytest.mark.lab

WEB4, WEB, UDP, NONE = "10.96.1.1", "fd00:10:96::1:1", "fd00:10:96::1:2", "fd00:10:96::1:3"
SIX = {"family": socket.AF_INET6}


@pytest.fixture
def both(monkeypatch):
    """Must come before the lab, whose networks are told when it is made."""
    for name in conftest.ROUTED:
        monkeypatch.setitem(conftest.CIDRS, name, ("10.32.0.0/12", "fd00:10:32::/64"))


@pytest.fixture
async def cluster(both, lab):
    """Two nodes, pods a and b behind services, c a client, and a machine outside; all of both families."""
    if nft.lack():
        pytest.skip(f"no nft here: {nft.lack()}")
    lab.dual = True
    nodes = lab.node("n1"), lab.node("n2")
    lab.outside()
    ip("route", "add", "fd00:10:96::/108", "via", nodes[0].ip6, netns="out")
    services = Services(lab)
    for node in nodes:
        await node.sync()
        services.start(node)
    services.four, services.six = {}, {}
    for name, node in (("a", nodes[0]), ("b", nodes[1]), ("c", nodes[0])):
        decided = await lab.run(node, name, ["default"])
        services.four[name], services.six[name] = (each.address for each in decided[1][0].addresses)
    services.pods = [("a", services.six["a"], "n1"), ("b", services.six["b"], "n2")]
    with contextlib.closing(services):
        yield services


async def answers(name, address, port, times=24, **how):
    """All that answer; that one of two is not drawn in so many times happens to nobody."""
    return {await ask(name, address, port, **how) for _ in range(times)}


async def test_cluster_address_and_node_port_from_pods_nodes_and_outside(cluster):
    n1, n2 = (cluster.lab.nodes[name].ip6 for name in ("n1", "n2"))
    client = cluster.six["c"]
    await cluster.service("web", f"{WEB4},{WEB}", cluster.pods, node_port=30080)
    async with serving("a", 8080, **SIX), serving("b", 8080, **SIX):
        # A pod is seen with its own address.
        assert await answers("c", WEB, 80) == {("a", client), ("b", client)}
        assert {said for said, _ in await answers("n1", WEB, 80)} == {"a", "b"}
        # Who is no pod is seen as the node it came by, or the answer would take another way.
        assert await answers("out", WEB, 80) == {("a", n1), ("b", n1)}
        for node in (n1, n2):
            assert {said for said, _ in await answers("out", node, 30080)} == {"a", "b"}
        # Hairpin: a pod meets itself and sees the node.
        assert ("a", n1) in await answers("a", WEB, 80)
        # By the port of another node: whoever answers, the answer comes back by that node.
        assert await answers("a", n2, 30080) == {("a", n2), ("b", n2)}
        # Only the family that has endpoints is there.
        with pytest.raises(ConnectionRefusedError):
            await ask("c", WEB4, 80)
    await cluster.endpoints("web", [(pod, cluster.four[pod], node) for pod, _, node in cluster.pods])
    async with serving("a", 8080), serving("b", 8080):
        assert {said for said, _ in await answers("c", WEB4, 80)} == {"a", "b"}
        assert {said for said, _ in await answers("out", "100.64.0.12", 30080)} == {"a", "b"}


async def test_without_endpoints_the_answer_is_a_refusal_at_once(cluster):
    await cluster.service("none", NONE, [])
    for client in ("c", "n1", "out") * 4:
        for address in (NONE, "fd00:10:96::abc"):
            with pytest.raises(ConnectionRefusedError):
                await ask(client, address, 80)


async def test_affinity_and_what_stays_after_a_restart(cluster):
    await cluster.service("web", WEB, cluster.pods, affinity_s=60)
    async with serving("a", 8080, **SIX), serving("b", 8080, **SIX):
        first = await ask("c", WEB, 80)
        assert await answers("c", WEB, 80) == {first}
        again = cluster.start(cluster.lab.nodes["n1"])
        await again.apply()
        assert await answers("c", WEB, 80) == {first}


async def test_a_udp_client_that_goes_on_finds_another_endpoint(cluster):
    first = await cluster.service("dns", UDP, cluster.pods[:1], port=53, target=5353, protocol="UDP")
    udp = {"kind": socket.SOCK_DGRAM, **SIX}
    async with serving("a", 5353, **udp), serving("b", 5353, **udp), talking("c", UDP, 53) as ask_again:
        assert (await ask_again())[0] == "a"
        await cluster.endpoints("dns", cluster.pods[1:], target=5353, protocol="UDP", old=first)
        assert (await ask_again())[0] == "b"


async def test_local_policy_keeps_the_clients_address(cluster):
    await cluster.service("web", WEB, cluster.pods[:1], node_port=30080, externalTrafficPolicy="Local")
    # The client's machine is no neighbour of pods, whose node knows the way.
    n1, n2 = (cluster.lab.nodes[name].ip6 for name in ("n1", "n2"))
    async with serving("a", 8080, **SIX):
        assert await ask("out", n1, 30080) == ("a", cluster.lab.address6(99))
        with pytest.raises(WaitExpiredError):
            await ask("out", n2, 30080, limit_s=0.5)


async def test_an_isolated_namespaces_service_is_for_its_pods_and_nodes(cluster):
    lab = cluster.lab
    nodes = lab.nodes["n1"], lab.nodes["n2"]
    inside = (await lab.run(nodes[0], "i", ["iso"]))[1][0].addresses[1].address
    await lab.run(nodes[1], "j", ["iso"])
    await cluster.service("own", NONE, [("i", inside, "n1")], namespace="iso", node_port=30081)
    await cluster.service("web", WEB, cluster.pods[:1])
    async with serving("i", 8080, **SIX), serving("a", 8080, **SIX):
        assert (await ask("j", NONE, 80))[0] == "i"
        assert (await ask("out", nodes[1].ip6, 30081))[0] == "i"
        assert (await ask("n2", NONE, 80))[0] == "i"
        for client, address in (("c", NONE), ("j", WEB)):
            with pytest.raises((WaitExpiredError, OSError)):
                await ask(client, address, 80, limit_s=0.5)
