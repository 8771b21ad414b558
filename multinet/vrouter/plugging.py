"""The interfaces of one pod, in two sends: their ends on the node, and those in the pod. No state."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from multinet.vrouter import forwarding, links, marks, netns, shaping
from multinet.vrouter.datapath import Attachment, Port
from multinet.vrouter.netlink import Request, Socket
from multinet.vrouter.presence import Presence


def near_ends(
    attachment: Attachment, ports: Sequence[Port], networks: Mapping[int, Presence], pod_netns: int
) -> list[Request]:
    """What to send in the node's namespace; it makes both ends of each interface."""
    requests = []
    for port in ports:
        active = networks[port.wanted.network.vni]
        requests += active.plug(port, pod_netns)
        requests.append(links.set_alias(port.host_index, marks.alias_of(attachment, port)))
        requests += shaping.requests(port, active.place.group)
    return requests


def furnish(ports: Sequence[Port], pod_netns: int, *, ipv6: bool) -> None:
    """Give the pod's ends their settings, addresses and routes; ``NetlinkError`` on failure."""
    requests = [links.set_up(1, "lo")]
    for port in ports:
        requests += forwarding.pod_side(port, ipv6=ipv6)
    with netns.entered(pod_netns):
        for port in ports:
            netns.write_settings(forwarding.pod_settings(port))
        through = Socket()
    with contextlib.closing(through):
        through.send(requests)
