"""VirtualNetworks: complete each (gateway, DNS, VNI), say whether it is ready, keep the default one there.

A network that was made of a NAD or for an isolated namespace goes when its maker is gone and its last user
left. Others are never removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import ip_network
from itertools import combinations

from multinet.controller.announcer import Announcer, in_words
from multinet.controller.settings import Settings
from multinet.controller.usage import Usage
from multinet.controller.view import BY_VNI, View, now
from multinet.controller.vnis import Vnis
from multinet.controller.waiting import Waiting, network_topic
from multinet.errors import InputError
from multinet.kube.errors import AlreadyExistsError, NotFoundError
from multinet.kube.resources import VIRTUAL_NETWORKS
from multinet.model import conditions, naming
from multinet.model.conditions import Condition
from multinet.model.nad import ANNOTATION_FORWARDING, NadError, check_subnet
from multinet.model.naming import FqName
from multinet.model.networks import (
    DEFAULT_POD_CIDR,
    DEFAULT_SERVICE_CIDR,
    L3,
    ORIGIN_CLUSTER,
    ORIGIN_NAD,
    ORIGIN_NAMESPACE,
    Subnet,
    VirtualNetwork,
)
from multinet.model.objects import Obj, metadata_of, name_of, section, uid_of
from multinet.model.planted import planted

_log = logging.getLogger(__name__)


class Networks:
    """Reconciles one VirtualNetwork (by object name) at a time."""

    def __init__(
        self,
        view: View,
        *,
        settings: Settings,
        vnis: Vnis,
        usage: Usage,
        waiting: Waiting,
        announcer: Announcer,
        target_of: Callable[[Obj], FqName | None],
        is_wanted_by_namespace: Callable[[VirtualNetwork], bool],
    ) -> None:
        self._view = view
        self._vnis = vnis
        self._usage = usage
        self._waiting = waiting
        self._announcer = announcer
        self._dialect = settings.dialect
        self._target_of = target_of
        self._is_wanted_by_namespace = is_wanted_by_namespace
        self._default = settings.default_network
        self._pod_cidr6 = settings.pod_cidr6
        self._made_default = False
        self.default_name = naming.object_name(self._default)

    async def reconcile(self, name: str) -> None:
        """One pass over a network."""
        vn = self._view.networks.store.get(name)
        if vn is None:
            may_make = self._dialect.repairs_damage or not self._made_default
            if name == self.default_name and may_make and self._view.network_named(self._default) is None:
                await self._create_default()
            return
        if metadata_of(vn).get("deletionTimestamp"):
            return
        try:
            network = self._view.read(vn) or VirtualNetwork.from_object(vn)
            if await self._removed(vn, network):
                return
            completed = self._completed(vn, network)
            if completed is not network:
                vn = await self._write(vn, completed)
            condition = Condition(conditions.READY, "True", "Complete", f"VNI {completed.vni}")
        except NadError as error:
            condition = Condition(conditions.READY, "False", error.reason, in_words(error))
        except InputError as error:
            condition = Condition(conditions.READY, "False", "SpecInvalid", in_words(error))
        await self._tell(vn, condition)

    def may_remove(self, vn: Obj) -> bool:
        """Whether a network has lost its maker, so that its last user takes it along."""
        network = self._view.read(vn)
        return network is not None and not self._is_wanted(network)

    def _is_wanted(self, network: VirtualNetwork) -> bool:
        if network.origin == ORIGIN_NAMESPACE:
            return self._is_wanted_by_namespace(network)
        if network.origin != ORIGIN_NAD or self._dialect.orphan_networks_in_use:
            return True
        return self._view.is_wanted_by_nad(network, self._target_of)

    async def _create_default(self) -> None:
        network = VirtualNetwork(
            fq_name=self._default,
            subnets=tuple(map(Subnet.of, filter(None, (DEFAULT_POD_CIDR, self._pod_cidr6)))),
            vni=self._vnis.reserve(self.default_name, self._default),
            forwarding_mode=L3,
            origin=ORIGIN_CLUSTER,
        )
        self._made_default = True
        try:
            await self._view.client.create(VIRTUAL_NETWORKS, network.to_object())
        except AlreadyExistsError:
            return
        _log.info("made the default network %s, VNI %d", naming.fq_text(self._default), network.vni)

    async def _removed(self, vn: Obj, network: VirtualNetwork) -> bool:
        if self._is_wanted(network):
            return False
        if await self._usage.is_used(network.name) and not planted("live-network-removed"):
            _log.info("%s: its maker is gone, it stays until its last user is", network.name)
            return False
        if self._is_wanted(network):
            return False
        try:
            await self._view.client.delete(VIRTUAL_NETWORKS, network.name, uid=uid_of(vn) or None)
        except NotFoundError:
            return True
        _log.info("%s: removed, its maker is gone and nobody uses it", network.name)
        return True

    def _completed(self, vn: Obj, network: VirtualNetwork) -> VirtualNetwork:
        """``network`` with everything chosen; the same object when nothing was missing."""
        where = f"VirtualNetwork {network.name}"
        first = self._view.network_named(network.fq_name)
        if first is not None and name_of(first) != network.name:
            raise NadError(
                "DuplicateName",
                f"the network {naming.fq_text(network.fq_name)} is there twice",
                where=where,
                why=f"VirtualNetwork {name_of(first)} is older and counts",
                next_step="delete this one, or give it another fqName",
            )
        if not network.subnets and not network.device:
            raise NadError(
                "NoSubnet", "the network has no subnet", where=where, next_step='add {"cidr": "10.1.1.0/24"}'
            )
        subnets = tuple(subnet.completed() for subnet in network.subnets)
        if self._dialect.cidr_grammar == "documented":
            for subnet in subnets:
                check_subnet(subnet, where)
        for one, other in combinations(subnets, 2):
            if one.cidr.overlaps(other.cidr):
                raise NadError(
                    "SubnetsOverlap", f"the subnets {one.cidr} and {other.cidr} overlap", where=where
                )
        self._refuse_shared_underlay(vn, network, where)
        vni = network.vni or self._vnis.reserve(network.name, network.fq_name)
        self._refuse_used_vni(vn, vni, where)
        if vni == network.vni and subnets == network.subnets:
            return network
        return VirtualNetwork(
            fq_name=network.fq_name,
            subnets=subnets,
            vni=vni,
            forwarding_mode=network.forwarding_mode,
            fabric_snat=network.fabric_snat,
            ip_fabric_forwarding=network.ip_fabric_forwarding,
            object_name=network.name,
            origin=network.origin,
            nad=network.nad,
            pool=network.pool,
            device=network.device,
        )

    def _refuse_shared_underlay(self, vn: Obj, network: VirtualNetwork, where: str) -> None:
        """An address of the underlay is one for all of it, unlike those of networks with an overlay."""
        if not network.is_underlay:
            return
        mine = _age(vn)
        others = {"the pods' default network": DEFAULT_POD_CIDR, "services": DEFAULT_SERVICE_CIDR}
        taken = [(who, ip_network(block)) for who, block in others.items()]
        taken += [
            (name_of(other), subnet.cidr)
            for other in self._view.networks.store.values()
            if _age(other) < mine and (read := self._view.read(other)) is not None and read.is_underlay
            for subnet in read.subnets
        ]
        step = f"give the network another block, or switch {ANNOTATION_FORWARDING} off"
        for subnet in network.subnets:
            if subnet.cidr.version != 4:
                what = f"the block {subnet.cidr} can't be routed in the underlay"
                raise NadError(
                    "UnderlayIPv4Only",
                    what,
                    where=where,
                    why="nodes have IPv4 addresses there",
                    next_step=step,
                )
            for who, block in taken:
                if subnet.cidr.overlaps(block):
                    raise NadError(
                        "UnderlayBlockTaken",
                        f"the block {subnet.cidr} can't be routed in the underlay",
                        where=where,
                        why=f"it overlaps with {block} of {who}, which is routed there too",
                        next_step=step,
                    )

    def _refuse_used_vni(self, vn: Obj, vni: int, where: str) -> None:
        for other in self._view.networks.by_index(BY_VNI, str(vni)):
            if _age(other) < _age(vn):
                raise NadError(
                    "VNIInUse",
                    f"the VNI {vni} is {name_of(other)}'s",
                    where=where,
                    why="two networks with one VNI would be one network on the wire",
                    next_step="leave vni out and a free one is chosen",
                )

    async def _write(self, vn: Obj, completed: VirtualNetwork) -> Obj:
        spec = section(vn, "spec") | completed.to_object()["spec"]
        # With the resourceVersion that was read: a change in between is met by another pass.
        return await self._view.client.replace(VIRTUAL_NETWORKS, {**vn, "spec": spec})

    async def _tell(self, vn: Obj, condition: Condition) -> None:
        if condition.is_true:
            self._announcer.recovered(vn)
        if condition.says_the_same(conditions.find(vn, conditions.READY)):
            return
        existing = section(vn, "status").get("conditions") or []
        made = Condition(condition.type, condition.status, condition.reason, condition.message, now())
        patch = {"status": {"conditions": conditions.merged(existing, made)}}
        try:
            await self._view.client.patch(VIRTUAL_NETWORKS, name_of(vn), patch, subresource="status")
        except NotFoundError:
            return
        if not condition.is_true:
            self._announcer.warn(vn, condition.reason, condition.message)

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """Wake the pods which wait for a network (informer callback)."""
        for seen in (old, new):
            parts = section(seen or {}, "spec").get("fqName")
            if isinstance(parts, list):
                self._waiting.wake(network_topic(tuple(map(str, parts))))


def _age(vn: Obj) -> tuple[str, str]:
    """Older networks come first; of two of one second the first by name."""
    return str(metadata_of(vn).get("creationTimestamp", "")), name_of(vn)
