"""The prober on real interfaces: each outcome is provoked by a network made for it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader, RawPcapReader

from traffic import frames, matrix
from traffic.capture import Capture, Counters
from traffic.observation import Observation
from traffic.plan import Ask
from traffic.probe import Prober, ordered_pairs

pytestmark = pytest.mark.lab
PROTOCOLS = ("arp", "icmp", "udp", "tcp")


def by_key(observations: list[Observation]) -> dict[tuple[str, str, str], Observation]:
    """Keyed ``("a/eth0", "b/eth0", protocol)``."""
    return {
        (
            f"{one.source.removeprefix('default/')}/{one.source_interface}",
            f"{one.destination.removeprefix('default/')}/{one.destination_interface}",
            one.protocol,
        ): one
        for one in observations
    }


def outcomes(observations: list[Observation], source: str, destination: str) -> list[str]:
    table = by_key(observations)
    return [table[source, destination, protocol].outcome for protocol in PROTOCOLS]


def keys(endpoints, joined):
    """Expectation: pairs of pods' interfaces of one name reach each other if that name is in ``joined``."""
    return {
        (*source, *destination, protocol): source[1] == destination[1] and source[1] in joined
        for source, destination in ordered_pairs(one.place for one in endpoints)
        if source[0] != destination[0]
        for protocol in PROTOCOLS
    }


@pytest.fixture
def two_networks(net):
    """Pods a and b on networks red (eth1) and blue (eth2)."""
    net.bridge("red")
    net.bridge("blue")
    pods = [net.pod("a"), net.pod("b")]
    ports = {}
    for number, pod in enumerate(pods, start=1):
        ports[pod, "eth1"] = net.wire(pod, "eth1", f"10.1.0.{number}/24", "red")
        ports[pod, "eth2"] = net.wire(pod, "eth2", f"10.2.0.{number}/24", "blue")
    return pods, ports


def test_same_network_is_reached_and_other_network_is_not_with_a_control(net, two_networks, tmp_path):
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    expectation = keys(endpoints, {"eth1", "eth2"})
    pairs = [pair for pair in ordered_pairs(one.place for one in endpoints) if pair[0][0] != pair[1][0]]
    prober = Prober(endpoints, pcap_dir=tmp_path, control_netns=net.control)
    found = prober.run(pairs, expected={key for key, wanted in expectation.items() if wanted})
    for interface in ("eth1", "eth2"):
        assert outcomes(found, f"a/{interface}", f"b/{interface}") == ["reached"] * 4
    table = by_key(found)
    for protocol in ("icmp", "udp", "tcp"):
        isolated = table["a/eth1", "b/eth2", protocol]
        assert isolated.outcome == "not-reached", isolated.detail
        assert isolated.control
        assert "control frames from its peer p" in isolated.controlled_by
    answered_by_the_pod = table["a/eth1", "b/eth2", "arp"]
    assert (answered_by_the_pod.outcome, answered_by_the_pod.seen_at) == ("wrong-path", ("default/b/eth1",))
    result = matrix.build(found, expectation)
    assert result.verdict == "pass", [cell.text for cell in result.cells if cell.verdict != "pass"]
    assert result.counts["pass"] == len(expectation) == 32


def test_joined_networks_are_found_in_both_directions(net, two_networks):
    pods, ports = two_networks
    # b's blue interface is plugged into red: a classic wiring error.
    net.ip("-n", net.switch, "link", "set", ports[pods[1], "eth2"], "master", "red")
    endpoints = net.endpoints(*pods)
    expectation = keys(endpoints, {"eth1", "eth2"})
    pairs = [pair for pair in ordered_pairs(one.place for one in endpoints) if pair[0][0] != pair[1][0]]
    found = Prober(endpoints, control_netns=net.control).run(pairs, expected=set())
    table = by_key(found)
    leak = table["a/eth1", "b/eth2", "udp"]
    assert leak.outcome == "reached", leak.detail
    assert outcomes(found, "a/eth2", "b/eth2")[1:] == ["not-reached"] * 3
    failed = {
        (cell.source_interface, cell.destination_interface)
        for cell in matrix.build(found, expectation).cells
        if cell.verdict == "fail"
    }
    assert failed == {("eth1", "eth2"), ("eth2", "eth1"), ("eth2", "eth2")}


def test_wrong_path_a_pod_that_answers_on_another_interface(net, two_networks):
    """At b, eth2 is plugged into red and eth1 is not: b answers for eth1's address on eth2 (arp_ignore=0)."""
    pods, ports = two_networks
    net.ip("-n", net.switch, "link", "set", ports[pods[1], "eth1"], "nomaster")
    net.ip("-n", net.switch, "link", "set", ports[pods[1], "eth2"], "master", "red")
    endpoints = net.endpoints(*pods)
    pair = (("default/a", "eth1"), ("default/b", "eth1"))
    found = Prober(endpoints, control_netns=net.control).run([pair])
    for one in found:
        assert (one.protocol, one.outcome) == (one.protocol, "wrong-path"), one.detail
        assert one.seen_at == ("default/b/eth2",)
        assert "default/b/eth2" in one.detail


def test_one_way_traffic_is_not_called_reached(net, two_networks):
    pods, _ports = two_networks
    net.ip("-n", pods[1], "route", "add", "unreachable", "10.1.0.1/32")
    endpoints = net.endpoints(*pods)
    pair = (("default/a", "eth1"), ("default/b", "eth1"))
    found = Prober(endpoints, control_netns=net.control).run([pair])
    assert {one.protocol: one.outcome for one in found} == {
        "arp": "reached",  # ARP answers need no route
        "icmp": "wrong-path",
        "udp": "reached",
        "tcp": "wrong-path",
    }
    assert "no answer came back to default/a/eth1" in found[1].detail
    assert [one.attempts for one in found] == [1, 3, 1, 3]


class DeafCapture(Capture):
    """Hears nothing in one namespace, as if somebody had removed the capture there."""

    deaf = "default/b"

    def __init__(self, namespaces, on_frames):
        super().__init__(
            namespaces, lambda batch: on_frames([one for one in batch if one.place[0] != self.deaf])
        )


class LossyCapture(Capture):
    """Lost frames in one namespace in every window."""

    reads = 0

    def counters(self):
        self.reads += 1
        return {"default/a": Counters(9, 0), "default/b": Counters(9, self.reads)}


@pytest.mark.parametrize(
    ("capture", "reason"), [(DeafCapture, "no-control"), (LossyCapture, "capture-dropped")]
)
def test_a_capture_that_may_have_missed_it_never_says_not_reached(net, two_networks, capture, reason):
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    pairs = [(("default/a", "eth1"), ("default/b", "eth2"))]
    found = Prober(endpoints, control_netns=net.control, capture=capture).run(
        pairs, ["icmp", "udp", "tcp"], expected=set()
    )
    assert {(one.outcome, one.reason) for one in found} == {("unknown", reason)}
    expectation = {one.key: False for one in found}
    assert matrix.build(found, expectation).verdict == "unknown"


def test_a_deaf_source_can_not_prove_that_no_answer_came(net, two_networks):
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    pairs = [(("default/b", "eth1"), ("default/a", "eth1"))]
    found = Prober(endpoints, control_netns=net.control, capture=DeafCapture).run(pairs)
    assert {one.protocol: (one.outcome, one.reason) for one in found} == {
        "arp": ("unknown", "no-departure"),
        "icmp": ("unknown", "no-departure"),
        "udp": ("reached", ""),
        "tcp": ("unknown", "no-departure"),
    }


def test_without_peer_a_probe_that_arrived_is_the_control(net, two_networks):
    """The peer ends are out of reach: an arriving probe proves the capture, or nothing does."""
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    isolated = (("default/a", "eth1"), ("default/b", "eth2"))
    alone = Prober(endpoints).run([isolated], ["udp"], expected=set())
    assert [(one.outcome, one.reason) for one in alone] == [("unknown", "no-control")]
    beside = Prober(endpoints).run([isolated, (("default/a", "eth2"), ("default/b", "eth2"))], ["udp"])
    assert [one.outcome for one in beside] == ["not-reached", "reached"]
    assert beside[0].controlled_by == "the udp probe from default/a/eth2"


def test_interface_down_fails_its_own_cells_only(net, two_networks):
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    expectation = keys(endpoints, {"eth1", "eth2"})
    net.ip("-n", pods[1], "link", "set", "eth2", "down")
    pairs = [pair for pair in ordered_pairs(one.place for one in endpoints) if pair[0][0] != pair[1][0]]
    found = Prober(endpoints, control_netns=net.control).run(
        pairs, expected={key for key, wanted in expectation.items() if wanted}
    )
    result = matrix.build(found, expectation)
    failed = {cell.key for cell in result.cells if cell.verdict == "fail"}
    down = ("default/b", "eth2")
    assert failed == {key for key, wanted in expectation.items() if wanted and down in (key[:2], key[2:4])}
    assert all("down" in cell.text for cell in result.cells if cell.verdict == "fail")
    for cell in result.cells:
        if down not in (cell.key[:2], cell.key[2:4]):
            assert cell.verdict == "pass", cell
        elif not cell.expected and cell.protocol != "arp":
            assert cell.verdict == "unknown", cell


def test_missing_namespace_and_interface_are_unknown(net, two_networks):
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    gone = dataclasses.replace(endpoints[0], name="default/gone", netns="/run/netns/never-was")
    found = Prober([*endpoints, gone], control_netns=net.control).run(
        [(endpoints[0].place, gone.place), (gone.place, endpoints[0].place)], ["icmp"]
    )
    assert [(one.outcome, one.reason) for one in found] == [("unknown", "interface-missing")] * 2
    assert "default/gone/eth1" in found[0].detail


def test_overlapping_subnets_are_told_apart(net):
    """Two networks with the same addresses: a1-b1 in red, a2-b2 in blue."""
    for colour in ("red", "blue"):
        net.bridge(colour)
    pods = {name: net.pod(name) for name in ("a1", "b1", "a2", "b2")}
    for name, pod in pods.items():
        address = "10.9.0.1/24" if name.startswith("a") else "10.9.0.2/24"
        net.wire(pod, "eth1", address, "red" if name.endswith("1") else "blue")
    endpoints = net.endpoints(*pods.values())
    pairs = [(("default/a1", "eth1"), (f"default/b{number}", "eth1")) for number in (1, 2)]
    wanted = {(*pairs[0][0], *pairs[0][1], protocol) for protocol in PROTOCOLS}
    found = Prober(endpoints, control_netns=net.control).run(pairs, expected=wanted)
    assert outcomes(found, "a1/eth1", "b1/eth1") == ["reached"] * 4
    assert outcomes(found, "a1/eth1", "b2/eth1") == ["not-reached"] * 4
    detail = by_key(found)["a1/eth1", "b2/eth1", "udp"].detail
    assert "10.9.0.2 also belongs to default/b1/eth1, which got it" in detail


def test_routed_network_is_reached_through_the_proxy_mac(net):
    """As the default network: no bridge, a /32 route per pod, the node answers ARP for all (RFC 1027)."""
    pods = [net.pod("a"), net.pod("b")]
    net.sysctl(net.switch, "net.ipv4.ip_forward=1")
    virtual = "00:00:5e:00:01:00"
    for number, pod in enumerate(pods, start=1):
        port = net.wire(pod, "eth0", f"10.32.0.{number}/12")
        net.ip("-n", net.switch, "link", "set", port, "address", virtual)
        net.ip("-n", net.switch, "route", "add", f"10.32.0.{number}/32", "dev", port)
        net.sysctl(net.switch, f"net.ipv4.conf.{port}.proxy_arp=1")
        net.sysctl(net.switch, f"net.ipv4.neigh.{port}.proxy_delay=0")
    endpoints = net.endpoints(*pods)
    found = Prober(endpoints, control_netns=net.control).run()
    assert outcomes(found, "a/eth0", "b/eth0") == ["reached"] * 4
    assert outcomes(found, "b/eth0", "a/eth0") == ["reached"] * 4
    table = by_key(found)
    assert table["a/eth0", "b/eth0", "arp"].detail == f"answered by proxy MAC {virtual}, which leads to it"
    assert virtual in table["a/eth0", "b/eth0", "udp"].detail
    arp_alone = Prober(endpoints, control_netns=net.control).run(protocols=["arp"])
    assert [one.outcome for one in arp_alone] == ["reached", "reached"]
    # The node forgets b: it still answers for what it routes, and nothing leads to b any more.
    net.ip("-n", net.switch, "route", "del", "10.32.0.2/32")
    net.ip("-n", net.switch, "route", "add", "10.32.0.2/32", "dev", "lo")
    cut = Prober(endpoints, control_netns=net.control).run([(("default/a", "eth0"), ("default/b", "eth0"))])
    assert [one.outcome for one in cut] == ["not-reached"] * 4


def test_a_gateway_that_leaks_into_another_network_is_found(net):
    """The pods share no network, but the gateway of a forwards to b."""
    pods = [net.pod("a"), net.pod("b")]
    net.sysctl(net.switch, "net.ipv4.ip_forward=1")
    for number, pod in enumerate(pods, start=1):
        port = net.wire(pod, "eth1", f"10.{number}.0.2/24")
        net.ip("-n", net.switch, "address", "add", f"10.{number}.0.1/24", "dev", port)
        net.ip("-n", pod, "route", "add", "default", "via", f"10.{number}.0.1")
    endpoints = net.endpoints(*pods)
    assert endpoints[0].gateways == ("10.1.0.1",)
    found = Prober(endpoints, control_netns=net.control).run(
        [(("default/a", "eth1"), ("default/b", "eth1"))], expected=set()
    )
    assert [one.outcome for one in found] == ["not-reached", "reached", "reached", "reached"]
    assert "by way of the gateway" in found[1].detail


def test_captures_are_files_scapy_reads(net, two_networks, tmp_path):
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    prober = Prober(endpoints, pcap_dir=tmp_path, nonce=b"\xa5testing", control_netns=net.control)
    prober.run([(("default/a", "eth1"), ("default/b", "eth1"))], ["udp"])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"default-{pod}-{interface}.pcap" for pod in "ab" for interface in ("eth1", "eth2")]
    reader = RawPcapReader(str(tmp_path / "default-b-eth1.pcap"))
    assert not isinstance(reader, RawPcapNgReader)
    assert reader.nano
    records = list(reader)
    reader.close()
    parsed = [frames.parse(frame, b"\xa5testing") for frame, _meta in records]
    # The probe itself, and b's kernel quoting it in "port unreachable".
    assert [one.kind for one in parsed if one and one.kind in ("udp", "icmp-error")] == ["udp", "icmp-error"]
    assert abs(records[0][1].sec - time.time()) < 60
    assert Path(prober.files["default/a", "eth1"]).stat().st_size > 24


def test_fourteen_interfaces_in_four_protocols(net):
    pods = [net.pod(f"p{number}") for number in range(7)]
    for colour in ("red", "blue"):
        net.bridge(colour)
    for number, pod in enumerate(pods, start=1):
        net.wire(pod, "eth1", f"10.1.0.{number}/24", "red")
        net.wire(pod, "eth2", f"10.2.0.{number}/24", "blue")
    endpoints = net.endpoints(*pods)
    expectation = keys(endpoints, {"eth1", "eth2"})
    prober = Prober(endpoints, control_netns=net.control)
    prober.run([(endpoints[0].place, endpoints[2].place)])
    found = prober.run(expected={key for key, wanted in expectation.items() if wanted})
    assert len(found) == 14 * 13 * 4
    result = matrix.build(found, expectation)
    assert result.verdict == "pass", [cell.text for cell in result.cells if cell.verdict == "fail"]
    assert result.counts["pass"] == 14 * 12 * 4


def test_an_address_of_the_network_itself_is_asked_by_arp_and_echo(net, two_networks):
    """What answers is no endpoint: here the bridges have the addresses, and one of them another MAC."""
    pods, _ports = two_networks
    endpoints = net.endpoints(*pods)
    for name, mac, address in (("red", "02:00:5e:00:01:00", "10.1.0.254"), ("blue", "02:bb::", "10.2.0.254")):
        net.ip("-n", net.switch, "link", "set", name, "address", mac.replace("::", ":00:00:00:00"))
        net.ip("-n", net.switch, "addr", "add", f"{address}/24", "dev", name)
    place = next(one.place for one in endpoints if one.place[0].endswith("a") and one.interface == "eth1")
    other = (place[0], "eth2")
    good = Ask(place, ("network", "gateway"), "10.1.0.254", "02:00:5e:00:01:00")
    asks = [
        good,
        Ask(place, ("network", "dns"), "10.1.0.253"),
        Ask(other, ("network", "gateway"), "10.2.0.254", good.mac),
    ]
    prober = Prober(endpoints, control_netns=net.control)
    found = prober.run([], expected=frozenset({(*place, "network", "gateway", "icmp")}), asks=asks)
    seen = {(one.source_interface, one.destination_interface, one.protocol): one for one in found}
    assert [key[2] for key in seen] == ["arp"] * 3 + ["icmp"] * 3
    assert seen["eth1", "gateway", "arp"].outcome == seen["eth1", "gateway", "icmp"].outcome == "reached"
    assert seen["eth1", "dns", "arp"].outcome == seen["eth1", "dns", "icmp"].outcome == "not-reached"
    assert seen["eth2", "gateway", "arp"].outcome == "wrong-path"
    assert "not 02:00:5e:00:01:00" in seen["eth2", "gateway", "arp"].detail
    assert {one.protocol for one in prober.run([], ["arp"], asks=[good])} == {"arp"}
