"""Probe frames: built by scapy, told apart by a signature, parsed as bytes.

Every frame carries *nonce (8 bytes) + probe id (32 bit, big-endian)*. For ARP it stands in the padding
after the packet, otherwise at the start of the payload, so a frame is found again on whatever interface it
turns up, routed or tunnelled or not.

scapy builds one template per protocol; addresses, ports, signature and checksums are then written into a
copy. Building each frame with scapy takes 0.4 ms, a patched copy a fiftieth of it, and a matrix has
thousands (the tests hold the two ways equal). scapy dissects only the frames shown to a person.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import struct
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

PROTOCOLS = ("arp", "icmp", "udp", "tcp")
BROADCAST = "ff:ff:ff:ff:ff:ff"
NONCE_LENGTH = 8
CONTROL_ETHERTYPE = 0x88B5  # IEEE 802 local experimental: no protocol stack answers it
PORT = 9  # discard (RFC 863): closed in a pod unless somebody means it, so TCP answers with RST

_FIRST_SOURCE_PORT, _SOURCE_PORTS = 20000, 40000
_FILL = b"multinet probe"
_IPV4, _ARP = 0x0800, 0x0806


@dataclass(frozen=True, slots=True)
class Hop:
    """One frame's addressing: Ethernet source and next hop, IPv4 source and destination, all as text."""

    source_mac: str
    target_mac: str
    source_ip: str
    target_ip: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a captured frame is to the prober.

    ``kind`` is a probe (``arp``, ``icmp``, ``udp``, ``tcp``, ``control``) or an answer: ``icmp-reply`` and
    ``icmp-error`` carry the probe's id; ``arp-reply`` has ``mac`` (the answer) and key ``(asked IP, asking
    MAC)``; ``tcp-reply`` has key ``(source IP, source port, destination IP, destination port)``.
    """

    kind: str
    probe_id: int = -1
    mac: str = ""
    key: tuple[str | int, ...] = ()


def build(protocol: str, nonce: bytes, probe_id: int, hop: Hop) -> bytes:
    """The probe frame of ``protocol`` (one of ``PROTOCOLS``); an ARP probe asks for ``hop.target_ip``."""
    frame = bytearray(_template(protocol))
    frame[0:12] = _mac(hop.target_mac) + _mac(hop.source_mac)
    source, target = _ip(hop.source_ip), _ip(hop.target_ip)
    signature = nonce + struct.pack("!I", probe_id)
    if protocol == "arp":
        frame[22:32] = _mac(hop.source_mac) + source
        frame[38:42] = target
        frame[42:54] = signature
        return bytes(frame)
    frame[26:34] = source + target
    struct.pack_into("!H", frame, 18, probe_id & 0xFFFF)
    struct.pack_into("!H", frame, 24, checksum(bytes(frame[14:34])))
    _fill_transport(protocol, frame, probe_id, signature)
    return bytes(frame)


def control(nonce: bytes, probe_id: int, source_mac: str, target_mac: str) -> bytes:
    """A control frame: only proves that the capture sees what arrives on an interface."""
    body = struct.pack("!H", CONTROL_ETHERTYPE) + nonce + struct.pack("!I", probe_id) + b"multinet control"
    return (_mac(target_mac) + _mac(source_mac) + body).ljust(60, b"\0")


def source_port(probe_id: int) -> int:
    """The UDP and TCP source port of a probe."""
    return _FIRST_SOURCE_PORT + probe_id % _SOURCE_PORTS


def parse(frame: bytes, nonce: bytes) -> Parsed | None:
    """What this frame is to the run with this ``nonce``; None for foreign traffic."""
    if len(frame) < 34:
        return None
    ethertype = int.from_bytes(frame[12:14], "big")
    at = frame.find(nonce, 14)
    if at < 0 or len(frame) < at + NONCE_LENGTH + 4:
        return _parse_unsigned(ethertype, frame)
    probe_id = int.from_bytes(frame[at + NONCE_LENGTH : at + NONCE_LENGTH + 4], "big")
    if ethertype == CONTROL_ETHERTYPE:
        return Parsed("control", probe_id)
    if ethertype == _ARP:
        return Parsed("arp", probe_id) if frame[20:22] == b"\0\1" else _parse_unsigned(ethertype, frame)
    if ethertype != _IPV4:
        return None
    protocol, transport = frame[23], 14 + (frame[14] & 0xF) * 4
    if protocol == 1:
        kind = {8: "icmp", 0: "icmp-reply"}.get(frame[transport], "icmp-error")
        return Parsed(kind, probe_id)
    kind = {17: "udp", 6: "tcp"}.get(protocol, "")
    return Parsed(kind, probe_id) if kind else None


def describe(frame: bytes) -> str:
    """One line for a person, dissected by scapy."""
    layers = _scapy()
    return str(layers.Ether(frame).summary())


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of ``data``."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _fill_transport(protocol: str, frame: bytearray, probe_id: int, signature: bytes) -> None:
    payload, sum_at = {"icmp": (42, 36), "udp": (42, 40), "tcp": (54, 50)}[protocol]
    frame[payload : payload + len(signature)] = signature
    if protocol == "icmp":
        struct.pack_into("!HH", frame, 38, source_port(probe_id), probe_id & 0xFFFF)
        pseudo = b""
    else:
        struct.pack_into("!H", frame, 34, source_port(probe_id))
        pseudo = bytes(frame[26:34]) + struct.pack("!BBH", 0, frame[23], len(frame) - 34)
    if protocol == "tcp":
        struct.pack_into("!I", frame, 38, probe_id)
    value = checksum(pseudo + bytes(frame[34:]))
    # RFC 768: a UDP checksum that computes to zero is sent as all ones.
    struct.pack_into("!H", frame, sum_at, 0xFFFF if protocol == "udp" and value == 0 else value)


def _parse_unsigned(ethertype: int, frame: bytes) -> Parsed | None:
    """Answers made by the peer's kernel: they carry no payload of ours."""
    if ethertype == _ARP and len(frame) >= 42 and frame[20:22] == b"\0\2":
        asked = str(ipaddress.IPv4Address(frame[28:32]))
        return Parsed("arp-reply", mac=frame[22:28].hex(":"), key=(asked, frame[32:38].hex(":")))
    if ethertype != _IPV4 or frame[23] != 6:
        return None
    transport = 14 + (frame[14] & 0xF) * 4
    if len(frame) < transport + 14:
        return None
    flags = frame[transport + 13]
    if not flags & 0x04 and flags & 0x12 != 0x12:  # neither RST nor SYN+ACK
        return None
    source_ip, target_ip = (str(ipaddress.IPv4Address(frame[at : at + 4])) for at in (26, 30))
    from_port, to_port = struct.unpack_from("!HH", frame, transport)
    return Parsed("tcp-reply", key=(source_ip, from_port, target_ip, to_port))


@functools.cache
def _template(protocol: str) -> bytes:
    layers = _scapy()
    nowhere, zero = "0.0.0.0", "00:00:00:00:00:00"
    body = bytes(NONCE_LENGTH + 4) + _FILL
    ether = layers.Ether(dst=zero, src=zero)
    if protocol == "arp":
        asked = layers.ARP(op=1, hwsrc=zero, psrc=nowhere, hwdst=zero, pdst=nowhere)
        return bytes(ether / asked).ljust(60, b"\0")
    ip = layers.IP(src=nowhere, dst=nowhere, id=0, ttl=64, chksum=0)
    transport = {
        "icmp": lambda: layers.ICMP(type=8, id=0, seq=0, chksum=0),
        "udp": lambda: layers.UDP(sport=0, dport=PORT, chksum=0),
        "tcp": lambda: layers.TCP(sport=0, dport=PORT, flags="S", seq=0, chksum=0),
    }[protocol]()
    return bytes(ether / ip / transport / layers.Raw(body))


@functools.cache
def _scapy() -> Any:
    """The layer classes of scapy, imported when first needed: it takes a quarter of a second.

    scapy reads routes and interfaces while it is imported and logs about a namespace that has none; we use
    neither, so only its errors are let through.
    """
    logging.getLogger("scapy").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers import inet
        from scapy.layers.l2 import ARP, Ether
        from scapy.packet import Raw
    return SimpleNamespace(
        Ether=Ether, ARP=ARP, IP=inet.IP, ICMP=inet.ICMP, UDP=inet.UDP, TCP=inet.TCP, Raw=Raw
    )


@functools.lru_cache(maxsize=4096)
def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


@functools.lru_cache(maxsize=4096)
def _ip(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


def prepare(protocol: str) -> None:
    """Make the template now, so that scapy's import falls into no time-bound window."""
    _template(protocol)
