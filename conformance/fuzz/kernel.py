"""A node's kernel as far as the node agent asks it for anything: who is plugged in, who is known to be where.

It outlives the agent, as a kernel does, and forgets everything at a reboot. It refuses what a kernel would:
a second device of one name, two devices of one MAC in a network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from multinet.vrouter import planning
from multinet.vrouter.datapath import (
    Attachment,
    DatapathError,
    Device,
    DeviceBusyError,
    Network,
    Nic,
    Places,
    Port,
    Remote,
    Remotes,
    Stray,
    Wanted,
)

_MTU = 1500


@dataclass(slots=True)
class Kernel:
    """What is on one node: attachments by container ID, and each network's members elsewhere by VNI.

    ``ended`` are those whose devices went with the sandbox's namespace before anybody took them away: their
    networks' devices stay.
    """

    node: str
    plugged: dict[str, Attachment] = field(default_factory=dict)
    remotes: dict[int, frozenset[Remote]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    refusing: str = ""
    """Why the next attachment is refused half-way; empty: it is not."""

    def reboot(self) -> None:
        """Nothing is left."""
        self.plugged.clear()
        self.ended.clear()
        self.remotes.clear()
        self.kept.clear()

    def end(self, container_id: str) -> None:
        """A sandbox ends, and its devices with it."""
        if container_id in self.plugged:
            self.ended.add(container_id)

    def drop(self, container_id: str) -> None:
        """Whatever is there of it goes."""
        self.plugged.pop(container_id, None)
        self.ended.discard(container_id)

    def there(self) -> dict[str, Attachment]:
        """The attachments that have devices."""
        return {key: each for key, each in self.plugged.items() if key not in self.ended}

    def networks(self) -> set[int]:
        """VNIs of the networks that have a member or are kept."""
        members = {port.wanted.network.vni for each in self.plugged.values() for port in each.ports}
        return members | self.kept


class SimulatedDatapath:
    """A :class:`~multinet.vrouter.datapath.Datapath` on a :class:`Kernel`."""

    def __init__(self, kernel: Kernel, remotes: Remotes) -> None:
        self._kernel = kernel
        self._remotes = remotes
        self._named: set[str] = set()

    def open(self, known: Sequence[Attachment], doomed: Collection[str] = ()) -> tuple[Attachment, ...]:
        """Those of ``known`` that are there; what belongs to ``doomed`` goes, the rest are strays."""
        for container_id in (*doomed, *tuple(self._kernel.ended)):
            self._kernel.drop(container_id)
        self._named = {each.container_id for each in known}
        return tuple(each for each in known if each.container_id in self._kernel.plugged)

    def strays(self) -> tuple[Stray, ...]:
        """Devices that nobody has named yet."""
        return tuple(
            Stray(port.host_index, port.host_name, port.mtu, container_id, each.cni_network, each.netns)
            for container_id, each in self._kernel.there().items()
            if container_id not in self._named
            for port in each.ports
        )

    def claim(self, attachment: Attachment) -> Attachment:
        """Name strays."""
        self._named.add(attachment.container_id)
        return attachment

    async def purge(self, strays: Collection[Stray]) -> None:
        """Delete strays."""
        for container_id in {stray.container for stray in strays}:
            self._kernel.drop(container_id)
        self._tidy()

    def sweep(self) -> None:
        """All devices here belong to attachments or are strays."""

    def plan(
        self, container_id: str, netns: str, pod: str, pod_uid: str, wanted: Sequence[Wanted]
    ) -> Attachment:
        """Names as the real one chooses them."""
        prefix = planning.host_prefix(pod_uid)
        ports = tuple(
            Port(each, f"{prefix}-{each.index}", 1000 + each.index, 100 + each.index, _MTU)
            for each in wanted
            if not each.device
        )
        devices = tuple(
            Device(each, Nic(each.device, "02:00:00:00:00:01", _MTU, up=True))
            for each in wanted
            if each.device
        )
        return Attachment(container_id, netns, pod, pod_uid, ports, devices=devices)

    async def attach(self, attachment: Attachment) -> None:
        """All or nothing."""
        if self._kernel.refusing:
            raise DatapathError(self._kernel.refusing)
        present = self._kernel.there().values()
        there = {port.host_name for each in present for port in each.ports}
        for port in attachment.ports:
            if port.host_name in there:
                raise DatapathError(f"device {port.host_name} exists")
        lent = {device.nic.name for each in present for device in each.devices}
        for device in attachment.devices:
            if device.nic.name in lent:
                raise DeviceBusyError(f"the NIC {device.nic.name} is another pod's")
        self._kernel.drop(attachment.container_id)
        self._kernel.plugged[attachment.container_id] = attachment
        self._named.add(attachment.container_id)
        for port in attachment.ports:
            self._learn(port.wanted.network.vni)

    async def detach(self, attachment: Attachment) -> None:
        """Whatever is there of it goes."""
        self._kernel.drop(attachment.container_id)
        self._tidy()

    def check(self, attachment: Attachment) -> tuple[str, ...]:
        """Whether it is there as it was made."""
        found = self._kernel.there().get(attachment.container_id)
        return () if found == attachment else ("its interfaces are not there",)

    def has(self, attachment: Attachment) -> bool:
        """Whether it is there."""
        return attachment.container_id in self._kernel.there()

    def on_gone(self, listener: Callable[[int], None]) -> None:
        """Nothing ever goes here without being asked to."""
        del listener

    async def keep(self, network: Network) -> None:
        """Take part in a network from now on."""
        self._kernel.kept.add(network.vni)
        self._learn(network.vni)

    async def release(self, vni: int) -> None:
        """Take part no longer than it has members."""
        self._kernel.kept.discard(vni)
        self._tidy()

    async def refresh(self, vni: int) -> None:
        """Know the members elsewhere as they are now."""
        if vni in self._kernel.networks():
            self._learn(vni)

    async def repair(self, attachment: Attachment) -> tuple[str, ...]:
        """Nobody damages anything here."""
        del attachment
        return ()

    async def repair_network(self, vni: int) -> tuple[str, ...]:
        """Nobody damages anything here."""
        del vni
        return ()

    def repair_guard(self) -> bool:
        """There are no rules of port security here."""
        return False

    @property
    def own_ports(self) -> frozenset[int]:
        """There are no nft sets here."""
        return frozenset()

    @property
    def gateways(self) -> int | None:
        """Nobody answers here."""
        return None

    def repair_gateways(self) -> bool:
        """There are no rules of gateways here."""
        return False

    def places(self) -> Places:
        """No devices with numbers of their own."""
        return Places({}, {}, {}, {}, frozenset(), {})

    def close(self) -> None:
        """The kernel stays."""

    def _learn(self, vni: int) -> None:
        self._kernel.remotes[vni] = self._remotes(vni)

    def _tidy(self) -> None:
        for vni in self._kernel.remotes.keys() - self._kernel.networks():
            del self._kernel.remotes[vni]
