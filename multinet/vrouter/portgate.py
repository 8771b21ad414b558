"""The way from a node's host ports into its bridged networks, and no other.

The gateways of bridged networks live in a network namespace of their own (:mod:`multinet.vrouter.gateways`),
out of the node's reach. When the first port of such a network is published, one veth joins the two. The node
sends a published port there unchanged; there a packet is marked with its network, as everything is that comes
from a gateway's port, and translated: to the pod's address and port, and from the network's own gateway, so
that the answer finds its way back without a route in the pod. Nothing is forwarded but these connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from multinet.vrouter import addressing, kernelstate, links, netns, nft
from multinet.vrouter.datapath import DatapathError, Network
from multinet.vrouter.gateways import mark_of
from multinet.vrouter.netlink import CREATE, DELLINK, EXCL, NEWRULE, Request, Socket, u32

TABLE = "multinet-hostports"
#: Both ends of the veth; nobody beyond it ever sees them.
_NEAR_ADDRESS, GATE_ADDRESS = "169.254.109.1", "169.254.109.2"
_NEAR, FAR_NAME = "hostports", "hostports"
_FAR_MAC = "02:6d:00:00:00:02"
_MTU = 1500
_FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _TO_TABLE = 6, 10, 15, 1
#: Mark and table of answers, and a rule for them before those of the way out (multinet.vrouter.fabric).
_BACK, _BEFORE_EXITS = 0x6F00_0001, 800
_SETTINGS = {"ipv4/ip_forward": "1", "ipv4/conf/all/send_redirects": "0"}
_SCRIPT = f"""
add table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
  map marks {{ type inet_proto . inet_service : mark; }}
  map targets {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map sources {{ type mark : ipv4_addr; }}
  chain marking {{
    type filter hook prerouting priority -150; policy accept;
    ct direction reply ct status dnat meta mark set {_BACK:#x}
    iifname "{FAR_NAME}" meta mark set meta l4proto . th dport map @marks
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{FAR_NAME}" meta l4proto {{ tcp, udp, sctp }} dnat to meta l4proto . th dport map @targets
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "{FAR_NAME}" ct status dnat snat to meta mark map @sources
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{FAR_NAME}" ct status dnat accept
    oifname "{FAR_NAME}" ct direction reply ct status dnat accept
    iifname "{FAR_NAME}" drop
    oifname "{FAR_NAME}" drop
  }}
}}
"""


class Way(Protocol):
    """What a gate needs to know of a published port."""

    @property
    def key(self) -> str:
        """Protocol and number, as nft writes them."""

    @property
    def network(self) -> Network:
        """The network it leads to."""

    @property
    def address(self) -> str:
        """The pod's address there."""

    @property
    def target(self) -> int:
        """The pod's port."""


class PortGate:
    """The gate of one node. ``path`` is the namespace of the gateways, ``inside`` the node's, if not ours."""

    def __init__(self, path: str, *, inside: int | None = None) -> None:
        self._path = path
        self._inside = inside
        self._held: dict[str, Way] = {}

    def open(self, known: Iterable[Way]) -> None:
        """Have exactly these ways; without any there is no gate."""
        self._held = {each.key: each for each in known}
        if self._held:
            self._make()
        else:
            self._unmake()

    def admit(self, ways: Sequence[Way]) -> None:
        """Have more ways; ``DatapathError`` when one can't be had, and then none of them is."""
        before = dict(self._held)
        self._held.update({each.key: each for each in ways})
        try:
            self._make()
        except BaseException:
            self._held = before
            raise

    def dismiss(self, keys: Iterable[str]) -> None:
        """Take ways back; the gate goes with the last one."""
        self.open([each for key, each in self._held.items() if key not in set(keys)])

    def restore(self) -> None:
        """Make the rules again, if there are any ways."""
        if self._held:
            self._make()

    def _make(self) -> None:
        text = _SCRIPT + "".join(f"{line}\n" for line in _elements(self._held.values()))
        if not os.path.exists(self._path):  # noqa: PTH110 - no Path is made of it anywhere
            raise DatapathError(
                f"host ports {', '.join(self._held)} can't lead into bridged networks",
                why="gateways of bridged networks do not answer on this node",
                next_step="see ./lab doctor: nft is needed",
            )
        with netns.opened(self._path) as far:
            self._join(far)
            nft.apply(text, inside=far)

    def _join(self, far: int) -> None:
        """The veth with its addresses and the way back; what is there already stays."""
        with _socket(self._inside) as near:
            if _index(near, _NEAR) == 0:
                peer = links.Peer(FAR_NAME, 0, _FAR_MAC, far)
                near.send([links.veth(_NEAR, 0, peer, mtu=_MTU, group=0)])
            near.send([addressing.address(_index(near, _NEAR), f"{_NEAR_ADDRESS}/30", shared=True)])
        with netns.entered(far):
            netns.write_settings(_SETTINGS)
        with _socket(far) as through:
            index = _index(through, FAR_NAME)
            through.send(
                [
                    links.set_up(index, FAR_NAME),
                    addressing.address(index, f"{GATE_ADDRESS}/30", shared=True),
                    addressing.route("0.0.0.0/0", index, via=_NEAR_ADDRESS, table=_BACK),
                    _back_rule(),
                ]
            )

    def _unmake(self) -> None:
        with _socket(self._inside) as near:
            if index := _index(near, _NEAR):
                near.send([Request(DELLINK, 0, links.header(index), f"delete {_NEAR}")])
        if not os.path.exists(self._path):  # noqa: PTH110 - no Path is made of it anywhere
            return
        with netns.opened(self._path) as far:
            if nft.exists("ip", TABLE, inside=far):
                nft.apply(f"add table ip {TABLE}\ndelete table ip {TABLE}\n", inside=far)


def _back_rule() -> Request:
    """What carries the mark of an answer goes back to the node; one that is there is fine."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    body += u32(_FRA_PRIORITY, _BEFORE_EXITS) + u32(_FRA_FWMARK, _BACK) + u32(_FRA_TABLE, _BACK)
    return Request(NEWRULE, CREATE | EXCL, body, "add the rule of answers", addressing.THERE)


@contextlib.contextmanager
def _socket(inside: int | None) -> Iterator[Socket]:
    """A socket of another namespace, or of the current one."""
    with contextlib.nullcontext() if inside is None else netns.entered(inside):
        made = Socket()
    with contextlib.closing(made):
        yield made


def _index(through: Socket, name: str) -> int:
    """The ifindex of a device; 0 when there is none of that name."""
    found = (index for index, link in kernelstate.read_links(through).items() if link.name == name)
    return next(found, 0)


def _elements(ways: Iterable[Way]) -> Iterator[str]:
    marks, targets, sources = [], [], {}
    for each in ways:
        mark = f"{mark_of(each.network):#x}"
        gateway = next((address for address in each.network.services if ":" not in address), "")
        if not gateway:
            raise DatapathError(
                f"host port {each.key} can't lead into network VNI {each.network.vni}",
                why="the network has no gateway address to come from",
                next_step="give the network a gateway, or remove portMappings",
            )
        marks.append(f"{each.key} : {mark}")
        targets.append(f"{each.key} : {each.address} . {each.target}")
        sources[mark] = gateway
    yield f"add element ip {TABLE} marks {{ {', '.join(marks)} }}"
    yield f"add element ip {TABLE} targets {{ {', '.join(targets)} }}"
    listed = ", ".join(f"{mark} : {gateway}" for mark, gateway in sources.items())
    yield f"add element ip {TABLE} sources {{ {listed} }}"
