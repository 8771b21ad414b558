"""The rules, in one page: what may be attached to whom after each step.

The documented rules and limitations of multi-net, and the rows of the standard that they rest on. The model
knows nothing of how they are kept. Where several outcomes are right (two pods want the last address), it
does not predict one: it says of each pod why it may not run (:meth:`Model.blocker`), and an observed world is
right when every pod that got its attachments had no blocker then, and every pod that has none has one now.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from conformance.fuzz import steps
from conformance.fuzz.steps import Pick, Step

RESERVED = 4  # network, broadcast, gateway and DNS address of an IPv4 block


@dataclass(frozen=True, slots=True)
class Held:
    """One attachment after the first, as it was made: it never changes while its pod runs."""

    nad: str
    network: str
    interface: str
    ips: tuple[str, ...]
    mac: str


@dataclass(slots=True)
class Pod:
    """A pod that exists. ``held`` is None until it is decided what it gets, which is final."""

    key: str
    node: str
    picks: tuple[Pick, ...]
    valid: bool = True
    held: tuple[Held, ...] | None = None
    ran: bool = False
    ending: bool = False


@dataclass(slots=True)
class Model:
    """What there is. ``made``: blocks of the networks that NADs made; ``config``: of those made by hand."""

    nads: dict[str, steps.ApplyNad] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    unsettled: bool = False

    def allows(self, step: Step) -> bool:
        """Whether a step makes sense now: what it is about is there, or is not there yet."""
        match step:
            case steps.CreatePod():
                return step.key not in self.pods
            case steps.DeletePod() | steps.EditSelection():
                return step.key in self.pods and not self.pods[step.key].ending
            case steps.DamageStatus() | steps.RepeatCall():
                pod = self.pods.get(step.key)
                return pod is not None and pod.held is not None and not pod.ending
            case steps.DeleteNad():
                return step.key in self.nads
            case steps.RemoveNetwork():
                return step.network in self.config
            case steps.Cut():
                return step.node not in self.cut
            case steps.Heal():
                return step.node in self.cut
        return True

    def apply(self, step: Step) -> None:
        """What a step changes by itself; what follows from it is :meth:`settle`'s."""
        match step:
            case steps.ApplyNad():
                self.nads[step.key] = step
            case steps.DeleteNad():
                self.nads.pop(step.key, None)
            case steps.MakeNetwork():
                self.config.setdefault(step.network, step.cidr)
            case steps.RemoveNetwork():
                if not self.users(step.network):
                    self.config.pop(step.network, None)
            case steps.CreatePod():
                self.pods[step.key] = Pod(step.key, step.node, step.picks, valid=not step.text)
            case steps.EditSelection():
                pod = self.pods[step.key]
                if pod.held is None:
                    pod.picks, pod.valid = step.picks, True
            case steps.DeletePod():
                pod = self.pods[step.key]
                pod.ending = pod.node in self.cut and step.grace > 0
                if not pod.ending:
                    del self.pods[step.key]
            case steps.Cut():
                self.cut.add(step.node)
            case steps.Heal():
                self.cut.discard(step.node)
                self.pods = {key: pod for key, pod in self.pods.items() if not self._ends(pod)}
            case steps.RefuseDevices():
                (self.refusing.add if step.on else self.refusing.discard)(step.node)
            case steps.LoseAnswers():
                self.unsettled = step.on
        self.settle()

    def settle(self) -> None:
        """A network comes with its NAD, goes with its last user, and is never changed while it is used."""
        for key in {*self.nads, *self.made}:
            wanted = self.wanted(key)
            if key not in self.made:
                if wanted:
                    self.made[key] = wanted
            elif not self.users(key) and wanted != self.made[key]:
                if wanted:
                    self.made[key] = wanted
                else:
                    del self.made[key]

    def wanted(self, nad: str) -> str:
        """The blocks of the network that a NAD asks for; empty when it makes none."""
        found = self.nads.get(nad)
        return found.cidr if found is not None and not found.broken and is_usable(found.cidr) else ""

    def users(self, network: str) -> set[str]:
        """Pods with an attachment in a network."""
        return {pod.key for pod in self.pods.values() for held in pod.held or () if held.network == network}

    def network_of(self, nad: str) -> str:
        """The network that a NAD stands for (its key, or a name in the config API); empty: none now."""
        found = self.nads.get(nad)
        if found is None or found.broken:
            return ""
        if found.cidr:
            return nad if self.made.get(nad) == self.wanted(nad) != "" else ""
        return found.maps_to if found.maps_to in self.config else ""

    def blocks(self, network: str) -> str:
        """The blocks of a network."""
        return self.made.get(network) or self.config.get(network, "")

    def room(self, network: str) -> int:
        """How many more attachments a network can have; 0 where there is no such network."""
        blocks = self.blocks(network)
        held = sum(item.network == network for pod in self.pods.values() for item in pod.held or ())
        return min(size(block) for block in blocks.split(",")) - held if blocks else 0

    def blocker(self, pod: Pod) -> str:
        """Why a pod may not be attached now; empty: it must be."""
        if not pod.valid:
            return "its selection can't be read (NPWG 4.1)"
        names = [pick.interface for pick in pod.picks if pick.interface]
        if len(set(names)) < len(names) or "eth0" in names:
            return "an interface name is asked for twice (NPWG 4.1.2.1.5)"
        need: dict[str, list[Pick]] = {}
        for pick in pod.picks:
            network = self.network_of(pick.nad)
            if not network:
                return f"{pick.nad} stands for no network (NPWG 7.2)"
            need.setdefault(network, []).append(pick)
        for network, picks in need.items():
            reason = self._lacks(network, picks, pod)
            if reason:
                return reason
        return ""

    def waits_for_node(self, pod: Pod) -> str:
        """Why a pod whose attachments are decided may not run yet."""
        if pod.node in self.cut:
            return f"{pod.node} can't reach the API"
        return f"{pod.node} refuses devices" if pod.node in self.refusing else ""

    def _lacks(self, network: str, picks: list[Pick], pod: Pod) -> str:
        """Why a network can't give what is asked of it."""
        held = [
            item
            for other in self.pods.values()
            if other is not pod
            for item in other.held or ()
            if item.network == network
        ]
        taken = {ip for item in held for ip in item.ips}
        asked = [pick.ip for pick in picks if pick.ip]
        if len(set(asked)) < len(asked) or taken & set(asked):
            return f"an address of {network} is taken (NPWG 4.1.2.1.3)"
        if any(not is_free(ip, self.blocks(network)) for ip in asked):
            return f"an address is not one of {network}'s to give"
        macs = [pick.mac for pick in picks if pick.mac]
        if len(set(macs)) < len(macs) or {item.mac for item in held} & set(macs):
            return f"a MAC is in {network} already (NPWG 4.1.2.1.4)"
        room = min(size(block) for block in self.blocks(network).split(","))
        if room - len(held) < len(picks):
            return f"{network} has no free address"
        return ""

    def _ends(self, pod: Pod) -> bool:
        return pod.ending and pod.node not in self.cut


@functools.cache
def is_usable(cidr: str) -> bool:
    """Whether all blocks can be read and have room for a pod."""
    try:
        return bool(cidr) and all(size(block) > 0 for block in cidr.split(","))
    except ValueError:
        return False


@functools.cache
def size(block: str) -> int:
    """How many addresses a block has for pods."""
    return max(0, ip_network(block.strip()).num_addresses - RESERVED)


@functools.cache
def is_free(ip: str, cidr: str) -> bool:
    """Whether an address is one that pods may have."""
    for block in map(ip_network, cidr.split(",")):
        address = ip_address(ip)
        if address.version == block.version and address in block:
            kept = {block[0], block[-1], block[-2], block[-3]}
            return address not in kept
    return False
