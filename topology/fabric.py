"""The machines of a lab and the wire between them: Mininet hosts on one Linux bridge.

Stock Mininet needs 16 ms to build and 28 ms to stop one host, nearly all of it in ``ifconfig`` and ``ip``
processes and in deleting each link (an RCU wait). The classes here keep Mininet's API (``net.get("node1")``,
``.cmd()``, ``.popen()``, ``link.intf1``) and replace how things come and go:

- a link's host end is born in the host's namespace, with its name, MAC, MTU and address, by two netlink
  requests; nothing is moved or renamed (moving costs 16 ms);
- nothing is deleted at the end: the lab's namespaces end, and the kernel takes everything at once;
- Mininet's own preparations and clean-ups are left out: ``fixLimits`` changes sysctls of the machine,
  ``ensureRoot`` exits the process, and ``mn -c`` kills processes by name.

Each host has a UTS namespace (its own host name) and private directories in its mount namespace, since what
is mounted below a shared ``/run/netns`` would leave stale files in the other hosts' view.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any

from multinet.model.networks import (
    DEFAULT_POD_CIDR,
    DEFAULT_POD_CIDR6,
    DEFAULT_SERVICE_CIDR,
    DEFAULT_SERVICE_CIDR6,
)
from topology import linux
from topology.backend import Wire
from topology.mininet_api import Host, Intf, Link, Mininet, Switch
from topology.rtnl import Route

FABRIC = "fabric"
FABRIC_ADDRESS = IPv4Interface("100.64.0.1/24")
_FABRIC_BLOCK6 = IPv6Network("fd00:100:64::/64")
CONTROL_PLANE = "cp"
CONTROL_PLANE_IP = IPv4Address("100.64.0.10")
_SPARE_MTU = 1500
_SPARE_INDEX = 10_000
PRIVATE_DIRS = ("/run/netns", "/run/multinet-agent")


def node_address(index: int) -> IPv4Interface:
    """The fabric address of worker ``index`` (0, 1, ...): 100.64.0.11/24 and upwards."""
    return IPv4Interface((CONTROL_PLANE_IP + 1 + index, FABRIC_ADDRESS.network.prefixlen))


def address6(address: IPv4Address) -> IPv6Interface:
    """The IPv6 address beside an IPv4 one of the fabric: fd00:100:64::11/64 beside 100.64.0.11."""
    third, fourth = address.packed[2:]
    host = int(str(third), 16) << 16 | int(str(fourth), 16)
    return IPv6Interface((_FABRIC_BLOCK6[host], _FABRIC_BLOCK6.prefixlen))


def fabric_mac(address: IPv4Address) -> str:
    """A locally administered MAC made of the address, so that captures can be read without a table."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in address.packed)


class NodeHost(Host):  # type: ignore[misc]
    """A Mininet host with a host name and private directories of its own."""

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        if self.shell is None:  # the host's shell, from which its namespaces hang
            params["preexec_fn"] = _own_uts
        return super()._popen(cmd, **params)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """Start a command in the host, its UTS namespace included (``mnexec -a`` leaves that out)."""
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "--"]
        kwargs.setdefault("mncmd", ["mnexec", "-d", *enter])
        return super().popen(*args, **kwargs)

    def mountPrivateDirs(self) -> None:
        """Set the host name and mount all private directories with one command of the host's shell."""
        with linux.joined(self.pid, "uts"):
            socket.sethostname(self.name)
        mounts = [f"mount -n -t tmpfs -o mode=0755 tmpfs {directory}" for directory in PRIVATE_DIRS]
        failure = self.cmd(" && ".join([f"mkdir -p {' '.join(PRIVATE_DIRS)}", *mounts]))
        if failure.strip():
            raise OSError(0, f"{self.name}: private directories: {failure.strip()}")

    def mount_state(self, directory: Path) -> None:
        """Put an empty file system over ``directory``, or over its parent where the machine lacks it."""
        place = directory if directory.is_dir() else directory.parent
        failure = self.cmd(f"mount -n -t tmpfs -o mode=0755 tmpfs {place} && mkdir -p {directory}")
        if failure.strip():
            raise OSError(0, f"{self.name}: {directory}: {failure.strip()}")

    def unmountPrivateDirs(self) -> None:
        """Nothing to do: they end with the host's mount namespace."""

    def config(self, **_params: Any) -> dict[str, str]:
        """Nothing to do: links are made with their addresses."""
        return {}


def _own_uts() -> None:
    linux.unshare(linux.CLONE_NEWUTS)


class FabricIntf(Intf):  # type: ignore[misc]
    """An interface made complete by its link; Mininet only has to know its address."""

    def __init__(self, name: str, *, ip: str | None = None, **params: Any) -> None:
        super().__init__(name, **params)
        if ip is not None:
            self.ip, self.prefixLen = ip.split("/")

    def config(self, **_params: Any) -> dict[str, str]:
        """Nothing to do."""
        return {}


class FabricLink(Link):  # type: ignore[misc]
    """A veth from a host to the fabric: ``eth0`` on the host, ``fabric-ethN`` on the bridge."""

    def __init__(
        self,
        host: NodeHost,
        switch: FabricBridge,
        *,
        address: str,
        mtu: int,
        ipv6: bool = False,
        **params: Any,
    ) -> None:
        self._address, self._mtu, self._ipv6 = IPv4Interface(address), mtu, ipv6
        params.update(addr1=fabric_mac(self._address.ip), intf=FabricIntf, params1={"ip": address})
        super().__init__(host, switch, **params)

    def intfName(self, node: Any, n: int) -> str:
        """``eth0`` in a host, Mininet's usual name on the bridge."""
        return f"eth{n}" if isinstance(node, NodeHost) else str(super().intfName(node, n))

    def makeIntfPair(
        self,
        intfname1: str,
        intfname2: str,
        addr1: str,
        _addr2: str,
        node1: NodeHost,
        node2: FabricBridge,
        **_params: Any,
    ) -> None:
        """Make both ends at once, the host's end inside the host."""
        netns = os.open(f"/proc/{node1.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Route() as route:
                route.add_veth(
                    intfname2,
                    peer=intfname1,
                    peer_netns=netns,
                    peer_mac=addr1,
                    mtu=self._mtu,
                    master=node2.bridge_index,
                )
        finally:
            os.close(netns)
        with linux.joined(node1.pid, "net"), Route() as route:
            if self._ipv6:
                _switch_on_ipv6(intfname1)
            route.set_link("lo", up=True)
            route.set_link(intfname1, up=True)
            route.add_address(socket.if_nametoindex(intfname1), self._address)
            if self._ipv6:
                route.add_address6(socket.if_nametoindex(intfname1), address6(self._address.ip))

    def stop(self) -> None:
        """Nothing to do: the link ends with the lab's namespaces."""


class SpareLink(Link):  # type: ignore[misc]
    """A veth between two hosts, up and without addresses: a spare NIC called ``device`` at either end."""

    def __init__(self, host1: NodeHost, host2: NodeHost, *, device: str, number: int, **params: Any) -> None:
        self.device = device
        macs = {f"addr{end}": f"02:01:00:00:{number:02x}:{end:02x}" for end in (1, 2)}
        params.update(macs, intf=FabricIntf, intfName1=device, intfName2=device)
        # Linux tells of a carrier at once where the ends have different ifindexes, else up to a second later
        # (linkwatch_urgent_event); the far end has the next that is free.
        self._index = _SPARE_INDEX + number
        self._macs = macs["addr1"], macs["addr2"]
        super().__init__(host1, host2, **params)

    def ends_at(self, host: str) -> bool:
        """Whether one of its ends is that host's."""
        return host in (self.intf1.node.name, self.intf2.node.name)

    def makeIntfPair(
        self,
        intfname1: str,
        intfname2: str,
        addr1: str,
        addr2: str,
        node1: NodeHost,
        node2: NodeHost,
        **_params: Any,
    ) -> None:
        """Make both ends at once, each in its host."""
        far = os.open(f"/proc/{node2.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with linux.joined(node1.pid, "net"), Route() as route:
                route.add_veth(
                    intfname1,
                    peer=intfname2,
                    peer_netns=far,
                    peer_mac=addr2,
                    mtu=_SPARE_MTU,
                    mac=addr1,
                    index=self._index,
                )
        finally:
            os.close(far)
        with linux.joined(node2.pid, "net"), Route() as route:
            route.set_link(intfname2, up=True)

    def renew(self) -> None:
        """Have it again where a namespace has taken an end along: a NIC survives, a veth does not."""
        nodes = self.intf1.node, self.intf2.node
        left = [node for node in nodes if self._is_at(node)]
        if len(left) == len(nodes):
            return
        for node in left:
            # Its other end is in a pod: one that lives, or one of which the kernel still takes the rest away.
            with linux.joined(node.pid, "net"), Route() as route:
                route.delete_link(self.device)
        self.makeIntfPair(self.device, self.device, *self._macs, nodes[0], nodes[1])

    def _is_at(self, node: NodeHost) -> bool:
        with linux.joined(node.pid, "net"):
            return self.device in (name for _, name in socket.if_nameindex())

    def stop(self) -> None:
        """Nothing to do: the link ends with the lab's namespaces."""


class FabricBridge(Switch):  # type: ignore[misc]
    """A Linux bridge in the lab's root namespace, where the runner has the first address of the fabric."""

    def __init__(self, name: str, *, mtu: int, ipv6: bool = False, **params: Any) -> None:
        super().__init__(name, dpid="1", **params)
        with Route() as route:
            # The MAC is set, or the bridge would take the lowest of its ports' and change it as they come.
            mac = fabric_mac(FABRIC_ADDRESS.ip)
            self.bridge_index = route.add_link(name, "bridge", mtu=mtu, mac=mac)
            route.add_address(self.bridge_index, FABRIC_ADDRESS)
            if ipv6:
                _switch_on_ipv6(name)
                route.add_address6(self.bridge_index, address6(FABRIC_ADDRESS.ip))
        # On by default in each network namespace: bridged frames would pass the lab's own IP filters.
        netfilter = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        if netfilter.exists():
            netfilter.write_text("0")

    def start(self, _controllers: list[Any]) -> None:
        """Nothing to do: the bridge forwards from its first port on."""

    def stop(self, deleteIntfs: bool = False) -> None:
        """Nothing to do: the bridge ends with the lab's namespaces."""


def build(
    nodes: tuple[str, ...],
    mtu: int,
    hosts: tuple[str, ...] = (),
    wires: tuple[Wire, ...] = (),
    *,
    ipv6: bool = False,
) -> Any:
    """Build and start the Mininet of a lab: ``cp``, the worker nodes, the fabric, hosts, links beside it.

    With ``ipv6`` what has an address on the fabric has one of that family as well.
    """
    Mininet.inited = True  # skips ensureRoot and fixLimits, see above
    net = Mininet(
        topo=None,
        switch=FabricBridge,
        host=NodeHost,
        link=FabricLink,
        controller=None,
        intf=FabricIntf,
        build=False,
    )
    bridge = net.addSwitch(FABRIC, mtu=mtu, ipv6=ipv6, inNamespace=False)
    addresses = {CONTROL_PLANE: IPv4Interface((CONTROL_PLANE_IP, FABRIC_ADDRESS.network.prefixlen))}
    addresses |= {name: node_address(index) for index, name in enumerate(nodes)}
    for name, address in addresses.items():
        host = net.addHost(name, ip=str(address))
        net.addLink(host, bridge, address=str(address), mtu=mtu, ipv6=ipv6)
    for name in hosts:
        with linux.joined(net.addHost(name, ip=None).pid, "net"), Route() as route:
            route.set_link("lo", up=True)
    for number, wire in enumerate(wires):
        net.addLink(*map(net.get, wire.ends), cls=SpareLink, device=wire.device, number=number)
    net.build()
    net.start()
    workers = [node_address(index).ip for index in range(len(nodes))]
    control_plane = net.get(CONTROL_PLANE)
    _route_to_pods(control_plane, (DEFAULT_POD_CIDR, DEFAULT_SERVICE_CIDR), [str(each) for each in workers])
    if ipv6:
        own = [str(address6(each).ip) for each in workers]
        _route_to_pods(control_plane, (DEFAULT_POD_CIDR6, DEFAULT_SERVICE_CIDR6), own)
    return net


def _switch_on_ipv6(device: str) -> None:
    """Before it is up: it then has a link-local address at once, which neighbours are asked from."""
    settings = Path(f"/proc/sys/net/ipv6/conf/{device}")
    for name, value in (("accept_dad", "0"), ("accept_ra", "0"), ("disable_ipv6", "0")):
        (settings / name).write_text(value)


def _route_to_pods(control_plane: NodeHost, blocks: Sequence[str], nodes: Sequence[str]) -> None:
    """Give the control plane a way to pods of the default network, for its answers too, and to services.

    Pods' packets leave their node with the pod's own address. Each node routes to all pods of that network,
    those of other nodes through the overlay, and knows all services, so any node will do: all of them are
    named, and none is special. A kernel without multipath routes gets the first one only.
    """
    several = [word for address in nodes for word in ("nexthop", "via", address)]
    for block in blocks:
        failure = control_plane.cmd("ip", "route", "add", block, *several)
        if failure.strip():
            failure = control_plane.cmd("ip", "route", "add", block, "via", nodes[0])
        if failure.strip():
            raise OSError(0, f"{CONTROL_PLANE}: route to {block}: {failure.strip()}")
