"""Host ports: who reaches a pod by a port of its node, and what is left when the pod is gone."""

import socket

import pytest

from multinet.model.selected import PortMapping
from multinet.vrouter import nft
from tests.vrouter import conftest
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
    lab.outside()
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


async def test_ports_of_a_node_with_both_families(monkeypatch, lab):
    if nft.lack():
        pytest.skip(f"no nft here: {nft.lack()}")
    monkeypatch.setitem(conftest.CIDRS, "default", ("10.32.0.0/12", "fd00:10:32::/64"))
    before = lab.cluster.find("network", "default")
    lab.cluster.tell("network", conftest.networks()["default"].to_object(), before)
    lab.dual = True
    one, two = lab.node("n1"), lab.node("n2")
    lab.outside()
    for node in (one, two):
        await node.sync()
    asked = [mapping(8080, 80), mapping(8053, 53, "udp"), mapping(8443, 443, hostIP=HOST)]
    code, answer, decided = await attach(lab, one, "a", ["default", "dual"], asked)
    assert code == 0, answer
    _, _, client = await attach(lab, two, "c", ["default"])
    six = {"family": socket.AF_INET6}
    own, far, udp = one.ip6, client[1][0].addresses[1].address, {"kind": socket.SOCK_DGRAM}
    async with serving("a", 80, **six), serving("a", 53, **six, **udp), serving("a", 443, **six):
        # The client's address stays.
        assert await ask("out", own, 8080) == ("a", lab.address6(99))
        assert await ask("out", own, 8053, **udp) == ("a", lab.address6(99))
        assert await ask("n1", own, 8080) == ("a", own)
        assert await ask("c", own, 8080) == ("a", far)
        assert await ask("a", own, 8080) == ("a", own)
        for target in ((two.ip6, 8080), (own, 8443)):
            with pytest.raises(ConnectionRefusedError):
                await ask("out", *target)
    async with serving("a", 80):
        assert (await ask("out", HOST, 8080))[0] == "a"
    # In either family a port is one pod's, and it is asked for at an address of the node.
    taken, nowhere = mapping(8080, 80, hostIP="::"), mapping(8081, 80, hostIP="fd00::1")
    for name, wish, words in (
        ("x", taken, "pod default/a has it"),
        ("y", nowhere, f"this node has host ports at {HOST} and {own} only"),
    ):
        code, answer, _ = await attach(lab, one, name, ["default"], [wish])
        assert code == 1
        assert words in answer["details"], answer
    (attachment,) = one.agent.attachments
    assert one.host_ports.missing(attachment) == ()
    ip("netns", "exec", "n1", "nft", "delete", "table", "ip6", "multinet-hostports")
    assert one.host_ports.missing(attachment)
    assert await one.host_ports.restore()
    async with serving("a", 80, **six):
        assert (await ask("out", own, 8080))[0] == "a"
    code, answer = await one.call("DEL", "c-a", "a", "a", uid=decided[0].pod.uid)
    assert code == 0, answer
    assert "multinet-hostports" not in nft.listing("tables", inside=one.inside.fileno())


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
