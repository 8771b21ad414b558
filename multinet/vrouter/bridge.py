"""The data path of Linux bridges and VXLAN: carries out attachments, networks and remote members.

A pod costs two sends: one in the node's namespace (all its veths) and one in the pod's (all addresses). No
lookups: the ifindexes are chosen here, never reused, and high enough to stay clear of the kernel's own.
All of our devices carry a device group of ours; that, not their name, is what allows deleting them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import replace

from multinet.vrouter import (
    forwarding,
    gateways,
    guard,
    kernelstate,
    links,
    marks,
    mending,
    netns,
    planning,
    plugging,
    routed6,
    rules,
    underlaid,
    underlay,
)
from multinet.vrouter.checking import problems
from multinet.vrouter.datapath import (
    BRIDGED,
    Attachment,
    DatapathError,
    Network,
    Places,
    Port,
    Remote,
    Remotes,
    Stray,
    Wanted,
)
from multinet.vrouter.forwarding import Place
from multinet.vrouter.netlink import NetlinkError, Socket
from multinet.vrouter.nics import Nics
from multinet.vrouter.presence import Presence
from multinet.vrouter.removal import GROUP, Remover, is_ours
from multinet.vrouter.underlay import Underlay

_FIRST_INDEX = 0x10000
_POD_INDEX = 100
_USUAL_MTU = 1500
_SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/default/proxy_arp": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}
_log = logging.getLogger(__name__)


class BridgeDatapath:
    """A :class:`~multinet.vrouter.datapath.Datapath`; ``remotes`` tells a network's members elsewhere."""

    def __init__(self, node_ip: str, remotes: Remotes, *, node_ip6: str = "", underlay: str = "auto") -> None:
        self._node_ip, self._node_ip6 = node_ip, node_ip6
        self._remotes = remotes
        self._underlay = underlay
        self._socket = Socket()
        self._netns = netns.own()
        self._remover = Remover()
        self._networks: dict[int, Presence] = {}
        self._attached: dict[str, Attachment] = {}
        self._strays: set[Stray] = set()
        self._swept = False
        self._locks: dict[int, asyncio.Lock] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._next_index = _FIRST_INDEX
        self._ipv6 = netns.has_ipv6()
        self._mtu = _USUAL_MTU
        self._below = Underlay("", "", 0)
        self._guard: guard.Guard = guard.Unguarded()
        self._gateways: gateways.Gateways = gateways.NoGateways()
        self._nics = Nics(self._socket, self._netns)

    @property
    def mtu(self) -> int:
        """The largest MTU of a pod interface: what the underlay carries, less the VXLAN headers."""
        return self._mtu

    def open(self, known: Sequence[Attachment], doomed: Collection[str] = ()) -> tuple[Attachment, ...]:
        """Set the node up, take over what an earlier agent made, delete what it left half made."""
        netns.write_settings(_SETTINGS)
        present = kernelstate.read_links(self._socket)
        found = underlay.find(self._node_ip, self._underlay, present, self._socket, self._node_ip6)
        self._mtu, self._below = found.mtu, found
        self._next_index = max(_FIRST_INDEX, *present) + 1
        ours = {index: link for index, link in present.items() if is_ours(link.group)}
        alive = tuple(each for each in known if marks.has_place(each, ours))
        self._attached = {attachment.container_id: attachment for attachment in alive}
        taken = {port.host_index for attachment in alive for port in attachment.ports}
        self._strays = marks.strays(present, taken, doomed)
        self._guard = guard.make(self._below.name, alive)
        self._gateways = gateways.make(self._netns, self._node_ip, self._below.name)
        for attachment in alive:
            self._rejoin(attachment)
        self._nics.settle()
        self.sweep()
        return alive

    def strays(self) -> tuple[Stray, ...]:
        """What waits for :meth:`claim` or :meth:`purge`."""
        return tuple(sorted(self._strays, key=lambda stray: stray.index))

    def claim(self, attachment: Attachment) -> Attachment:
        """The networks' devices are still there, for :meth:`sweep` has been waiting."""
        claimed = marks.places_of(attachment, kernelstate.read_links(self._socket))
        taken = {port.host_index for port in claimed.ports}
        self._guard.admit(claimed)
        self._attached[claimed.container_id] = claimed
        self._strays = {stray for stray in self._strays if stray.index not in taken}
        self._rejoin(claimed)
        return claimed

    async def purge(self, strays: Collection[Stray]) -> None:
        """As in :meth:`detach`."""
        self._recall(strays)
        await self._remover.remove(marks.devices_of(strays, kernelstate.read_links(self._socket)))
        names = {stray.name for stray in strays}
        self._strays = {stray for stray in self._strays if stray.name not in names}
        self._socket.send([rule.delete() for rule in rules.read(self._socket) if rule.device in names])

    def sweep(self) -> None:
        """Delete devices and rules that nobody knows; while there are strays, any may be one's network."""
        if self._strays:
            return
        self._swept = True
        ports = [port for attachment in self._attached.values() for port in attachment.ports]
        used = {index for port in ports for index in port.node_devices}
        used |= {index for active in self._networks.values() for index in active.place.devices}
        present = kernelstate.read_links(self._socket).values()
        kept = self._gateways.names
        orphans = [
            link
            for link in present
            if is_ours(link.group) and link.index not in used and link.name not in kept
        ]
        if orphans:
            _log.info("deleting devices of pods that are gone: %s", [link.name for link in orphans])
            self._recall(stray for link in orphans if (stray := marks.stray_of(link)) is not None)
            doomed = [links.set_group(link.index, GROUP + 0xFFFF) for link in orphans]
            self._socket.send([*doomed, links.delete_group(GROUP + 0xFFFF)])
        self._correct_rules(list(self._attached.values()))

    def plan(
        self, container_id: str, netns: str, pod: str, pod_uid: str, wanted: Sequence[Wanted]
    ) -> Attachment:
        """Choose names, ifindexes and MTUs."""
        ports, devices = [], []
        for each in wanted:
            if each.device:
                others, device = self._attached.values(), self._below.name
                devices.append(self._nics.plan(each, container_id, netns, others, device))
                continue
            planning.refuse_large_mtu(each, self._mtu)
            forwarding.forwarding_of(each.network)
            planning.refuse_routed_ipv6(each)
            mtu = each.mtu or min(_USUAL_MTU, self._mtu)
            name = planning.host_name(pod_uid, each.index)
            led = self._index() if each.bandwidth is not None and each.bandwidth.egress_rate else 0
            ports.append(Port(each, name, self._index(), _POD_INDEX + each.index, mtu, led))
        return Attachment(container_id, netns, pod, pod_uid, tuple(ports), devices=tuple(devices))

    async def attach(self, attachment: Attachment) -> None:
        """Make all interfaces or none."""
        async with self._locked(port.wanted.network.vni for port in attachment.ports):
            try:
                for port in attachment.ports:
                    self._ensure(port.wanted.network).members.add(attachment.container_id)
                self._attached[attachment.container_id] = attachment
                with netns.opened(attachment.netns) as pod_netns:
                    self._guard.admit(attachment)
                    self._plug(attachment, attachment.ports, pod_netns)
                self._nics.lend(attachment, attachment.devices, self._attached.values(), ipv6=self._ipv6)
            except (NetlinkError, DatapathError, OSError) as error:
                try:
                    await self._unplug(attachment)
                finally:
                    self._leave(attachment)
                raise planning.attach_failed(attachment, error) from error
            except BaseException:
                self._leave(attachment)
                raise

    async def detach(self, attachment: Attachment) -> None:
        """Delete all interfaces; networks left without a member go in the background."""
        await self._unplug(attachment)
        self._leave(attachment)

    def check(self, attachment: Attachment) -> tuple[str, ...]:
        """Compare the kernel with the attachment."""
        masters = {
            vni: active.place.bridge if active.place.network.mode == BRIDGED else 0
            for vni, active in self._networks.items()
        }
        found = problems(attachment, self._socket, masters)
        wanted = [rule for port in attachment.ports for rule in forwarding.port_rules(port)]
        missing = set(wanted) - rules.read(self._socket) if wanted else set()
        return (*found, *(f"the node's rule is gone: {rule}" for rule in sorted(missing, key=str)))

    async def repair(self, attachment: Attachment) -> tuple[str, ...]:
        """Interfaces that lack an end are made anew; of the others, what is missing."""
        async with self._locked(port.wanted.network.vni for port in attachment.ports):
            if not netns.inode_of(attachment.netns):
                return ()  # it all went with its namespace
            with netns.opened(attachment.netns) as pod_netns:
                with netns.entered(pod_netns):
                    inside = Socket()
                with contextlib.closing(inside):
                    broken = [
                        port for port in attachment.ports if not mending.is_whole(port, self._socket, inside)
                    ]
                    await self._remover.remove(index for port in broken for index in port.node_devices)
                    if broken:
                        self._guard.admit(attachment)
                        self._plug(attachment, broken, pod_netns)
                    found = [f"{port.wanted.name}: the interface" for port in broken]
                    for port in attachment.ports:
                        active = self._networks[port.wanted.network.vni]
                        found += mending.near_end(self._socket, active, port)
                        found += mending.far_end(inside, port, ipv6=self._ipv6)
                    found += self._nics.mend(attachment, inside, ipv6=self._ipv6)
        return tuple(found)

    async def repair_network(self, vni: int) -> tuple[str, ...]:
        """Without its devices a network is made anew, and its members' ends become its ports again."""
        async with self._locked([vni]):
            active = self._networks.get(vni)
            if active is None:
                return ()
            there = mending.devices_there(self._socket, active.place)
            if len(there) == len(active.place.devices):
                # Who has just come is not told yet, and nobody's loss.
                remotes = self._remotes(vni)
                active.program(self._socket, remotes)
                return tuple(mending.network(self._socket, active, remotes, there))
            await self._remover.remove(there)
            self._undo(active.place)
            del self._networks[vni]
            again = self._ensure(active.place.network)
            again.members, again.kept = active.members, active.kept
            found = [f"the devices of network VNI {vni}"]
            for port in (port for attachment in self._attached.values() for port in attachment.ports):
                if port.wanted.network.vni == vni:
                    found += mending.near_end(self._socket, again, port)
            return tuple(found)

    def repair_guard(self) -> bool:
        """All at once, as at the start."""
        return self._guard.restore(self._attached.values(), self._netns)

    @property
    def own_ports(self) -> frozenset[int]:
        """The guard's and the gateways'."""
        return frozenset({self._guard.port, self._gateways.own_port})

    @property
    def gateways(self) -> int | None:
        """Where they are."""
        return self._gateways.place

    def repair_gateways(self) -> bool:
        """All at once."""
        return self._gateways.restore()

    def places(self) -> Places:
        """As they are now."""
        actives = {vni: active.place for vni, active in self._networks.items()}
        return mending.places(self._attached.values(), actives, kernelstate.read_links(self._socket))

    def has(self, attachment: Attachment) -> bool:
        """Look for the node's end of each interface."""
        present = kernelstate.read_links(self._socket)
        ours = {index: link for index, link in present.items() if is_ours(link.group)}
        return all(marks.is_there(port, ours) for port in attachment.ports)

    def on_gone(self, listener: Callable[[int], None]) -> None:
        """The kernel's own announcements, which the deletion of devices waits for as well."""
        self._remover.on_gone(listener)

    async def keep(self, network: Network) -> None:
        """Take part in a network from now on."""
        async with self._locked([network.vni]):
            self._ensure(network).kept = True

    async def release(self, vni: int) -> None:
        """Take part in a network no longer than it has members here."""
        async with self._locked([vni]):
            active = self._networks.get(vni)
            if active is not None and active.place.network.confined and active.kept:
                active.kept = False
                if not active.members:
                    self._spawn(self._withdraw(vni))

    async def refresh(self, vni: int) -> None:
        """Forward to the remote members as they are now."""
        async with self._locked([vni]):
            active = self._networks.get(vni)
            if active is not None:
                active.program(self._socket, self._remotes(vni))

    def close(self) -> None:
        """Close all sockets."""
        for task in self._background:
            task.cancel()
        self._remover.close()
        self._guard.close()
        self._gateways.close()
        os.close(self._netns)
        self._socket.close()

    async def settled(self) -> None:
        """Return when no removal of a network is under way."""
        while self._background:
            await asyncio.wait(set(self._background))

    def _index(self) -> int:
        self._next_index += 1
        return self._next_index

    def _place(self, network: Network) -> Place:
        """Without devices yet."""
        return Place(network, 0, 0, self._node_ip, self._mtu, GROUP, self._below, node_ip6=self._node_ip6)

    def _adopt(self, network: Network) -> bool:
        """Take over the devices that an earlier agent made for a network; False where one is missing."""
        place = self._place(network)
        present = kernelstate.read_links(self._socket).values()
        by_name = {link.name: link.index for link in present if is_ours(link.group)}
        vxlan, bridge = by_name.get(place.vxlan_name), by_name.get(place.bridge_name)
        if vxlan is None or (network.mode == BRIDGED and bridge is None):
            return False
        kept = by_name.get(place.gateway_name)
        place = replace(place, vxlan=vxlan, bridge=bridge or 0, gateway=kept or self._gateway_index(network))
        active = self._networks[network.vni] = Presence(
            place, closed=self._guard.closes_bridges, remotes=None
        )
        try:
            self._socket.send([] if kept else self._gateways.port(place))
            active.open(self._socket, self._gateways, self._netns)
        except (NetlinkError, DatapathError) as error:
            # Its members' traffic needs no gateway.
            _log.error("the gateway of network VNI %d does not answer: %s", network.vni, error)
        return True

    def _rejoin(self, attachment: Attachment) -> None:
        """Count a surviving attachment in; where its network's devices were gone, make them again."""
        for port in attachment.ports:
            network = port.wanted.network
            adopted = network.vni in self._networks or self._adopt(network)
            active = self._ensure(network)
            active.members.add(attachment.container_id)
            self._socket.send(active.entered([port]))
            if not adopted and network.mode == BRIDGED:
                master = links.set_master(port.host_index, active.place.bridge, port.host_name)
                self._socket.send([master])

    def _ensure(self, network: Network) -> Presence:
        active = self._networks.get(network.vni)
        if active is not None:
            return active
        # Until then devices of an earlier agent may be there, whatever became of the pods in the network.
        if not self._swept and self._adopt(network):
            self._networks[network.vni].program(self._socket, self._remotes(network.vni))
            return self._networks[network.vni]
        planning.refuse_second_routed(network, (each.place.network for each in self._networks.values()))
        planning.refuse_underlay(network, self._below.block)
        place = replace(
            self._place(network),
            bridge=self._index() if network.mode == BRIDGED else 0,
            vxlan=0 if network.underlay_blocks else self._index(),
            gateway=self._gateway_index(network),
        )
        # Ways in the underlay outlive the agent that made them, and the network.
        remotes = None if place.is_underlaid else frozenset[Remote]()
        active = Presence(place, closed=self._guard.closes_bridges, remotes=remotes)
        try:
            active.make(self._socket, self._gateways, self._netns)
        except (NetlinkError, DatapathError):
            # At once, for the next attempt makes the same rules; nobody is in the network yet.
            self._undo(place)
            self._spawn(self._remover.remove(place.devices))
            raise
        self._networks[network.vni] = active
        active.program(self._socket, self._remotes(network.vni))
        return active

    def _gateway_index(self, network: Network) -> int:
        return self._index() if self._gateways.serves(network) else 0

    def _correct_rules(self, alive: Sequence[Attachment]) -> None:
        """Have exactly the rules of what is alive; an earlier agent may have been ended at any moment."""
        ports = [port for attachment in alive for port in attachment.ports]
        wanted = {rule for port in ports for rule in forwarding.port_rules(port)}
        places = [active.place for active in self._networks.values()]
        wanted.update(rule for place in places for rule in place.own_rules)
        ends = [(place.network.vni, version) for place in places for version in place.versions]
        ways = underlaid.corrections(self._socket, self._below.index, places, ports)
        self._socket.send([*rules.corrections(self._socket, wanted, ends), *ways])

    async def _unplug(self, attachment: Attachment) -> None:
        """NICs first, for the others say where they are; then the devices and last their rules.

        Without its rule, what a pod still sends would be looked up elsewhere.
        """
        if attachment.devices:
            self._nics.recall(attachment.container_id, attachment.netns)
        await self._remover.remove(index for port in attachment.ports for index in port.node_devices)
        doomed = [rule for port in attachment.ports for rule in forwarding.port_rules(port)]
        requests = [rule.delete() for rule in doomed]
        for port in attachment.ports:
            active = self._networks.get(port.wanted.network.vni)
            requests += active.left([port]) if active is not None else []
        self._socket.send(requests)
        self._guard.forget(attachment)

    def _recall(self, strays: Iterable[Stray]) -> None:
        """Have the NICs back from where strays' pods are or were."""
        for container, path in {(stray.container, stray.netns) for stray in strays}:
            self._nics.recall(container, path)

    def _undo(self, place: Place) -> None:
        others = [active.place for active in self._networks.values() if active.place is not place]
        ways = underlaid.stale(self._socket, place) if place.is_underlaid else []
        self._socket.send([*ways, *forwarding.forwarding_of(place.network).withdraw(place, others)])
        if place.gateway:
            self._gateways.leave(place)

    def _plug(self, attachment: Attachment, ports: Sequence[Port], pod_netns: int) -> None:
        self._socket.send(plugging.near_ends(attachment, ports, self._networks, pod_netns))
        routed6.plug(self._socket, self._netns, ports, self._node_ip6)
        plugging.furnish(ports, pod_netns, ipv6=self._ipv6)

    def _leave(self, attachment: Attachment) -> None:
        self._attached.pop(attachment.container_id, None)
        for vni in {port.wanted.network.vni for port in attachment.ports}:
            active = self._networks.get(vni)
            if active is not None:
                active.members.discard(attachment.container_id)
                if not active.members and not active.kept:
                    self._spawn(self._withdraw(vni))

    async def _withdraw(self, vni: int) -> None:
        async with self._locked([vni]):
            active = self._networks.get(vni)
            if active is None or active.members or active.kept:
                return
            del self._networks[vni]
            await self._remover.remove(active.place.devices)
            self._undo(active.place)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a network could not be withdrawn", exc_info=error)

    @contextlib.asynccontextmanager
    async def _locked(self, vnis: Iterable[int]) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for vni in sorted(set(vnis)):
                await stack.enter_async_context(self._locks.setdefault(vni, asyncio.Lock()))
            yield
