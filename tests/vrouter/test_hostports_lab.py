"""Host ports: who reaches a pod by a port of its node, and what is left when the pod is gone."""

import socket

import pytest

from multinet.model.selected import PortMapping
from multinet.vrouter import nft
from tests.vrouter.conftest import ip
from tests.vrouter.servicenodes import ask, serving

pytestmark = pytest.mark.lab

HOST = "100.64.0.11"


@pytest.fixture
async def nodes(lab):
    """Two nodes, and a machine outside that knows no pod."""
    if nft.lack():
        pytest.skip(f"no nft here: {nft.lack()}")
    made = lab.node("n1"), lab.node("n2")
    for node in made:
        await node.sync()
    lab.namespace("out")
    ip("link", "add", "name", "f-out", "type", "veth", "peer", "name", "eth0", "netns", "out")
    ip("link", "set", "f-out", "master", "fabric", "up")
    ip("link", "set", "eth0", "up", netns="out")
    ip("addr", "add", "100.64.0.99/24", "dev", "eth0", netns="out")
    return made


async def attach(lab, node, name, nets, asked=(), **how):
    """ADD with ``runtimeConfig.portMappings``; returns (status, answer, the pod's objects)."""
    decided = lab.cluster.pod(node.name, name, nets, **how)
    lab.namespace(name)
    config = {"runtimeConfig": {"portMappings": list(asked)}} if asked else {}
    code, answer = await node.call("ADD", f"c-{name}", name, name, uid=decided[0].pod.uid, config=config)
    for each in lab.nodes.values():
        for vni in {item.vni for item in decided[1]}:
            await each.agent.reconcile(vni)
    return code, answer, decided


def mapping(host, container, protocol="tcp", **more):
    return {"hostPort": host, "containerPort": container, "protocol": protocol, **more}


def address_of(decided, index=0):
    return decided[1][index].addresses[0].address


async def test_NPWG_7_5_b_the_runtimes_mappings_lead_to_the_default_interface(lab, nodes):
    asked = [mapping(8080, 80), mapping(8053, 53, "udp")]
    code, answer, decided = await attach(lab, nodes[0], "a", ["default", "red"], asked)
    assert code == 0, answer
    _, _, client = await attach(lab, nodes[1], "c", ["default"])
    async with serving("a", 80), serving("a", 53, kind=socket.SOCK_DGRAM):
        # The client's address stays.
        assert await ask("out", HOST, 8080) == ("a", "100.64.0.99")
        assert await ask("out", HOST, 8053, kind=socket.SOCK_DGRAM) == ("a", "100.64.0.99")
        assert await ask("n1", HOST, 8080) == ("a", HOST)
        assert await ask("c", HOST, 8080) == ("a", address_of(client))
        assert await ask("a", HOST, 8080) == ("a", HOST)
        with pytest.raises(ConnectionRefusedError):
            await ask("out", "100.64.0.12", 8080)
        before = nft.listing("table", "ip", "multinet-hostports", inside=nodes[0].inside.fileno())
        nodes[0].stop()
        nodes[0].start()
        await nodes[0].sync()
        after = nft.listing("table", "ip", "multinet-hostports", inside=nodes[0].inside.fileno())
        assert before.count("8080") == after.count("8080") == 1
        assert await ask("out", HOST, 8080) == ("a", "100.64.0.99")
        code, answer = await nodes[0].call("DEL", "c-a", "a", "a", uid=decided[0].pod.uid)
        assert code == 0, answer
        with pytest.raises(ConnectionRefusedError):
            await ask("out", HOST, 8080)
    assert "multinet-hostports" not in nft.listing("tables", inside=nodes[0].inside.fileno())


@pytest.mark.parametrize("network", ["default", "red"])
async def test_check_finds_a_host_port_that_is_gone(lab, nodes, network):
    selected = {"red": (PortMapping(8080, 80),)} if network == "red" else {}
    runtime = [] if selected else [mapping(8080, 80)]
    code, answer, _ = await attach(lab, nodes[0], "a", ["default", "red"], runtime, mappings=selected)
    assert code == 0, answer
    config = {"prevResult": answer}
    assert (await nodes[0].call("CHECK", "c-a", "a", config=config))[0] == 0
    place = "set ip multinet-hostports bridged" if selected else "map ip multinet-hostports routed"
    inside = nodes[0].inside.fileno()
    for loss in (f"flush {place}", "delete table ip multinet-hostports"):
        nft.apply(loss, inside=inside)
        code, error = await nodes[0].call("CHECK", "c-a", "a", config=config)
        assert (code, error["code"]) == (1, 102)
        assert "host port" in error["msg"]
    assert await nodes[0].host_ports.restore()
    assert (await nodes[0].call("CHECK", "c-a", "a", config=config))[0] == 0


async def test_a_port_of_a_node_is_one_pods(lab, nodes):
    code, answer, decided = await attach(lab, nodes[0], "a", ["default"], [mapping(8080, 80)])
    assert code == 0, answer
    code, answer, _ = await attach(lab, nodes[0], "b", ["default"], [mapping(8080, 80)])
    assert code != 0
    assert "host port 8080/tcp can't be given to pod default/b" in answer["msg"]
    assert "pod default/a has it for its interface eth0" in answer["details"]
    # Another protocol and another node are other ports.
    for node, name, protocol in ((nodes[0], "d", "udp"), (nodes[1], "e", "tcp")):
        code, answer, _ = await attach(lab, node, name, ["default"], [mapping(8080, 80, protocol)])
        assert code == 0, answer
    await nodes[0].call("DEL", "c-a", "a", "a", uid=decided[0].pod.uid)
    code, answer = await nodes[0].call(
        "ADD", "c-b", "b", "b", uid=lab.cluster.views[0].plan_of("default", "b", "").machine.pod.uid,
        config={"runtimeConfig": {"portMappings": [mapping(8080, 80)]}},
    )  # fmt: skip
    assert code == 0, answer


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (mapping(8080, 80, hostIP="192.0.2.1"), "is asked for at 192.0.2.1"),
        (mapping(8080, 80, "icmp"), "can't be read"),
        (mapping(70000, 80), "can't be read"),
    ],
)
async def test_a_mapping_that_can_not_be_done_is_refused_and_leaves_nothing(lab, nodes, asked, words):
    before = nodes[0].links()
    code, answer, _ = await attach(lab, nodes[0], "a", ["default"], [asked])
    assert code != 0
    assert words in answer["msg"]
    assert nodes[0].links() == before
    assert "multinet-hostports" not in nft.listing("tables", inside=nodes[0].inside.fileno())


async def attach_to(lab, node, name, network, **asked):
    """A pod whose selection of ``network`` has port mappings, while the runtime asks for others."""
    listed = tuple(PortMapping(*each) for each in asked["selected"])
    runtime = asked.get("runtime", ())
    return await attach(lab, node, name, ["default", network], runtime, mappings={network: listed})


# "out" is a network with a way out by its gateway (ip_fabric_snat): the same namespace, the other direction.
@pytest.mark.parametrize("first", ["red", "out"])
async def test_NPWG_4_1_2_1_7_a_7_5_a_a_selections_mapping_leads_to_its_interface_alone(lab, nodes, first):
    # Equal networks with equal addresses: each host port finds its own.
    red = await attach_to(lab, nodes[0], "a", first, selected=[(9080, 80), (9053, 53, "udp")],
                          runtime=[mapping(8080, 80)])  # fmt: skip
    blue = await attach_to(lab, nodes[0], "b", "blue", selected=[(9081, 80)])
    await attach(lab, nodes[1], "c", ["default", first])
    for code, answer, _ in (red, blue):
        assert code == 0, answer
    gateway = red[2][1][1].addresses[0].gateway
    async with (
        serving("a", 80, device="eth1", text="a-eth1"),
        serving("a", 80, device="eth0", text="a-eth0"),
        serving("a", 53, device="eth1", text="a-eth1", kind=socket.SOCK_DGRAM),
        serving("b", 80, device="eth1", text="b-eth1"),
    ):
        # The network's gateway is seen: the pod answers without a route.
        assert await ask("out", HOST, 9080) == ("a-eth1", gateway)
        assert await ask("out", HOST, 9053, kind=socket.SOCK_DGRAM) == ("a-eth1", gateway)
        assert await ask("out", HOST, 9081) == ("b-eth1", "10.1.1.254")
        assert await ask("n1", HOST, 9080) == ("a-eth1", gateway)
        # The runtime's is the default interface's.
        assert (await ask("out", HOST, 8080))[0] == "a-eth0"
        # No pod gets in by it, here or on another node.
        for other in ("b", "c"):
            with pytest.raises(ConnectionRefusedError):
                await ask(other, HOST, 9080)
        nodes[0].stop()
        nodes[0].start()
        await nodes[0].sync()
        assert (await ask("out", HOST, 9080))[0] == "a-eth1"
        await nodes[0].call("DEL", "c-a", "a", "a", uid=red[2][0].pod.uid)
        with pytest.raises(ConnectionRefusedError):
            await ask("out", HOST, 9080)
        assert (await ask("out", HOST, 9081))[0] == "b-eth1"
        await nodes[0].call("DEL", "c-b", "b", "b", uid=blue[2][0].pod.uid)
    assert "hostports" not in nodes[0].links()
