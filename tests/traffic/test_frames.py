"""Frames: the patched templates equal what scapy would build, and parsing finds them again."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet6
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from traffic import frames

NONCE = b"\x00nonce\xff\x01"
addresses = st.ip_addresses(v=4).map(str)
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
hops = st.builds(frames.Hop, macs, macs, addresses, addresses)
addresses6 = st.ip_addresses(v=6).map(str)
hops6 = st.builds(frames.Hop, macs, macs, addresses6, addresses6)
ids = st.integers(0, 2**32 - 1)


def by_scapy(protocol: str, probe_id: int, hop: frames.Hop) -> bytes:
    signature = NONCE + probe_id.to_bytes(4, "big")
    ether = Ether(src=hop.source_mac, dst=hop.target_mac)
    if protocol == "arp":
        zero = "00:00:00:00:00:00"
        asked = ARP(op=1, hwsrc=hop.source_mac, psrc=hop.source_ip, hwdst=zero, pdst=hop.target_ip)
        return (bytes(ether / asked) + signature).ljust(60, b"\0")
    ip = IP(src=hop.source_ip, dst=hop.target_ip, id=probe_id & 0xFFFF)
    port = frames.source_port(probe_id)
    transport = {
        "icmp": ICMP(id=port, seq=probe_id & 0xFFFF),
        "udp": UDP(sport=port, dport=9),
        "tcp": TCP(sport=port, dport=9, flags="S", seq=probe_id),
    }[protocol]
    return bytes(ether / ip / transport / Raw(signature + b"multinet probe"))


@pytest.mark.parametrize("protocol", frames.PROTOCOLS)
@given(probe_id=ids, hop=hops)
def test_a_patched_template_is_what_scapy_builds(protocol, probe_id, hop):
    assert frames.build(protocol, NONCE, probe_id, hop) == by_scapy(protocol, probe_id, hop)


def by_scapy6(protocol: str, probe_id: int, hop: frames.Hop) -> bytes:
    signature = NONCE + probe_id.to_bytes(4, "big")
    ether = Ether(src=hop.source_mac, dst=hop.target_mac)
    if protocol == "nd":
        mac = inet6.ICMPv6NDOptSrcLLAddr(lladdr=hop.source_mac)
        nonce = inet6.ICMPv6NDOptUnknown(type=14, len=2, data=signature + bytes(2))
        last = ":".join(IPv6Address(hop.target_ip).exploded.split(":")[-2:])
        group = f"ff02::1:ff{last[2:]}"
        ip = inet6.IPv6(src=hop.source_ip, dst=group, hlim=255)
        return bytes(ether / ip / inet6.ICMPv6ND_NS(tgt=hop.target_ip) / mac / nonce)
    port = frames.source_port(probe_id)
    transport = {
        "icmp6": inet6.ICMPv6EchoRequest(id=port, seq=probe_id & 0xFFFF),
        "udp6": UDP(sport=port, dport=9),
        "tcp6": TCP(sport=port, dport=9, flags="S", seq=probe_id),
    }[protocol]
    ip = inet6.IPv6(src=hop.source_ip, dst=hop.target_ip)
    return bytes(ether / ip / transport / Raw(signature + b"multinet probe"))


@pytest.mark.parametrize("protocol", frames.PROTOCOLS6)
@given(probe_id=ids, hop=hops6)
def test_so_is_one_of_ipv6_and_it_is_found_again(protocol, probe_id, hop):
    frame = frames.build(protocol, NONCE, probe_id, hop)
    assert frame == by_scapy6(protocol, probe_id, hop)
    assert frames.parse(frame, NONCE) == frames.Parsed(protocol, probe_id)
    assert frames.parse(frame, b"another!") is None


@pytest.mark.parametrize("protocol", frames.PROTOCOLS)
@given(probe_id=ids, hop=hops)
def test_a_probe_is_found_again_by_its_signature(protocol, probe_id, hop):
    frame = frames.build(protocol, NONCE, probe_id, hop)
    assert frames.parse(frame, NONCE) == frames.Parsed(protocol, probe_id)
    assert frames.parse(frame, b"another!") is None


@given(st.binary(max_size=200), st.sampled_from([b"", NONCE]), st.integers(0, 80))
def test_parse_takes_any_bytes(data, planted, position):
    found = frames.parse(data[:position] + planted + data[position:], NONCE)
    assert found is None or found.kind in (
        *frames.PROTOCOLS,
        *frames.PROTOCOLS6,
        "control",
        *KINDS_OF_ANSWERS,
    )


KINDS_OF_ANSWERS = ("arp-reply", "icmp-reply", "icmp-error", "tcp-reply")
HOP = frames.Hop("02:00:00:00:00:0a", "02:00:00:00:00:0b", "10.0.0.1", "10.0.0.2")


def answer(*layers) -> bytes:
    packet = Ether(src=HOP.target_mac, dst=HOP.source_mac)
    for layer in layers:
        packet = packet / layer
    return bytes(packet).ljust(60, b"\0")


def test_answers_of_ipv6_are_told_from_probes():
    hop = frames.Hop(HOP.source_mac, HOP.target_mac, "fd00::1", "fd00::2")
    back = inet6.IPv6(src=hop.target_ip, dst=hop.source_ip)
    echo = answer(back, inet6.ICMPv6EchoReply(), Raw(frames.build("icmp6", NONCE, 7, hop)[62:]))
    assert frames.parse(echo, NONCE) == frames.Parsed("icmp-reply", 7)
    udp = frames.build("udp6", NONCE, 8, hop)
    unreachable = answer(back, inet6.ICMPv6DestUnreach(code=4), Raw(udp[14:]))
    assert frames.parse(unreachable, NONCE) == frames.Parsed("icmp-error", 8)
    port = frames.source_port(9)
    reset = answer(back, TCP(sport=9, dport=port, flags="RA"))
    assert frames.parse(reset, NONCE) == frames.Parsed("tcp-reply", key=("fd00::2", 9, "fd00::1", port))
    mac = "02:00:00:00:00:0c"
    for option, said in ((inet6.ICMPv6NDOptDstLLAddr(lladdr=mac), mac), (Raw(b""), HOP.target_mac)):
        told = answer(back, inet6.ICMPv6ND_NA(tgt="fd00::2"), option)
        found = frames.parse(told, NONCE)
        assert found == frames.Parsed("arp-reply", mac=said, key=("fd00::2", HOP.source_mac))


def test_answers_are_told_from_probes():
    probe = frames.build("icmp", NONCE, 7, HOP)
    back = IP(src=HOP.target_ip, dst=HOP.source_ip)
    echo = answer(back, ICMP(type=0), Raw(probe[42:]))
    assert frames.parse(echo, NONCE) == frames.Parsed("icmp-reply", 7)
    udp = frames.build("udp", NONCE, 8, HOP)
    unreachable = answer(back, ICMP(type=3, code=3), Raw(udp[14:]))
    assert frames.parse(unreachable, NONCE) == frames.Parsed("icmp-error", 8)
    port = frames.source_port(9)
    reset = answer(back, TCP(sport=9, dport=port, flags="RA"))
    expected = frames.Parsed("tcp-reply", key=(HOP.target_ip, 9, HOP.source_ip, port))
    assert frames.parse(reset, NONCE) == expected
    assert frames.parse(answer(back, TCP(sport=9, dport=port, flags="SA")), NONCE) == expected
    assert frames.parse(answer(back, TCP(sport=9, dport=port, flags="A")), NONCE) is None


def test_an_arp_answer_tells_who_and_for_what():
    reply = answer(
        ARP(op=2, hwsrc=HOP.target_mac, psrc=HOP.target_ip, hwdst=HOP.source_mac, pdst=HOP.source_ip)
    )
    parsed = frames.parse(reply, NONCE)
    assert parsed == frames.Parsed("arp-reply", mac=HOP.target_mac, key=(HOP.target_ip, HOP.source_mac))


def test_a_control_frame_is_no_protocol_a_kernel_answers():
    frame = frames.control(NONCE, 3, HOP.source_mac, HOP.target_mac)
    assert frames.parse(frame, NONCE) == frames.Parsed("control", 3)
    assert frame[12:14] == b"\x88\xb5"
    assert len(frame) == 60


def test_describe_names_the_layers():
    text = frames.describe(frames.build("tcp", NONCE, 1, HOP))
    assert "IP / TCP 10.0.0.1:20001 > 10.0.0.2:" in text


@pytest.mark.programs
def test_importing_the_prober_does_not_import_scapy_and_scapy_warns_of_nothing():
    code = (
        "import sys, warnings; warnings.simplefilter('error'); import traffic.probe, traffic.frames as f;"
        "assert 'scapy' not in sys.modules; [f.prepare(p) for p in f.PROTOCOLS];"
        "assert 'scapy.all' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
