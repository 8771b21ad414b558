"""The node agent's picture of the cluster: networks, interfaces, pods and nodes, fed change by change.

Informers feed it in a running agent; tests feed it objects. It answers two questions: which interfaces
shall this pod have (and when is that known), and who is a member of a network on which other node.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from multinet.errors import MultinetError
from multinet.model.attachments import Interface, VirtualMachine
from multinet.model.naming import virtual_machine_name
from multinet.model.networks import ORIGIN_NAMESPACE, VirtualNetwork
from multinet.model.objects import Obj, join_key, key_of, name_of, section
from multinet.model.planted import planted
from multinet.vrouter.datapath import ROUTED, Network, Remote
from multinet.waits import wait_for

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PodPlan:
    """A pod whose network is decided: its VirtualMachine and interfaces, in index order."""

    machine: VirtualMachine
    interfaces: tuple[Interface, ...]


class ClusterView:
    """Objects by key, indexed by network; ``on_network(vni)`` is called when a network's members change."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._networks: dict[str, VirtualNetwork] = {}
        self._interfaces: dict[str, Interface] = {}
        self._members: dict[int, dict[str, Interface]] = {}
        self._first: dict[str, Interface] = {}
        # Members elsewhere, by interface and counted by network: kept, since a network of hundreds is looked
        # at after each change of one. Two interfaces may look the same from here.
        self._remotes: dict[str, Remote] = {}
        self._elsewhere: dict[int, Counter[Remote]] = {}
        self._machines: dict[str, VirtualMachine] = {}
        self._machines_of: dict[str, dict[str, VirtualMachine]] = {}
        self._node_ips: dict[str, str] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._listeners: list[Callable[[int], None]] = []

    def on_network(self, listener: Callable[[int], None]) -> None:
        """Call ``listener(vni)`` after each change of a network's members or their nodes."""
        self._listeners.append(listener)

    def network_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a VirtualNetwork; one that can't be read is logged and left out."""
        before = self._networks.pop(name_of(old or new or {}), None)
        if new is None:
            if before is not None:
                self._tell(before.vni)
            return
        try:
            network = VirtualNetwork.from_object(new)
        except MultinetError as error:
            _log.warning("left out: %s", error)
            return
        self._networks[name_of(new)] = network
        self._wake_all()
        self._tell(network.vni)

    def interface_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a VirtualMachineInterface."""
        key = key_of(new or old or {})
        before = self._interfaces.pop(key, None)
        if planted("stale-fdb") and new is None:
            return
        if before is not None:
            self._left(key, before)
            members = self._members.get(before.vni, {})
            members.pop(key, None)
            if not members:
                self._members.pop(before.vni, None)
            if self._first.get(before.pod.key) is before:
                del self._first[before.pod.key]
        after = None if new is None else _interface(new)
        if after is not None:
            self._interfaces[key] = after
            self._members.setdefault(after.vni, {})[key] = after
            self._joined(key, after)
            if after.index == 0:
                self._first[after.pod.key] = after
            self._wake(after.pod.key)
        for vni in {each.vni for each in (before, after) if each is not None and before != after}:
            self._tell(vni)

    def machine_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a VirtualMachine."""
        key = key_of(new or old or {})
        before = self._machines.pop(key, None)
        if before is not None:
            of_pod = self._machines_of[before.pod.key]
            del of_pod[key]
            if not of_pod:
                del self._machines_of[before.pod.key]
        if new is None:
            return
        machine = self._machines[key] = VirtualMachine.from_object(new)
        self._machines_of.setdefault(machine.pod.key, {})[key] = machine
        self._wake(machine.pod.key)

    def node_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a Node: its InternalIP is its end of all tunnels."""
        name = name_of(new or old or {})
        before = self._node_ips.pop(name, None)
        after = next(
            (
                str(item.get("address", ""))
                for item in section(new or {}, "status").get("addresses") or ()
                if item.get("type") == "InternalIP" and ":" not in str(item.get("address", ":"))
            ),
            None,
        )
        if after is not None:
            self._node_ips[name] = after
        if before != after:
            for vni, members in list(self._members.items()):
                moved = [(key, member) for key, member in members.items() if member.node == name]
                for key, member in moved:
                    self._left(key, member)
                    self._joined(key, member)
                if moved:
                    self._tell(vni)

    def network(self, name: str) -> VirtualNetwork | None:
        """A network by object name."""
        return self._networks.get(name)

    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces of the cluster."""
        return tuple(self._interfaces.values())

    def network_as_seen(self, interface: Interface) -> Network:
        """The network of an interface; without its service addresses while it is not known."""
        found = self._networks.get(interface.network)
        if found is not None and found.vni == interface.vni:
            return network_of(found)
        mode = interface.forwarding_mode
        return Network(interface.vni, mode, confined=mode == ROUTED)

    def pod_blocks(self) -> tuple[str, ...]:
        """The blocks of the cluster's own pod network, which isolated namespaces share."""
        default = self.default_network()
        subnets = default.subnets if default is not None else ()
        return tuple(str(subnet.cidr) for subnet in subnets)

    def is_bridged(self, pod: str) -> bool:
        """Whether the first interface of the pod ``namespace/name`` is known to be in a bridged network."""
        first = self._first.get(pod)
        return first is not None and first.forwarding_mode != ROUTED

    def default_network(self) -> VirtualNetwork | None:
        """The cluster's own pod network, once it has its number."""
        return next((each for each in self._networks.values() if each.is_default and each.vni), None)

    def confined_network(self, vni: int) -> VirtualNetwork | None:
        """The routed network of that number, unless it is the cluster's own."""
        found = (each for each in self._networks.values() if each.vni == vni and network_of(each).confined)
        return next(found, None) if vni else None

    def remotes(self, vni: int) -> frozenset[Remote]:
        """A network's interfaces on other nodes, as far as those nodes' addresses are known."""
        return frozenset(self._elsewhere.get(vni, ()))

    def _joined(self, key: str, member: Interface) -> None:
        node_ip = self._node_ips.get(member.node)
        if member.node == self.node or not node_ip:
            return
        addresses = tuple(item.address for item in member.addresses)
        made = self._remotes[key] = Remote(member.mac, node_ip, addresses)
        self._elsewhere.setdefault(member.vni, Counter())[made] += 1

    def _left(self, key: str, member: Interface) -> None:
        made = self._remotes.pop(key, None)
        if made is None:
            return
        counted = self._elsewhere[member.vni]
        counted[made] -= 1
        if not counted[made]:
            del counted[made]
        if not counted:
            del self._elsewhere[member.vni]

    def has_pod(self, uid: str) -> bool:
        """Whether a pod of that UID still has a VirtualMachine."""
        return any(machine.pod.uid == uid for machine in self._machines.values())

    def machines_here(self) -> tuple[VirtualMachine, ...]:
        """The VirtualMachines of this node's pods."""
        return tuple(machine for machine in self._machines.values() if machine.node == self.node)

    def plan_of(self, namespace: str, pod: str, uid: str) -> PodPlan | None:
        """What is decided about a pod: its plan if it is complete or refused, else None."""
        machine = self._machine(namespace, pod, uid)
        if machine is None or machine.resolved is None:
            return None
        if machine.resolved.status == "False":
            return PodPlan(machine, ())
        found = [self._interfaces.get(join_key(namespace, name)) for name in machine.interfaces]
        interfaces = tuple(each for each in found if each is not None)
        complete = machine.is_resolved and len(interfaces) == len(found) > 0
        known = all(each.network in self._networks for each in interfaces)
        return PodPlan(machine, interfaces) if complete and known else None

    async def wait_plan(self, namespace: str, pod: str, uid: str, limit_s: float) -> PodPlan:
        """The pod's plan as soon as there is one; ``WaitExpiredError`` after ``limit_s`` seconds."""
        plan = self.plan_of(namespace, pod, uid)
        if plan is not None:
            return plan
        return await wait_for(
            f"the interfaces of pod {namespace}/{pod} to be decided",
            self._until_planned(namespace, pod, uid),
            limit_s,
            hint="is the controller running? see the events of the pod",
        )

    async def _until_planned(self, namespace: str, pod: str, uid: str) -> PodPlan:
        while (plan := self.plan_of(namespace, pod, uid)) is None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            key = join_key(namespace, pod)
            self._waiting.setdefault(key, set()).add(future)
            try:
                await future
            finally:
                waiting = self._waiting.get(key, set())
                waiting.discard(future)
                if not waiting:
                    self._waiting.pop(key, None)
        return plan

    def _machine(self, namespace: str, pod: str, uid: str) -> VirtualMachine | None:
        if uid:
            found = self._machines.get(join_key(namespace, virtual_machine_name(pod, uid)))
            if found is not None and found.pod.uid == uid:
                return found
        return next(
            (
                machine
                for machine in self._machines_of.get(f"{namespace}/{pod}", {}).values()
                if not uid or machine.pod.uid == uid
            ),
            None,
        )

    def _tell(self, vni: int) -> None:
        for listener in self._listeners:
            listener(vni)

    def _wake_all(self) -> None:
        for key in list(self._waiting):
            self._wake(key)

    def _wake(self, pod: str) -> None:
        for future in self._waiting.pop(pod, ()):
            if not future.done():
                future.set_result(None)


def network_of(network: VirtualNetwork) -> Network:
    """A VirtualNetwork as the data path needs it: the node answers for gateways and DNS addresses.

    Of routed networks the cluster's own alone is in the node's main table, wherever it came first. It and
    those of isolated namespaces may have IPv6.
    """
    own = network.is_default or network.origin == ORIGIN_NAMESPACE
    services = [
        str(address)
        for subnet in network.subnets
        for address in (subnet.gateway, subnet.dns)
        if address is not None and (address.version == 4 or network.mode != ROUTED or own)
    ]
    confined = network.mode == ROUTED and not network.is_default
    snat = network.fabric_snat and network.mode != ROUTED
    blocks = tuple(str(subnet.cidr) for subnet in network.subnets) if network.is_underlay else ()
    return Network(network.vni, network.mode, tuple(services), confined, snat, blocks)


def _interface(vmi: Obj) -> Interface | None:
    try:
        return Interface.from_object(vmi)
    except (KeyError, TypeError, ValueError) as error:
        _log.warning("left out: VirtualMachineInterface %s: %r", key_of(vmi), error)
        return None
