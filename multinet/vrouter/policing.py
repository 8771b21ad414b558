"""Network policies on one node: which of its pods' ports are closed, and the rules that close them.

Fed with policies, pods and namespaces change by change. While there is no policy nothing of it runs, and
pods and namespaces need not be followed: :attr:`Policing.needed` says when. A pod that a policy selects is
let start only when its rules are in force (:meth:`Policing.admit`); everything else, such as the addresses of
new peers, follows as soon as it is known.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from multinet.model.attachments import Interface
from multinet.model.objects import Obj, key_of, labels_of, name_of, namespace_of, uid_of
from multinet.model.policies import Member, Policy, PolicyError, named_ports
from multinet.vrouter import nft, policy_script
from multinet.vrouter.datapath import BRIDGED, Attachment, DatapathError
from multinet.vrouter.policy_lists import Lists
from multinet.vrouter.policy_script import PolicedPort
from multinet.waits import wait_for

_log = logging.getLogger(__name__)
# The same texts come again at each update, and parsing them would be most of it.
_address = functools.lru_cache(maxsize=1 << 16)(ip_address)

Warn = Callable[[Obj, str, str], None]
"""Warns users of an object: ``(object, reason, message)``."""


class Filter(Protocol):
    """Where rules are put; :class:`NftFilter` in a running agent."""

    async def apply(self, script: str) -> None:
        """Carry out an nft script as a whole; ``DatapathError`` when it is refused."""

    async def names(self, family: str) -> tuple[frozenset[str], frozenset[str]]:
        """The chains and the sets that the table of a family has now."""


class NftFilter:
    """nft in a network namespace: the agent's own, or the one open at ``inside``."""

    def __init__(self, inside: int | None = None) -> None:
        self._inside = inside
        self._tables: frozenset[tuple[str, str]] | None = None

    async def apply(self, script: str) -> None:
        """See :class:`Filter`."""
        await nft.apply_async(script, inside=self._inside)

    async def names(self, family: str) -> tuple[frozenset[str], frozenset[str]]:
        """See :class:`Filter`; nothing where there is no such table.

        On most nodes there is none, and one question tells that of all families. It is asked once: who asks
        for names has not made a table yet.
        """
        try:
            if self._tables is None:
                every = [item["table"] for item in await self._listing("tables") if "table" in item]
                self._tables = frozenset((item["family"], item["name"]) for item in every)
            if (family, policy_script.TABLE) not in self._tables:
                return frozenset(), frozenset()
            listed = await self._listing("table", family, policy_script.TABLE)
        except DatapathError:
            return frozenset(), frozenset()
        chains, sets = ([each[kind]["name"] for each in listed if kind in each] for kind in ("chain", "set"))
        return frozenset(chains), frozenset(sets)

    async def _listing(self, *what: str) -> list[Obj]:
        text = await asyncio.to_thread(nft.listing, *what, inside=self._inside)
        listed: list[Obj] = json.loads(text)["nftables"]
        return listed


@dataclass(frozen=True, slots=True)
class _Pod:
    """What of a pod policies look at."""

    key: str
    namespace: str
    labels: Mapping[str, str]
    named_ports: frozenset[tuple[str, str, int]]


class Policing:
    """See the module. ``interfaces`` gives all interfaces of the cluster as they are known now."""

    def __init__(
        self,
        interfaces: Callable[[], Iterable[Interface]],
        *,
        rules: Filter | None = None,
        warn: Warn | None = None,
        limit_s: float = 10.0,
    ) -> None:
        self.needed = asyncio.Event()
        self._interfaces = interfaces
        self._filter = rules or NftFilter()
        self._warn = warn
        self._limit_s = limit_s
        self._policies: dict[tuple[str, str], Policy] = {}
        self._pods: dict[str, _Pod] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._attached: dict[str, Attachment] = {}
        self._closed: dict[str, PolicedPort] = {}
        self._in_force: dict[str, policy_script.Content] = {}
        self._listed = self._complete = False
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._listener: Callable[[], None] = lambda: None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener()`` when :meth:`update` has something to do."""
        self._listener = listener

    def open(self, attachments: Iterable[Attachment]) -> None:
        """Take over the attachments of an earlier agent; its rules stay until :meth:`update`."""
        self._attached = {each.container_id: each for each in attachments}

    def policies_listed(self) -> None:
        """All policies are known now."""
        self._listed = True
        self._tell()

    def peers_listed(self) -> None:
        """All pods and namespaces are known now."""
        self._complete = True
        self._tell()

    def policy_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a policy of either kind; one that can't be understood is told and left out."""
        policy = new or old or {}
        key = str(policy.get("kind") or "NetworkPolicy"), key_of(policy)
        self._policies.pop(key, None)
        if new is not None:
            try:
                self._policies[key] = Policy.of(new)
            except PolicyError as error:
                _log.error("%s", error)
                if self._warn is not None:
                    self._warn(new, "PolicyInvalid", str(error))
        if self._policies:
            self.needed.set()
        self._tell()

    def pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a pod. What policies don't look at is no change."""
        uid = uid_of(new or old or {})
        before = self._pods.pop(uid, None)
        if new is not None:
            ports = named_ports(new)
            self._pods[uid] = _Pod(key_of(new), namespace_of(new), labels_of(new), ports)
        if before != self._pods.get(uid):
            self._tell()

    def namespace_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a namespace."""
        name = name_of(new or old or {})
        before = self._namespaces.pop(name, None)
        if new is not None:
            self._namespaces[name] = labels_of(new)
        if before != self._namespaces.get(name):
            self._tell()

    def members_changed(self) -> None:
        """Interfaces of the cluster came or went."""
        if self._policies:
            self._tell()

    async def admit(self, attachment: Attachment) -> None:
        """Have the policies of a pod in force before it has a network.

        ``WaitExpiredError`` when the pod stays unknown, ``DatapathError`` when its rules can't be made.
        """
        self._attached[attachment.container_id] = attachment
        hint = "can the node agent list and watch pods, namespaces and policies?"
        await wait_for(
            f"the policies for pod {attachment.pod} to be known",
            self._known(attachment),
            self._limit_s,
            hint=hint,
        )
        if self._now_closed([attachment]):
            await self.update()
        elif self._policies:
            self._tell()

    def dismiss(self, container_id: str) -> None:
        """A pod has no network any more."""
        gone = self._attached.pop(container_id, None)
        if gone is not None and any(port.host_name in self._closed for port in gone.ports):
            self._tell()

    async def update(self) -> None:
        """Put into force what is known now; nothing, as long as that is not complete."""
        async with self._turn:
            if not self._is_complete():
                return
            wanted = self._now_closed(self._attached.values())
            for family in policy_script.FAMILIES:
                await self._put(policy_script.content(family, wanted.values()))
            self._closed = wanted

    async def restore(self, *, anyway: bool = False) -> bool:
        """Make tables again that somebody deleted, or ``anyway`` all; whether there was one.

        ``DatapathError`` on failure.
        """
        async with self._turn:
            made = [content for content in self._in_force.values() if content.chains]
            lost = [each for each in made if anyway or not (await self._filter.names(each.family))[0]]
            for content in lost:
                await self._filter.apply(policy_script.script(content, (), ()))
        return bool(lost)

    async def _put(self, new: policy_script.Content) -> None:
        before = self._in_force.get(new.family)
        if before == new:
            return
        if (lack := nft.lack()) and new.chains:
            raise DatapathError("network policies can't be enforced on this node", why=lack)
        if before is not None:
            chains, sets = frozenset(before.chains), frozenset(before.sets)
        else:
            chains, sets = (frozenset(), frozenset()) if lack else await self._filter.names(new.family)
        if new.chains or chains:
            await self._filter.apply(policy_script.script(new, chains, sets))
            _log.info("policies are in force: %d chains (%s)", len(new.chains), new.family)
        self._in_force[new.family] = new

    def _is_complete(self) -> bool:
        return self._listed and (self._complete or not self._policies)

    async def _known(self, attachment: Attachment) -> None:
        namespace = attachment.pod.partition("/")[0]
        while not (
            self._is_complete()
            and (
                attachment.pod_uid in self._pods
                or all(policy.namespace != namespace for policy in self._policies.values())
            )
        ):
            self._changed.clear()
            await self._changed.wait()

    def _now_closed(self, attachments: Iterable[Attachment]) -> dict[str, PolicedPort]:
        """The closed ports of these by device. A pod that is gone from the API keeps its rules to its end."""
        if not self._policies:
            return {}
        members: dict[str, list[Member]] = {}
        by_place: dict[tuple[str, int], Member] = {}
        for interface in self._interfaces():
            member = self._member(interface)
            members.setdefault(interface.network, []).append(member)
            if interface.pod.uid in self._pods:
                by_place[interface.pod.uid, interface.index] = member
        lists = {network: Lists(self._policies.values(), each) for network, each in members.items()}
        found = {}
        for attachment in attachments:
            for port in attachment.ports:
                subject = by_place.get((attachment.pod_uid, port.wanted.index))
                if subject is None:
                    if port.host_name in self._closed:
                        found[port.host_name] = self._closed[port.host_name]
                    continue
                left = lists[subject.network].closed(subject)
                if left is not None:
                    network = port.wanted.network
                    bridged = network.mode == BRIDGED
                    found[port.host_name] = PolicedPort(port.host_name, network.vni, bridged, left)
        return found

    def _member(self, interface: Interface) -> Member:
        pod = self._pods.get(interface.pod.uid)
        namespace = interface.pod.namespace
        return Member(
            pod=interface.pod.key,
            namespace=namespace if pod is not None else "",
            labels=pod.labels if pod is not None else {},
            namespace_labels=self._namespaces.get(namespace, {}) if pod is not None else {},
            network=interface.network,
            nad=interface.nad,
            addresses=tuple(_address(item.address) for item in interface.addresses),
            named_ports=pod.named_ports if pod is not None else frozenset(),
        )

    def _tell(self) -> None:
        self._changed.set()
        self._listener()


class Guard(Protocol):
    """What the agent asks before it gives a pod a network."""

    def open(self, attachments: Iterable[Attachment]) -> None:
        """Take over the attachments of an earlier agent."""

    async def admit(self, attachment: Attachment) -> None:
        """Return when the pod may have its network; raise ``MultinetError`` when it must not."""

    def dismiss(self, container_id: str) -> None:
        """A pod has no network any more."""


class Everybody:
    """A :class:`Guard` where there are no policies."""

    def open(self, attachments: Iterable[Attachment]) -> None:
        """Nothing to take over."""

    async def admit(self, attachment: Attachment) -> None:
        """At once."""

    def dismiss(self, container_id: str) -> None:
        """Nothing to forget."""
