"""Rate limits of one pod interface (tc-tbf(8), tc-mirred(8)), as requests and as the kernel shows them.

Both limits stand on the node, where the pod can't take them away. Into the pod: a token bucket on the node's
end of the veth. Out of it: what arrives at that end is sent through a device of its own (ifb) with a token
bucket, and goes on from there as if nothing had happened; arriving traffic has no queue of its own, and
this kernel family need not have the ``police`` action.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from multinet.vrouter import links, netlink
from multinet.vrouter.datapath import Port
from multinet.vrouter.netlink import Request

_ROOT, _INGRESS_PARENT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_LINKLAYER_ETHERNET = 1
_U32_SEL, _U32_ACT, _U32_TERMINAL = 5, 7, 1
_ACT_KIND, _ACT_OPTIONS, _MIRRED_PARMS, _STOLEN, _REDIRECT = 1, 2, 2, 4, 1
_ALL_PROTOCOLS, _PREFERENCE = 0x0300, 1  # ETH_P_ALL in network byte order
_RATE = struct.Struct("=BBHhHI")
_MIRRED = struct.Struct("=IIiiiiI")
_MOST = (1 << 32) - 1
_HEADERS = 64
_PATIENCE = 20
"""The part of a second whose traffic a bucket holds where no burst was asked for, and whose traffic waits."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket at the root of a device: bytes per second; bytes at once; bytes that may wait."""

    device: int
    rate: int
    burst: int
    limit: int

    @classmethod
    def of(cls, device: int, rate: int, burst: int, mtu: int) -> Bucket:
        """From bits per second and bits. A bucket smaller than a packet would let none through."""
        frame = mtu + _HEADERS
        per_second = max(1, rate // 8)
        size = burst // 8 if burst else max(per_second // _PATIENCE, 8 * frame)
        size = min(max(size, frame), _MOST)
        return cls(device, per_second, size, min(size + max(per_second // _PATIENCE, 2 * frame), _MOST))

    def add(self, name: str) -> Request:
        """Have it; ``name`` is the device's, for messages."""
        short = min(self.rate, _MOST)
        parameters = _RATE.pack(0, _LINKLAYER_ETHERNET, 0, 0, 0, short) + bytes(_RATE.size)
        parameters += struct.pack("=III", self.limit, 0, 0)
        options = netlink.attribute(_TBF_PARMS, parameters) + netlink.u32(_TBF_BURST, self.burst)
        if self.rate >= _MOST:
            options += netlink.u64(_TBF_RATE64, self.rate)
        body = _header(self.device, parent=_ROOT) + netlink.text(_TCA_KIND, "tbf")
        body += netlink.nested(_TCA_OPTIONS, options)
        return Request(netlink.NEWQDISC, netlink.CREATE | netlink.EXCL, body, f"limit the rate of {name}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel has: (rate, limit) of token buckets by device, and where arriving traffic is sent."""

    buckets: Mapping[int, tuple[int, int]]
    redirected: Mapping[int, int]


def into_pod(port: Port) -> Bucket | None:
    """The limit on what the pod receives."""
    asked = port.wanted.bandwidth
    if asked is None or not asked.ingress_rate:
        return None
    return Bucket.of(port.host_index, asked.ingress_rate, asked.ingress_burst, port.mtu)


def out_of_pod(port: Port) -> Bucket | None:
    """The limit on what the pod sends, on the device it is led through."""
    asked = port.wanted.bandwidth
    if asked is None or not asked.egress_rate:
        return None
    return Bucket.of(port.shaper_index, asked.egress_rate, asked.egress_burst, port.mtu)


def requests(port: Port, group: int) -> list[Request]:
    """All that an interface's limits need; its veth is there already."""
    made: list[Request] = []
    if (bucket := into_pod(port)) is not None:
        made.append(bucket.add(port.host_name))
    if (bucket := out_of_pod(port)) is not None:
        made.append(links.ifb(port.shaper_name, port.shaper_index, mtu=port.mtu, group=group))
        made.append(bucket.add(port.shaper_name))
        made += [_ingress(port), _redirect(port)]
    return made


def read(through: netlink.Socket, ports: Iterable[Port]) -> Seen:
    """The limits that the kernel has on these interfaces."""
    buckets = {}
    for body in through.dump(netlink.GETQDISC, _header(0)):
        device, parent = _device(body), struct.unpack_from("=I", body, 12)[0]
        values = dict(netlink.attributes(body[20:]))
        if parent == _ROOT and values.get(_TCA_KIND) == b"tbf\0":
            options = dict(netlink.attributes(values.get(_TCA_OPTIONS, b"")))
            rate = struct.unpack_from("=I", options[_TBF_PARMS], 8)[0]
            if _TBF_RATE64 in options:
                rate = struct.unpack("=Q", options[_TBF_RATE64])[0]
            buckets[device] = rate, struct.unpack_from("=I", options[_TBF_PARMS], 2 * _RATE.size)[0]
    redirected = {}
    for port in ports:
        if port.shaper_index:
            for body in through.dump(netlink.GETTFILTER, _header(port.host_index, parent=_INGRESS)):
                redirected.update(_redirection(body))
    return Seen(buckets, redirected)


def problems(ports: Sequence[Port], through: netlink.Socket) -> Iterator[str]:
    """Limits that are missing or different, in words."""
    limited = [port for port in ports if port.wanted.bandwidth is not None]
    seen = read(through, limited) if limited else Seen({}, {})
    for port in limited:
        name = port.wanted.name
        for bucket, way in ((into_pod(port), "into"), (out_of_pod(port), "out of")):
            if bucket is not None and seen.buckets.get(bucket.device) != (bucket.rate, bucket.limit):
                yield f"{name}: the limit of {bucket.rate * 8} bit/s on what goes {way} the pod is gone"
        if port.shaper_index and seen.redirected.get(port.host_index) != port.shaper_index:
            yield f"{name}: what comes out of the pod is not led through its limit {port.shaper_name}"


def _ingress(port: Port) -> Request:
    body = _header(port.host_index, parent=_INGRESS_PARENT, handle=_INGRESS)
    body += netlink.text(_TCA_KIND, "ingress")
    what = f"catch what arrives at {port.host_name}"
    return Request(netlink.NEWQDISC, netlink.CREATE | netlink.EXCL, body, what)


def _redirect(port: Port) -> Request:
    """Everything, of whatever protocol, to the ifb (u32 with one key that matches all)."""
    mirred = _MIRRED.pack(0, 0, _STOLEN, 0, 0, _REDIRECT, port.shaper_index)
    action = netlink.text(_ACT_KIND, "mirred")
    action += netlink.nested(_ACT_OPTIONS, netlink.attribute(_MIRRED_PARMS, mirred))
    everything = struct.pack("=BBBBHHhhI", _U32_TERMINAL, 0, 1, 0, 0, 0, 0, 0, 0) + bytes(16)
    options = netlink.nested(_U32_ACT, netlink.nested(1, action))
    options += netlink.attribute(_U32_SEL, everything)
    body = _header(port.host_index, parent=_INGRESS, info=_PREFERENCE << 16 | _ALL_PROTOCOLS)
    body += netlink.text(_TCA_KIND, "u32") + netlink.nested(_TCA_OPTIONS, options)
    what = f"lead what arrives at {port.host_name} through {port.shaper_name}"
    return Request(netlink.NEWTFILTER, netlink.CREATE | netlink.EXCL, body, what)


def _redirection(body: bytes) -> dict[int, int]:
    """``{device: the device its traffic is sent to}`` of one dumped filter; empty for another kind."""
    values = dict(netlink.attributes(body[20:]))
    options = dict(netlink.attributes(values.get(_TCA_OPTIONS, b"")))
    for _, action in netlink.attributes(options.get(_U32_ACT, b"")):
        kept = dict(netlink.attributes(action))
        mirred = dict(netlink.attributes(kept.get(_ACT_OPTIONS, b""))).get(_MIRRED_PARMS, b"")
        if kept.get(_ACT_KIND) == b"mirred\0" and len(mirred) >= _MIRRED.size:
            return {_device(body): _MIRRED.unpack_from(mirred)[6]}
    return {}


def _device(body: bytes) -> int:
    return int(struct.unpack_from("=i", body, 4)[0])


def _header(index: int, *, parent: int = 0, handle: int = 0, info: int = 0) -> bytes:
    """``struct tcmsg``."""
    return struct.pack("=BBHiIII", 0, 0, 0, index, handle, parent, info)
