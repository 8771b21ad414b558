"""Probe frames: built by scapy, told apart by a signature, parsed as bytes.

Every frame carries *nonce (8 bytes) + probe id (32 bit, big-endian)*. For ARP it stands in the padding
after the packet, in neighbour solicitations in an option (RFC 3971 has one for a nonce), otherwise at the
start of the payload, so a frame is found again on whatever interface it turns up, routed or tunnelled or not.

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
PROTOCOLS6 = ("nd", "icmp6", "udp6", "tcp6")
"""The same of IPv6: ``nd`` asks for an address by neighbour discovery, as ``arp`` does."""
RESOLVERS = ("arp", "nd")


def version_of(protocol: str) -> int:
    """4 or 6: the address family that a protocol is of."""
    return 6 if protocol in PROTOCOLS6 else 4


BROADCAST = "ff:ff:ff:ff:ff:ff"
NONCE_LENGTH = 8
CONTROL_ETHERTYPE = 0x88B5  # IEEE 802 local experimental: no protocol stack answers it
PORT = 9  # discard (RFC 863): closed in a pod unless somebody means it, so TCP answers with RST

_FIRST_SOURCE_PORT, _SOURCE_PORTS = 20000, 40000
_FILL = b"multinet probe"
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_ICMP6, _SOLICITATION, _ADVERTISEMENT, _TARGET_MAC = 58, 135, 136, 2


@dataclass(frozen=True, slots=True)
class Hop:
    """One frame's addressing: Ethernet source and next hop, IP source and destination, all as text."""

    source_mac: str
    target_mac: str
    source_ip: str
    target_ip: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a captured frame is to the prober.

    ``kind`` is a probe (a protocol, or ``control``) or an answer, of either family: ``icmp-reply`` and
    ``icmp-error`` carry the probe's id; ``arp-reply`` has ``mac`` (the answer) and key ``(asked IP, asking
    MAC)``; ``tcp-reply`` has key ``(source IP, source port, destination IP, destination port)``.
    """

    kind: str
    probe_id: int = -1
    mac: str = ""
    key: tuple[str | int, ...] = ()


def build(protocol: str, nonce: bytes, probe_id: int, hop: Hop) -> bytes:
    """The probe frame of ``protocol``, of either family; an ARP or ND probe asks for ``hop.target_ip``."""
    if protocol in PROTOCOLS6:
        return _build6(protocol, nonce, probe_id, hop)
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
    if ethertype == _IPV6:
        return _parse6(frame, probe_id)
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
    if ethertype == _IPV6 and len(frame) >= 78 and frame[20] == _ICMP6 and frame[54] == _ADVERTISEMENT:
        asked = str(ipaddress.IPv6Address(frame[62:78]))
        own = len(frame) >= 86 and frame[78] == _TARGET_MAC
        mac = frame[80:86] if own else frame[6:12]
        return Parsed("arp-reply", mac=mac.hex(":"), key=(asked, frame[0:6].hex(":")))
    if ethertype == _IPV6 and frame[20] == 6:
        return _tcp_reply(frame, 54, (22, 38), 16)
    if ethertype == _IPV4 and frame[23] == 6:
        return _tcp_reply(frame, 14 + (frame[14] & 0xF) * 4, (26, 30), 4)
    return None


def _tcp_reply(frame: bytes, transport: int, addresses: tuple[int, int], width: int) -> Parsed | None:
    if len(frame) < transport + 14:
        return None
    flags = frame[transport + 13]
    if not flags & 0x04 and flags & 0x12 != 0x12:  # neither RST nor SYN+ACK
        return None
    source_ip, target_ip = (str(ipaddress.ip_address(frame[at : at + width])) for at in addresses)
    from_port, to_port = struct.unpack_from("!HH", frame, transport)
    return Parsed("tcp-reply", key=(source_ip, from_port, target_ip, to_port))


def solicited(address: str) -> tuple[str, str]:
    """Whom a neighbour solicitation for an address goes to: multicast MAC and address (RFC 4291, 2.7.1)."""
    last = ipaddress.IPv6Address(address).packed[13:]
    group = ipaddress.IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + last)
    return (b"\x33\x33\xff" + last).hex(":"), str(group)


def _build6(protocol: str, nonce: bytes, probe_id: int, hop: Hop) -> bytes:
    frame = bytearray(_template6(protocol))
    source, target = _ip(hop.source_ip), _ip(hop.target_ip)
    signature = nonce + struct.pack("!I", probe_id)
    frame[0:12] = _mac(hop.target_mac) + _mac(hop.source_mac)
    frame[22:38] = source
    frame[38:54] = _ip(solicited(hop.target_ip)[1]) if protocol == "nd" else target
    if protocol == "nd":
        sum_at = 56
        frame[62:78] = target
        frame[80:86] = _mac(hop.source_mac)
        frame[88 : 88 + len(signature)] = signature
    elif protocol == "icmp6":
        sum_at = 56
        struct.pack_into("!HH", frame, 58, source_port(probe_id), probe_id & 0xFFFF)
        frame[62 : 62 + len(signature)] = signature
    else:
        sum_at, payload = (60, 62) if protocol == "udp6" else (70, 74)
        struct.pack_into("!H", frame, 54, source_port(probe_id))
        if protocol == "tcp6":
            struct.pack_into("!I", frame, 58, probe_id)
        frame[payload : payload + len(signature)] = signature
    pseudo = bytes(frame[22:54]) + struct.pack("!IxxxB", len(frame) - 54, frame[20])
    value = checksum(pseudo + bytes(frame[54:]))
    # RFC 8200, 8.1: a UDP checksum that computes to zero is sent as all ones.
    struct.pack_into("!H", frame, sum_at, 0xFFFF if protocol == "udp6" and value == 0 else value)
    return bytes(frame)


def _parse6(frame: bytes, probe_id: int) -> Parsed | None:
    """A frame of IPv6 with our signature in it."""
    if len(frame) < 55:
        return None
    if frame[20] == _ICMP6:
        kinds = {
            128: "icmp6",
            129: "icmp-reply",
            _SOLICITATION: "nd",
            **dict.fromkeys(range(1, 5), "icmp-error"),
        }
        kind = kinds.get(frame[54], "")
    else:
        kind = {17: "udp6", 6: "tcp6"}.get(frame[20], "")
    return Parsed(kind, probe_id) if kind else None


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
def _template6(protocol: str) -> bytes:
    layers, six = _scapy(), _scapy6()
    nowhere, zero = "::", "00:00:00:00:00:00"
    ether = layers.Ether(dst=zero, src=zero)
    if protocol == "nd":
        options = six.ICMPv6NDOptSrcLLAddr(lladdr=zero) / six.ICMPv6NDOptUnknown(
            type=14, len=2, data=bytes(14)
        )
        asked = six.ICMPv6ND_NS(tgt=nowhere, cksum=0) / options
        return bytes(ether / six.IPv6(src=nowhere, dst=nowhere, hlim=255) / asked)
    transport = {
        "icmp6": lambda: six.ICMPv6EchoRequest(id=0, seq=0, cksum=0),
        "udp6": lambda: layers.UDP(sport=0, dport=PORT, chksum=0),
        "tcp6": lambda: layers.TCP(sport=0, dport=PORT, flags="S", seq=0, chksum=0),
    }[protocol]()
    body = layers.Raw(bytes(NONCE_LENGTH + 4) + _FILL)
    return bytes(ether / six.IPv6(src=nowhere, dst=nowhere, hlim=64) / transport / body)


@functools.cache
def _scapy6() -> Any:
    """The layers of IPv6, which take as long again, and which a lab without it does not need."""
    _scapy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers import inet6
    return inet6


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
    return ipaddress.ip_address(text).packed


def prepare(protocol: str) -> None:
    """Make the template now, so that scapy's import falls into no time-bound window."""
    (_template6 if protocol in PROTOCOLS6 else _template)(protocol)
