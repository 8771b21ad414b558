"""Addresses of all networks: pools that follow the InstanceIPs, and claims that create them.

Choosing is synchronous, so two pods reconciled side by side never race in this process; the API decides
about everybody else: a claim is good when its InstanceIP could be created.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from multinet.controller.errors import Refusal
from multinet.controller.view import BY_POD, BY_POOL, View
from multinet.controller.waiting import Waiting, addresses_topic
from multinet.kube.errors import AlreadyExistsError, NotFoundError
from multinet.kube.resources import INSTANCE_IPS
from multinet.model import naming
from multinet.model.attachments import Address, InstanceIP, Interface, PodRef, pool_of
from multinet.model.ipam import Pool
from multinet.model.networks import IPAddress, Subnet, VirtualNetwork
from multinet.model.objects import Obj, name_of, section
from multinet.model.planted import planted
from multinet.model.requests import Wanted

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Claim:
    """One address for one interface: held in the pool, and perhaps already in the API (``exists``)."""

    wanted: Wanted
    subnet: Subnet
    pool: Pool
    address: IPAddress
    exists: bool = False

    @property
    def object_name(self) -> str:
        """The name of the InstanceIP."""
        network = self.wanted.network
        return naming.instance_ip_name(network.pool_name, str(self.address))

    def instance_ip(self, pod: PodRef) -> InstanceIP:
        """What owns the address for an interface of that pod."""
        network = self.wanted.network
        interface = naming.interface_object_name(pod.name, pod.uid, self.wanted.index)
        return InstanceIP(network.name, str(self.address), pod, interface, network.pool)


class Addresses:
    """Pools by network object, made when first asked for."""

    def __init__(self, view: View, waiting: Waiting) -> None:
        self._view = view
        self._waiting = waiting
        self._pools: dict[str, tuple[Pool, ...]] = {}
        view.instance_ips.on_change(self._changed)
        view.networks.on_change(self._network_changed)

    def reserve(self, pod: PodRef, wanted: Iterable[Wanted], known: Iterable[Obj] = ()) -> list[Claim]:
        """Choose all addresses of a pod at once, or raise ``Refusal`` and hold none.

        What an earlier, interrupted pass has claimed is used again: from the cache, and from ``known``
        (InstanceIPs read from the API) where the cache may be behind.
        """
        mine = self._owned_by(pod, known)
        claims: list[Claim] = []
        try:
            # What is asked for by name first: the pod's other interfaces must not take it.
            for item in sorted(wanted, key=lambda item: not item.fixed):
                claims.extend(self._reserve_one(pod, item, mine))
        except Refusal:
            if not planted("lease-leak"):
                self.give_back(claim for claim in claims if not claim.exists)
            raise
        return sorted(claims, key=lambda claim: claim.wanted.index)

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Forget claims which were never created."""
        for claim in claims:
            claim.pool.give_back(claim.address)

    async def create(self, pod: PodRef, claim: Claim) -> None:
        """Own the claimed address, or another where the caches were behind; may raise ``Refusal``."""
        if claim.exists:
            return
        while True:
            made = claim.instance_ip(pod)
            try:
                await self._view.client.create(INSTANCE_IPS, made.to_object())
            except AlreadyExistsError:
                owner = await self._owner(made.name)
                if owner is not None and (owner.pod.uid, owner.interface) != (pod.uid, made.interface):
                    self._choose_again(pod, claim, owner)
                    continue
                if owner is None:
                    continue
            claim.exists = True
            return

    def _choose_again(self, pod: PodRef, claim: Claim, owner: InstanceIP) -> None:
        if claim.address in claim.wanted.fixed:
            raise _taken(claim.wanted, claim.address, owner)
        _log.info("%s: %s is %s's already, taking another", pod.key, claim.address, owner.pod.key)
        chosen = claim.pool.choose()
        if chosen is None:
            raise _exhausted(claim.wanted, [claim.subnet])
        claim.address = chosen

    async def _owner(self, name: str) -> InstanceIP | None:
        try:
            return InstanceIP.from_object(await self._view.client.get(INSTANCE_IPS, name))
        except NotFoundError:
            return None

    def _owned_by(self, pod: PodRef, known: Iterable[Obj]) -> dict[str, list[InstanceIP]]:
        mine: dict[str, list[InstanceIP]] = {}
        if planted("duplicate-allocates"):
            return mine
        for found in known or self._view.instance_ips.by_index(BY_POD, pod.key):
            iip = InstanceIP.from_object(found)
            if iip.pod.uid == pod.uid:
                mine.setdefault(iip.interface, []).append(iip)
        return mine

    def _reserve_one(self, pod: PodRef, item: Wanted, mine: dict[str, list[InstanceIP]]) -> list[Claim]:
        interface = naming.interface_object_name(pod.name, pod.uid, item.index)
        owned = {
            ipaddress.ip_address(iip.address)
            for iip in mine.get(interface, ())
            if iip.network == item.network.name
        }
        pools = self._pools_of(item.network)
        worn = self._worn(pod, interface, item.network.name)
        claims: list[Claim] = []
        try:
            if item.fixed:
                for address in item.fixed:
                    claims.append(self._fixed(item, pools, address, address in owned))
            else:
                for family in dict.fromkeys(pool.subnet.family for pool in pools):
                    candidates = [pool for pool in pools if pool.subnet.family == family]
                    claims.append(self._dynamic(item, candidates, owned, worn))
        except Refusal:
            self.give_back(claim for claim in claims if not claim.exists)
            raise
        return claims

    def _fixed(self, item: Wanted, pools: tuple[Pool, ...], address: IPAddress, owned: bool) -> Claim:
        pool = next(pool for pool in pools if address in pool.subnet.cidr)
        if not pool.take(address) and not owned:
            name = naming.instance_ip_name(item.network.pool_name, str(address))
            found = self._view.instance_ips.store.get(name)
            raise _taken(item, address, InstanceIP.from_object(found) if found is not None else None)
        return Claim(item, pool.subnet, pool, address, exists=owned)

    def _worn(self, pod: PodRef, interface: str, network: str) -> list[IPAddress]:
        """What the interface's object says it has, where its InstanceIP may have been removed by hand."""
        found = self._view.interfaces.store.get(f"{pod.namespace}/{interface}")
        if found is None:
            return []
        known = Interface.from_object(found)
        if known.pod != pod or known.network != network:
            return []
        return [ipaddress.ip_address(address.address) for address in known.addresses]

    def _dynamic(
        self, item: Wanted, pools: Sequence[Pool], owned: set[IPAddress], worn: Sequence[IPAddress]
    ) -> Claim:
        """One address of a family: the one owned already, or worn already, or the first that is free."""
        for pool in pools:
            kept = next((address for address in sorted(owned, key=int) if address in pool.subnet.cidr), None)
            if kept is not None:
                pool.take(kept)
                return Claim(item, pool.subnet, pool, kept, exists=True)
        for pool in pools:
            for address in worn:
                if pool.take(address):
                    return Claim(item, pool.subnet, pool, address)
        for pool in pools:
            chosen = pool.choose()
            if chosen is not None:
                return Claim(item, pool.subnet, pool, chosen)
        raise _exhausted(item, [pool.subnet for pool in pools])

    def _pools_of(self, network: VirtualNetwork) -> tuple[Pool, ...]:
        key = network.pool_name
        pools = self._pools.get(key)
        if pools is not None and tuple(pool.subnet for pool in pools) == network.subnets:
            return pools
        pools = tuple(Pool(subnet) for subnet in network.subnets)
        for found in self._view.instance_ips.by_index(BY_POOL, key):
            address = _address_of(found)
            if address is None:
                continue
            for pool in pools:
                pool.take(address)
        self._pools[key] = pools
        return pools

    def _network_changed(self, old: Obj | None, new: Obj | None) -> None:
        """A pool is read again by the next network of its name; one may be shared, and is then read twice."""
        if old is not None and new is None:
            self._pools.pop(name_of(old), None)

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is not None:
            return
        seen = new or old or {}
        key = pool_of(seen)
        address = _address_of(seen)
        if address is None:
            return
        for pool in self._pools.get(key, ()):
            if new is not None:
                pool.take(address)
            else:
                pool.give_back(address)
        if new is None:
            self._waiting.wake(addresses_topic(key))


def interface_of(pod: PodRef, node: str, of: int, item: Wanted, claims: Iterable[Claim]) -> Interface:
    """The interface that ``item`` asks for, with the addresses claimed for it; ``of`` how many there are."""
    addresses = tuple(
        Address(
            str(claim.address),
            claim.subnet.cidr.prefixlen,
            str(claim.subnet.gateway or ""),
            str(claim.subnet.dns or ""),
        )
        for claim in claims
        if claim.wanted is item
    )
    return Interface(
        pod=pod,
        node=node,
        index=item.index,
        of=of,
        network=item.network.name,
        vni=item.network.vni,
        forwarding_mode=item.network.mode,
        nad=item.nad,
        interface=item.interface,
        mac=item.mac,
        addresses=addresses,
        default_route=item.default_route,
        bandwidth=item.bandwidth,
        port_mappings=item.port_mappings,
        port_security=item.port_security,
        device=item.network.device,
    )


def _address_of(iip: Obj) -> IPAddress | None:
    """The address of an InstanceIP; None where somebody wrote one that holds none."""
    try:
        return ipaddress.ip_address(str(section(iip, "spec").get("address", "")))
    except ValueError:
        return None


def _taken(item: Wanted, address: IPAddress, owner: InstanceIP | None) -> Refusal:
    who = "another pod that is just being attached"
    if owner is not None:
        who = f"pod {owner.pod.key}" if owner.pod.name else f"InstanceIP {owner.name}"
    return Refusal(
        "AddressInUse",
        f"the address {address} is not free",
        where=f"{item.nad or 'default network'} as {item.interface}",
        why=f"it belongs to {who}",
        next_step="ask for another address, or delete the pod that has it",
        topics=(addresses_topic(item.network.pool_name),),
    )


def _exhausted(item: Wanted, subnets: Sequence[Subnet]) -> Refusal:
    count = sum(subnet.usable for subnet in subnets)
    blocks = " and ".join(str(subnet.cidr) for subnet in subnets)
    return Refusal(
        "PoolExhausted",
        f"the network {naming.fq_text(item.network.fq_name)} has no free address",
        where=f"{item.nad or 'default network'} as {item.interface}",
        why=f"all {count} addresses of {blocks} are in use",
        next_step="delete pods of that network, or make a network with a larger block",
        topics=(addresses_topic(item.network.pool_name),),
    )
