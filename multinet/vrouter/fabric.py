"""``ip_fabric_snat``: a way out of a bridged network to the nodes' own, for traffic that asks for it.

A pod's default route is on eth0, so only what it routes to the network's gateway explicitly comes here. The
gateway (:mod:`multinet.vrouter.gateways`) then forwards it to the node over one veth that all such networks
share, with an address of the link for source; the node puts its own address in place of that, with ports of
the ranges that the original has for it. Answers find the network again by the connection's mark, since
networks may have the same addresses; each has a zone of its own to begin connections in.

Out means to what the node reaches through its underlay device, and to the node itself: not to pods, services
or other networks, and not to the nodes' VXLAN port, through which a pod could get frames into any network.
Nothing gets in. IPv4 only.
"""

from __future__ import annotations

from collections.abc import Mapping

from multinet.vrouter import addressing, kernelstate, links, netlink, netns, nft
from multinet.vrouter.forwarding import Place
from multinet.vrouter.links import VXLAN_PORT
from multinet.vrouter.rules import Rule

TABLE = "multinet_fabric"
NEAR_NAME, FAR_NAME = "fabric-gw", "fabric"
_NEAR, _FAR, _LENGTH = "169.254.77.1", "169.254.77.2", 30
_NEAR_MAC, _FAR_MAC = "02:59:00:00:00:01", "02:59:00:00:00:02"
_WAY_OUT, _BEFORE_MARKS = 0x6F00_0000, 900
#: The original's ports for it (TCP, UDP).
TCP_PORTS, UDP_PORTS = "56000-57023", "57024-58047"


class FabricExit:
    """The exit of one node. ``gateways`` and ``node`` are descriptors of the two network namespaces."""

    def __init__(self, gateways: int, node: int, node_ip: str, underlay: str) -> None:
        self._gateways, self._node = gateways, node
        self._node_ip, self._underlay = node_ip, underlay
        self._zones: dict[int, Place] = {}

    @property
    def names(self) -> frozenset[str]:
        """The devices on the node that are needed now."""
        return frozenset([NEAR_NAME]) if self._zones else frozenset()

    def open(self, place: Place) -> None:
        """Let a network out; ``NetlinkError`` or ``DatapathError`` on failure."""
        if not self._zones:
            self._make(place)
        zone = place.network.vni & 0xFFFF or 1
        while self._zones.get(zone, place).network.vni != place.network.vni:
            zone = zone % 0xFFFF + 1
        self._zones[zone] = place
        self._inside(_rule(place).add())
        nft.apply(gateway_script(self._zones), inside=self._gateways)

    def leave(self, place: Place) -> None:
        """Let it out no more; with the last one everything goes."""
        self._zones = {zone: each for zone, each in self._zones.items() if each.network != place.network}
        self._inside(_rule(place).delete())
        nft.apply(gateway_script(self._zones), inside=self._gateways)
        if not self._zones:
            nft.apply(_gone("ip"), inside=self._node)
            with netns.entered(self._node):
                through = netlink.Socket()
            try:
                index = _index_of(through, NEAR_NAME)
                through.send([links.delete(index, NEAR_NAME)] if index else [])
            finally:
                through.close()

    def restore(self) -> None:
        """Make the rules again that are needed now."""
        if self._zones:
            nft.apply(gateway_script(self._zones), inside=self._gateways)
            nft.apply(node_script(self._node_ip, self._underlay), inside=self._node)

    def _make(self, place: Place) -> None:
        with netns.entered(self._node):
            through = netlink.Socket()
        try:
            if not _index_of(through, NEAR_NAME):
                peer = links.Peer(FAR_NAME, 0, _FAR_MAC, self._gateways)
                pair = links.veth(NEAR_NAME, 0, peer, mtu=place.mtu, group=place.group, mac=_NEAR_MAC)
                through.send([pair])
            index = _index_of(through, NEAR_NAME)
            near = addressing.address(index, f"{_NEAR}/{_LENGTH}", shared=True)
            through.send([near, links.set_alias(index, "multinet ip_fabric_snat")])
        finally:
            through.close()
        with netns.entered(self._gateways):
            netns.write_settings({"ipv4/ip_forward": "1"})
            through = netlink.Socket()
        try:
            index = _index_of(through, FAR_NAME)
            through.send(
                [
                    links.set_up(index, FAR_NAME),
                    addressing.address(index, f"{_FAR}/{_LENGTH}", shared=True),
                    addressing.route("0.0.0.0/0", index, via=_NEAR, table=_WAY_OUT),
                ]
            )
        finally:
            through.close()
        nft.apply(node_script(self._node_ip, self._underlay), inside=self._node)

    def _inside(self, *requests: netlink.Request) -> None:
        with netns.entered(self._gateways):
            through = netlink.Socket()
        try:
            through.send(requests)
        finally:
            through.close()


def gateway_script(zones: Mapping[int, Place]) -> str:
    """What the namespace of the gateways needs: zones, marks, and who may go where."""
    if not zones:
        return _gone("inet")
    ports = ", ".join(f'"{place.gateway_name}"' for place in zones.values())
    begun = "\n".join(
        f'    iifname "{each.gateway_name}" ct original zone set {zone}' for zone, each in zones.items()
    )
    own = "\n".join(
        f'    iifname "{each.gateway_name}" ip daddr != {{ {", ".join(_ipv4(each))} }} drop'
        for each in zones.values()
    )
    return f"""{_gone("inet")}table inet {TABLE} {{
  chain zones {{
    type filter hook prerouting priority raw; policy accept;
{begun}
  }}
  chain marks {{
    type filter hook prerouting priority mangle; policy accept;
    iifname {{ {ports} }} ct mark set meta mark
    iifname "{FAR_NAME}" meta mark set ct mark
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
{own}
    iifname "{FAR_NAME}" drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    iifname {{ {ports} }} oifname "{FAR_NAME}" accept
    iifname "{FAR_NAME}" ct state established,related accept
    # Host ports have rules of their own (multinet.vrouter.portgate).
    iifname "hostports" accept
    oifname "hostports" accept
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{FAR_NAME}" masquerade
  }}
}}
"""


def node_script(node_ip: str, underlay: str) -> str:
    """What the node needs: where that traffic may go, and its source address."""
    source = f'ip saddr {_FAR} oifname "{underlay}"'
    return f"""{_gone("ip")}table ip {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "{NEAR_NAME}" udp dport {VXLAN_PORT} drop
    iifname "{NEAR_NAME}" ip daddr != {node_ip} drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{NEAR_NAME}" udp dport {VXLAN_PORT} drop
    iifname "{NEAR_NAME}" oifname != "{underlay}" drop
    oifname "{NEAR_NAME}" ct state != {{ established, related }} drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {source} meta l4proto tcp masquerade to :{TCP_PORTS}
    {source} meta l4proto udp masquerade to :{UDP_PORTS}
    {source} masquerade
  }}
}}
"""


def _gone(family: str) -> str:
    return f"table {family} {TABLE}\ndelete table {family} {TABLE}\n"


def _rule(place: Place) -> Rule:
    """What comes in by a network's port goes out; the gateway's own answers are no such packets."""
    return Rule(_BEFORE_MARKS, _WAY_OUT, device=place.gateway_name)


def _ipv4(place: Place) -> list[str]:
    return [service for service in place.network.services if ":" not in service]


def _index_of(through: netlink.Socket, name: str) -> int:
    found = (link.index for link in kernelstate.read_links(through).values() if link.name == name)
    return next(found, 0)
