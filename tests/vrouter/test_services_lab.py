"""Services on two nodes: who reaches whom at which address, and who does not."""

import contextlib
import json
import socket

import pytest

from multinet.vrouter import nft, servicetable
from multinet.waits import WaitExpiredError, wait_for
from tests.vrouter.conftest import ip
from tests.vrouter.servicenodes import Services, ask, serving, talking

pytestmark = pytest.mark.lab

WEB, UDP, NONE, ISOLATED = "10.96.1.1", "10.96.1.2", "10.96.1.3", "10.96.1.4"


def address_of(decided):
    return decided[1][0].addresses[0].address


@pytest.fixture
async def cluster(lab):
    """Two nodes, pods a and b behind services, c a client, r in a NAD network too, and a machine outside."""
    if nft.lack():
        pytest.skip(f"no nft here: {nft.lack()}")
    nodes = lab.node("n1"), lab.node("n2")
    lab.outside()
    ip("route", "add", "10.96.0.0/12", "via", "100.64.0.11", netns="out")
    services = Services(lab)
    for node in nodes:
        await node.sync()
        services.start(node)
    for name, node, nets in (
        ("a", nodes[0], ["default"]),
        ("b", nodes[1], ["default"]),
        ("c", nodes[0], ["default"]),
        ("r", nodes[0], ["default", "red"]),
    ):
        setattr(services, name, address_of(await lab.run(node, name, nets)))
    with contextlib.closing(services):
        yield services


async def answers(name, address, port, times=24, **how):
    """All that answer; that one of two is not drawn in so many times happens to nobody."""
    return {await ask(name, address, port, **how) for _ in range(times)}


async def test_cluster_address_from_pods_nodes_and_outside(cluster):
    await cluster.service("web", WEB, [("a", cluster.a, "n1"), ("b", cluster.b, "n2")], node_port=30080)
    async with serving("a", 8080), serving("b", 8080):
        # A pod is seen with its own address.
        assert await answers("c", WEB, 80) == {("a", cluster.c), ("b", cluster.c)}
        assert {said for said, _ in await answers("n1", WEB, 80)} == {"a", "b"}
        # Who is no pod is seen as the node it came by, or the answer would take another way.
        assert await answers("out", WEB, 80) == {("a", "100.64.0.11"), ("b", "100.64.0.11")}
        for node in ("100.64.0.11", "100.64.0.12"):
            assert {said for said, _ in await answers("out", node, 30080)} == {"a", "b"}
        # Hairpin: a pod meets itself and sees the node.
        assert ("a", "100.64.0.11") in await answers("a", WEB, 80)
        # By the port of another node: whoever answers, the answer comes back by that node.
        assert await answers("a", "100.64.0.12", 30080) == {("a", "100.64.0.12"), ("b", "100.64.0.12")}
        await cluster.endpoints("web", [("b", cluster.b, "n2")])
        assert await answers("c", WEB, 80) == {("b", cluster.c)}


async def test_without_endpoints_the_answer_is_a_refusal_at_once(cluster):
    await cluster.service("none", NONE, [])
    for client in ("c", "n1", "out") * 8:
        with pytest.raises(ConnectionRefusedError):
            await ask(client, NONE, 80)
        # Nobody's address, too.
        with pytest.raises(ConnectionRefusedError):
            await ask(client, "10.96.200.200", 80)


async def test_udp_affinity_and_what_stays_after_a_restart(cluster):
    pods = [("a", cluster.a, "n1"), ("b", cluster.b, "n2")]
    await cluster.service("dns", UDP, pods, port=53, target=5353, protocol="UDP")
    async with serving("a", 5353, kind=socket.SOCK_DGRAM), serving("b", 5353, kind=socket.SOCK_DGRAM):
        udp = {"kind": socket.SOCK_DGRAM}
        assert await answers("c", UDP, 53, **udp) == {("a", cluster.c), ("b", cluster.c)}
        with pytest.raises(ConnectionRefusedError):
            await ask("c", NONE, 53, **udp)
    await cluster.service("web", WEB, pods, affinity_s=60)
    async with serving("a", 8080), serving("b", 8080):
        first = await ask("c", WEB, 80)
        assert await answers("c", WEB, 80) == {first}
        before = nft.listing("table", "inet", servicetable.TABLE, inside=cluster.descriptors[0])
        again = cluster.start(cluster.lab.nodes["n1"])
        await again.apply()
        after = nft.listing("table", "inet", servicetable.TABLE, inside=cluster.descriptors[0])
        assert _without_expiry(before) == _without_expiry(after)
        assert await answers("c", WEB, 80) == {first}


def _without_expiry(text):
    def stripped(value):
        if isinstance(value, dict):
            return {key: stripped(held) for key, held in value.items() if key != "expires"}
        return [stripped(held) for held in value] if isinstance(value, list) else value

    return stripped(json.loads(text))


async def test_a_udp_client_that_goes_on_finds_another_endpoint(cluster):
    pods = [("a", cluster.a, "n1"), ("b", cluster.b, "n2")]
    first = await cluster.service("dns", UDP, pods[:1], port=53, target=5353, protocol="UDP")
    udp = {"kind": socket.SOCK_DGRAM}
    async with serving("a", 5353, **udp), serving("b", 5353, **udp), talking("c", UDP, 53) as ask_again:
        assert (await ask_again())[0] == "a"
        # It stays while its endpoint does.
        both = await cluster.endpoints("dns", pods, target=5353, protocol="UDP", old=first)
        assert (await ask_again())[0] == "a"
        await cluster.endpoints("dns", pods[1:], target=5353, protocol="UDP", old=both)
        assert (await ask_again())[0] == "b"


async def test_local_policy_keeps_the_clients_address(cluster):
    pods = [("a", cluster.a, "n1")]
    await cluster.service("web", WEB, pods, node_port=30080, externalTrafficPolicy="Local")
    async with serving("a", 8080):
        assert await ask("out", "100.64.0.11", 30080) == ("a", "100.64.0.99")
        with pytest.raises(WaitExpiredError):
            await ask("out", "100.64.0.12", 30080, limit_s=0.5)


async def test_nothing_of_a_service_is_reachable_from_a_nad_network(cluster):
    await cluster.service("web", WEB, [("b", cluster.b, "n2")], node_port=30080)
    async with serving("b", 8080):
        assert await ask("r", WEB, 80) == ("b", cluster.r)
        # By the NAD interface instead: to the gateway there, and straight into the bridge.
        for way in (["via", "10.1.1.254"], []):
            ip("route", "replace", f"{WEB}/32", *way, "dev", "eth1", netns="r")
            ip("route", "replace", "100.64.0.11/32", *way, "dev", "eth1", netns="r")
            for target in ((WEB, 80), ("100.64.0.11", 30080)):
                with pytest.raises((WaitExpiredError, OSError)):
                    await ask("r", *target, limit_s=0.5)
        ip("route", "delete", f"{WEB}/32", netns="r")
        assert await ask("r", WEB, 80) == ("b", cluster.r)


async def test_an_isolated_namespaces_service_is_for_its_pods_and_nodes(cluster):
    lab = cluster.lab
    nodes = lab.nodes["n1"], lab.nodes["n2"]
    inside = address_of(await lab.run(nodes[0], "i", ["iso"]))
    await lab.run(nodes[1], "j", ["iso"])
    await cluster.service("own", ISOLATED, [("i", inside, "n1")], namespace="iso", node_port=30081)
    await cluster.service("web", WEB, [("a", cluster.a, "n1")])
    async with serving("i", 8080), serving("a", 8080):
        assert (await ask("j", ISOLATED, 80))[0] == "i"
        assert (await ask("out", "100.64.0.12", 30081))[0] == "i"
        assert (await ask("n2", ISOLATED, 80))[0] == "i"
        for client, address in (("c", ISOLATED), ("j", WEB)):
            with pytest.raises((WaitExpiredError, OSError)):
                await ask(client, address, 80, limit_s=0.5)


async def test_a_pod_whose_first_interface_is_bridged_is_behind_no_service(cluster):
    # Its address is also somebody's in the default network, who must not get its traffic.
    await cluster.lab.run(cluster.lab.nodes["n1"], "o", ["red"])
    await cluster.service("web", WEB, [("o", cluster.a, "n1")])
    async with serving("a", 8080):
        with pytest.raises(ConnectionRefusedError):
            await ask("c", WEB, 80)


async def test_an_endpoint_that_is_no_pod_sees_the_node(cluster):
    await cluster.service("api", WEB, [])
    manual = await cluster.endpoints("api", [], target=6443)
    await cluster.tell("slice_changed", {**manual, "endpoints": [{"addresses": ["100.64.0.99"]}]}, manual)
    async with serving("out", 6443):
        assert await wait_for("the API", ask("c", WEB, 80), 30) == ("out", "100.64.0.11")
