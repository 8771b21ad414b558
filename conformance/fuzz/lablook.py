"""What a node of a lab shows: its kernel and its sandboxes' by netlink, and the files of kubelet and agent.

One pass per node. Sandboxes are looked at in one short-lived thread that goes from one to the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from conformance.fuzz.observing import NodeView, Plugged
from conformance.fuzz.seen import SeenInterface
from multinet.vrouter import addressing, kernelstate, marks
from multinet.vrouter.netlink import Socket
from traffic import netlink, netns


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as the kubelet notes it."""

    uid: str
    pod: str
    container: str
    pid: int

    @property
    def netns(self) -> str:
        """Its network namespace."""
        return f"/proc/{self.pid}/ns/net"


class NodeEyes:
    """Looks at one node. ``root`` has the node's files; ``own`` is its network namespace."""

    def __init__(self, name: str, address: str, root: Path, own: str) -> None:
        self.name, self.address = name, address
        self._root = root
        self._socket: Socket = netns.inside(own, Socket)

    def close(self) -> None:
        """Let go of the node."""
        self._socket.close()

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its files."""
        return self._root / "agent"

    def sandboxes(self) -> list[Sandbox]:
        """All the kubelet has on file."""
        found = []
        for path in sorted((self._root / "kubelet" / "sandboxes").glob("*.json")):
            try:
                record: dict[str, Any] = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue
            pod = f"{record['namespace']}/{record['name']}"
            found.append(Sandbox(record["uid"], pod, record["containerID"], int(record["pid"])))
        return found

    def look(self, *, cut: bool) -> NodeView:
        """Everything of the node."""
        sandboxes = self.sandboxes()
        containers = {sandbox.container for sandbox in sandboxes}
        links = kernelstate.read_links(self._socket)
        names = {link.name for link in links.values()}
        strays = [
            Plugged("", f"{link.alias.partition(';')[0]} ({link.name})", ())
            for link in links.values()
            if (stray := marks.stray_of(link)) is not None and stray.container not in containers
        ]
        networks = {
            int(link.name[3:], 16): link.index for link in links.values() if link.name.startswith("vx-")
        }
        bridged = {vni for vni in networks if f"br-{vni:x}" in names}
        inside = netns.visit({one.container: one.netns for one in sandboxes}, lambda _name: _interfaces())
        plugged = [
            Plugged(one.uid, one.pod, found)
            for one in sandboxes
            if not isinstance(found := inside[one.container], OSError) and found
        ]
        files = self.state_dir.glob("*")
        return NodeView(
            name=self.name,
            address=self.address,
            cut=cut,
            plugged=(*plugged, *strays),
            files=frozenset(path.stem for path in files if path.suffix in (".json", ".partial")),
            sandboxes=frozenset(containers),
            remotes=self._remotes(networks, bridged),
            by_address=frozenset(networks.keys() - bridged),
        )

    def _remotes(self, networks: dict[int, int], bridged: set[int]) -> dict[int, frozenset[tuple[str, str]]]:
        """By MAC in bridged networks, by address in routed ones."""
        entries = [entry for entry in kernelstate.read_forwarding(self._socket) if entry.own and entry.node]
        routes = [route for route in kernelstate.read_routes(self._socket) if route.gateway]
        return {
            vni: frozenset(
                (entry.mac, entry.node)
                for entry in entries
                if entry.device == index and entry.mac != addressing.FLOOD_MAC
            )
            if vni in bridged
            else frozenset(
                (route.destination.partition("/")[0], route.gateway)
                for route in routes
                if route.device == index
            )
            for vni, index in networks.items()
        }


def _interfaces() -> tuple[SeenInterface, ...]:
    """Those of the namespace that the calling thread is in."""
    addresses = netlink.addresses()
    return tuple(
        SeenInterface(
            link.name,
            link.mac,
            tuple(
                one.cidr.partition("/")[0]
                for one in addresses
                if one.ifindex == link.ifindex and not ip_address(one.cidr.partition("/")[0]).is_link_local
            ),
        )
        for link in netlink.links()
        if not link.loopback
    )
