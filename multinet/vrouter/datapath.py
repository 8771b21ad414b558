"""What a data path is asked to do: make and unmake a pod's interfaces, and know who is where.

The agent decides *what* shall be; a :class:`Datapath` makes it so in the kernel. Values here are complete:
an :class:`Attachment` says everything needed to make, check and unmake a pod's interfaces, so that a state
file of it is enough after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from multinet.errors import NetworkingError
from multinet.model.objects import Obj
from multinet.model.selected import Bandwidth, PortMapping

ROUTED = "l3"
BRIDGED = "l2_l3"

GATEWAY_MAC = "00:00:5e:00:01:00"


class DatapathError(NetworkingError):
    """The kernel refused what the data path asked for; nothing of it is left."""


class DeviceBusyError(DatapathError):
    """Another pod has the NIC; nothing was made."""


class NetnsError(DatapathError):
    """The sandbox's network namespace can't be used; nothing was made."""


@dataclass(frozen=True, slots=True)
class Network:
    """A virtual network as a node sees it; ``services`` are addresses which answer on every node.

    A ``confined`` network is routed by a table of its own; the default one is in the node's main table.
    ``fabric_snat``: a way out to the nodes' own network, by the gateway. ``underlay_blocks``: addresses of a
    confined network whose members' packets go between nodes as they are, without an overlay.
    """

    vni: int
    mode: str
    services: tuple[str, ...] = ()
    confined: bool = False
    fabric_snat: bool = False
    underlay_blocks: tuple[str, ...] = ()

    def to_spec(self) -> Obj:
        """The JSON form in a state file."""
        return {
            "vni": self.vni,
            "mode": self.mode,
            "services": list(self.services),
            "confined": self.confined,
            "fabricSnat": self.fabric_snat,
            "underlayBlocks": list(self.underlay_blocks),
        }

    @classmethod
    def from_spec(cls, spec: Obj) -> Network:
        """Read the JSON form. Files of older agents lack some keys."""
        flags = bool(spec.get("confined", False)), bool(spec.get("fabricSnat", False))
        blocks = tuple(spec.get("underlayBlocks") or ())
        return cls(int(spec["vni"]), str(spec["mode"]), tuple(spec["services"]), *flags, blocks)


@dataclass(frozen=True, slots=True)
class Remote:
    """One interface of a network on another node; ``addresses`` without prefix length."""

    mac: str
    node_ip: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One interface to make: ``addresses`` are CIDRs, ``gateways`` those of its default routes.

    ``mtu`` 0 is the largest usual one that the underlay carries. ``guarded``: it may use its own MAC and
    addresses only. ``device`` is the spare NIC of the node that the interface shall be; empty: a veth.
    """

    index: int
    name: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    mtu: int
    network: Network
    bandwidth: Bandwidth | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    guarded: bool = True
    device: str = ""

    def to_spec(self) -> Obj:
        """The JSON form in a state file."""
        shaped = {} if self.bandwidth is None else {"bandwidth": self.bandwidth.to_spec()}
        return {
            "index": self.index,
            "name": self.name,
            "mac": self.mac,
            "addresses": list(self.addresses),
            "gateways": list(self.gateways),
            "network": self.network.to_spec(),
            "askedMtu": self.mtu,
            **shaped,
            "portMappings": [mapping.to_spec() for mapping in self.port_mappings],
            "guarded": self.guarded,
            "device": self.device,
        }

    @classmethod
    def from_spec(cls, spec: Obj) -> Wanted:
        """Read the JSON form; ``KeyError``, ``TypeError`` or ``ValueError`` when it is damaged."""
        return cls(
            index=int(spec["index"]),
            name=str(spec["name"]),
            mac=str(spec["mac"]),
            addresses=tuple(spec["addresses"]),
            gateways=tuple(spec["gateways"]),
            mtu=int(spec["askedMtu"]),
            network=Network.from_spec(spec["network"]),
            bandwidth=Bandwidth.from_spec(spec.get("bandwidth")),
            port_mappings=tuple(PortMapping.from_spec(item) for item in spec.get("portMappings") or ()),
            guarded=bool(spec.get("guarded", True)),
            device=str(spec.get("device", "")),
        )


@dataclass(frozen=True, slots=True)
class Port:
    """One interface with its places in the kernel: names and ifindexes of both ends, chosen beforehand.

    ``shaper_index`` is the device that what the pod sends is led through, 0 where that is not limited.
    """

    wanted: Wanted
    host_name: str
    host_index: int
    pod_index: int
    mtu: int
    shaper_index: int = 0

    @property
    def shaper_name(self) -> str:
        """The name of that device."""
        return shaper_name(self.host_name)

    @property
    def node_devices(self) -> tuple[int, ...]:
        """All devices on the node that this interface alone needs."""
        return (self.host_index, self.shaper_index) if self.shaper_index else (self.host_index,)

    def to_spec(self) -> Obj:
        """The JSON form in a state file."""
        return {
            **self.wanted.to_spec(),
            "hostName": self.host_name,
            "hostIndex": self.host_index,
            "podIndex": self.pod_index,
            "mtu": self.mtu,
            "shaperIndex": self.shaper_index,
        }

    @classmethod
    def from_spec(cls, spec: Obj) -> Port:
        """Read the JSON form; ``KeyError``, ``TypeError`` or ``ValueError`` when it is damaged."""
        return cls(
            Wanted.from_spec(spec),
            host_name=str(spec["hostName"]),
            host_index=int(spec["hostIndex"]),
            pod_index=int(spec["podIndex"]),
            mtu=int(spec["mtu"]),
            shaper_index=int(spec.get("shaperIndex", 0)),
        )


@dataclass(frozen=True, slots=True)
class Nic:
    """How a spare NIC is on the node: what it is to be again when a pod gives it back."""

    name: str
    mac: str
    mtu: int
    up: bool

    def to_spec(self) -> Obj:
        """The JSON form in a state file."""
        return {"name": self.name, "mac": self.mac, "mtu": self.mtu, "up": self.up}

    @classmethod
    def from_spec(cls, spec: Obj) -> Nic:
        """Read the JSON form; ``KeyError``, ``TypeError`` or ``ValueError`` when it is damaged."""
        return cls(str(spec["name"]), str(spec["mac"]), int(spec["mtu"]), bool(spec["up"]))


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that is a spare NIC of the node, moved into the pod: it has no end on the node."""

    wanted: Wanted
    nic: Nic

    @property
    def mtu(self) -> int:
        """Its own, unless another was asked for."""
        return self.wanted.mtu or self.nic.mtu

    def inside(self, index: int) -> Port:
        """What can be said of it as of other interfaces: the pod's end. ``index`` is its ifindex there."""
        return Port(self.wanted, "", 0, index, self.mtu)

    def to_spec(self) -> Obj:
        """The JSON form in a state file."""
        return {**self.wanted.to_spec(), "nic": self.nic.to_spec()}

    @classmethod
    def from_spec(cls, spec: Obj) -> Device:
        """Read the JSON form; ``KeyError``, ``TypeError`` or ``ValueError`` when it is damaged."""
        return cls(Wanted.from_spec(spec), Nic.from_spec(spec["nic"]))


@dataclass(frozen=True, slots=True)
class Attachment:
    """All interfaces of one sandbox. ``pod`` is ``namespace/name``, ``netns`` the path of CNI_NETNS.

    ``ports`` are those with an end on the node, which all forwarding is about; ``devices`` the NICs.
    ``cni_network`` is the name in the CNI configuration, if a CNI call asked for it.
    """

    container_id: str
    netns: str
    pod: str
    pod_uid: str
    ports: tuple[Port, ...]
    cni_network: str = ""
    devices: tuple[Device, ...] = ()

    @property
    def interfaces(self) -> tuple[Port | Device, ...]:
        """All of them in the pod's order."""
        if not self.devices:
            return self.ports
        return tuple(sorted((*self.ports, *self.devices), key=lambda each: each.wanted.index))


@dataclass(frozen=True, slots=True)
class Stray:
    """A device of ours that no state file names, and what its mark says (:mod:`multinet.vrouter.marks`).

    ``container`` is the container ID, or what stands for a long one; ``network`` the CNI network's name.
    """

    index: int
    name: str
    mtu: int
    container: str
    network: str
    netns: str


def shaper_name(host_name: str) -> str:
    """The name of the device that what a pod sends is led through, by its interface's name on the node."""
    return f"ifb{host_name.removeprefix('tap')}"


@dataclass(frozen=True, slots=True)
class Places:
    """Whose a device is: container IDs and VNIs by ifindex, VNIs by routing table; ``shared`` ones have all.

    ``pods`` has the container IDs by the name that the kernel has for a namespace (nsid). ``underlay`` is the
    node's device on the underlay, and ``underlaid`` the networks that have routes over it.
    """

    containers: Mapping[int, str]
    networks: Mapping[int, int]
    tables: Mapping[int, int]
    names: Mapping[str, int | str]
    shared: frozenset[int]
    pods: Mapping[int, str]
    underlay: int = 0
    underlaid: frozenset[int] = frozenset()


Remotes = Callable[[int], frozenset[Remote]]


class Datapath(Protocol):
    """Forwarding on one node. Its methods may run at the same time for different sandboxes."""

    def open(self, known: Sequence[Attachment], doomed: Collection[str]) -> tuple[Attachment, ...]:
        """Set the node up and find ``known`` attachments again; return those that still have a place.

        That is a device, or the network namespace for it. The devices of ``doomed`` containers are deleted;
        those that nobody names are left alone, as :meth:`strays`, until :meth:`sweep`.
        """

    def strays(self) -> tuple[Stray, ...]:
        """Devices of pods that :meth:`open` found and no state file named, unless claimed meanwhile."""

    def claim(self, attachment: Attachment) -> Attachment:
        """Take over strays as the ports of an attachment that was found out otherwise; as it really is."""

    async def purge(self, strays: Collection[Stray]) -> None:
        """Delete strays, and what belongs to them."""

    def sweep(self) -> None:
        """Delete whatever of ours belongs neither to an attachment nor to a stray."""

    def plan(
        self, container_id: str, netns: str, pod: str, pod_uid: str, wanted: Sequence[Wanted]
    ) -> Attachment:
        """Choose names, ifindexes and MTUs; changes nothing yet. ``DatapathError`` if it can't be done."""

    async def attach(self, attachment: Attachment) -> None:
        """Make all interfaces, or none and raise ``DatapathError``."""

    async def detach(self, attachment: Attachment) -> None:
        """Unmake them; on return the pod has none of them any more, whatever was missing before."""

    def check(self, attachment: Attachment) -> tuple[str, ...]:
        """What is not as :meth:`attach` left it, in words; empty when all is well."""

    async def repair(self, attachment: Attachment) -> tuple[str, ...]:
        """Make again what is missing of an attachment; say in words what that was."""

    async def repair_network(self, vni: int) -> tuple[str, ...]:
        """Make again what is missing of a network of this node, its members' ends excepted."""

    def repair_guard(self) -> bool:
        """Make the rules of port security again; False where there are none (no nft)."""

    @property
    def own_ports(self) -> frozenset[int]:
        """The netlink port IDs by which our own changes of nft sets are known."""

    @property
    def gateways(self) -> int | None:
        """A descriptor of the network namespace that the gateways are in; None where there is none."""

    def repair_gateways(self) -> bool:
        """Make their rules again, and those of the way out; False where there are none."""

    def places(self) -> Places:
        """Whose the devices and routing tables of this node are."""

    def has(self, attachment: Attachment) -> bool:
        """Whether its interfaces are still there; they go with their network namespace."""

    def on_gone(self, listener: Callable[[int], None]) -> None:
        """Call ``listener(ifindex)`` in the event loop when a device of the node vanished."""

    async def keep(self, network: Network) -> None:
        """Have this node take part in ``network`` also while no sandbox here is attached to it."""

    async def release(self, vni: int) -> None:
        """A confined network that was kept is gone: leave it with its last sandbox here."""

    async def refresh(self, vni: int) -> None:
        """The network's members on other nodes have changed: forward accordingly."""

    def close(self) -> None:
        """Release what this process holds; the kernel keeps forwarding."""
