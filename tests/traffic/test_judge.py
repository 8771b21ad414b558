"""No vacuous negatives, as a property: whatever the evidence, *not-reached* has its proofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traffic.capture import BROADCAST, HOST, OUTGOING, Frame
from traffic.endpoint import Endpoint
from traffic.frames import PROTOCOLS
from traffic.judge import Evidence, Window, judge
from traffic.pcap import file_name
from traffic.plan import Planner
from traffic.tally import Tally

NONCE = b"judgment"


def endpoint(name: str, number: int, network: int, **more) -> Endpoint:
    mac = f"02:00:00:00:{network:02x}:{number:02x}"
    return Endpoint(
        name, f"eth{network}", f"/run/netns/{name}", mac, (f"10.{network}.0.{number}/24",), **more
    )


A, B, OTHER = endpoint("ns/a", 1, 1), endpoint("ns/b", 2, 1), endpoint("ns/b", 2, 2)
ALL = {one.place: one for one in (A, B, OTHER)}
CONTROLLED = {B.place: "control frames"}


def world(protocol: str = "udp", faults=None):
    tally = Tally(NONCE)
    planner = Planner(NONCE, ALL, faults or {})
    probe = planner.resolve(A, B, "arp") if protocol == "arp" else planner.routed(A, B, protocol, tally)
    return tally, probe, Evidence(tally, planner, ALL, faults or {})


def saw(tally: Tally, probe, place, packet_type: int) -> None:
    tally.see([Frame(place, packet_type, 1, shot.frame) for shot in probe.shots])


@given(
    protocol=st.sampled_from(PROTOCOLS),
    sights=st.sets(
        st.tuples(st.sampled_from([*ALL]), st.sampled_from([HOST, BROADCAST, OUTGOING])), max_size=4
    ),
    controlled=st.booleans(),
    lossy=st.sets(st.sampled_from(["ns/a", "ns/b"])),
    failed=st.sets(st.sampled_from(["ns/a", "ns/b"])),
    fault=st.sampled_from(["", "interface-down", "interface-missing", "no-address"]),
)
def test_not_reached_always_has_departure_control_and_a_whole_capture(
    protocol, sights, controlled, lossy, failed, fault
):
    tally, probe, evidence = world(protocol, {B.place: fault} if fault else None)
    for place, packet_type in sights:
        saw(tally, probe, place, packet_type)
    window = Window(CONTROLLED if controlled else {}, frozenset(lossy), dict.fromkeys(failed, "gone"))
    found = judge(probe, evidence, window)
    if found.outcome == "not-reached":
        assert controlled
        assert found.control
        assert (A.place, OUTGOING) in sights
        assert not lossy
        assert not failed
        assert not fault
    if found.outcome in ("reached", "wrong-path"):
        assert found.seen_at
    assert (found.outcome == "unknown") == bool(found.reason)


@pytest.mark.parametrize(
    ("place", "outcome"), [(B.place, "reached"), (OTHER.place, "wrong-path"), (None, "not-reached")]
)
def test_where_it_arrives_decides(place, outcome):
    tally, probe, evidence = world()
    saw(tally, probe, A.place, OUTGOING)
    if place:
        saw(tally, probe, place, HOST)
    found = judge(probe, evidence, Window(CONTROLLED, frozenset(), {}))
    assert found.outcome == outcome
    assert found.seen_at == (("/".join(place),) if place else ())


def test_a_flooded_copy_for_another_host_is_no_arrival():
    tally, probe, evidence = world()
    saw(tally, probe, A.place, OUTGOING)
    saw(tally, probe, OTHER.place, 3)
    assert judge(probe, evidence, Window(CONTROLLED, frozenset(), {})).outcome == "not-reached"


def test_nothing_is_sent_from_a_broken_source():
    _tally, probe, evidence = world("icmp", {A.place: "interface-down"})
    found = judge(probe, evidence, Window(CONTROLLED, frozenset(), {}))
    assert (probe.shots, found.outcome, found.reason) == ([], "unknown", "interface-down")
    assert found.detail == "ns/a/eth1: interface down; nothing was sent"


def test_file_names_are_plain():
    assert file_name(("left-ns/pod-1", "eth1")) == "left-ns-pod-1-eth1.pcap"
    assert file_name(("n/p", "a b;c")) == "n-p-a_b_c.pcap"
