"""Repairs what somebody takes away by hand from a pod or a network, and tells of it.

Driven by what the kernel announces (:mod:`multinet.vrouter.changes`). An announcement says where to look, not
what to do: a pod or a network is looked at a moment later, and what should be there and is not is made again.
So our own deletions cost a look and nothing else, and a hundred announcements of one accident cost one.

Somebody who takes the same thing away again and again is not raced: each further repair of one pod or network
waits twice as long, up to half a minute, until it has been left alone for a while.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from multinet.kube.backoff import Backoff
from multinet.kube.queue import KeyedQueue
from multinet.vrouter import fabric, gateways, guard, netns, nft
from multinet.vrouter.changes import HERE, Change, ChangeWatch
from multinet.vrouter.datapath import Attachment, Datapath, Places
from multinet.vrouter.ledger import Ledger
from multinet.vrouter.netlink import DELRULE
from multinet.vrouter.nftwatch import UNKNOWN, Deletion, NftWatch

_LOOK_S = 0.03
# Reading all devices of a large node takes a while; no more than a fortieth of the time goes into it.
_REST = 40
_FREE_REPAIRS = 3
_BACKOFF = Backoff(first_s=0.5, cap_s=30.0)
_QUIET_S = 60.0
_SHOWN = 6
_GATEWAYS = (gateways.TABLE, fabric.TABLE)
_log = logging.getLogger(__name__)


class Teller(Protocol):
    """Tells users what was repaired."""

    def pod_repaired(self, attachment: Attachment, message: str) -> None:
        """Something of a pod's network was missing and is there again."""

    def node_repaired(self, message: str) -> None:
        """Something of the node's forwarding was missing and is there again."""


class Table(Protocol):
    """Who keeps an nft table of its own."""

    async def restore(self, *, anyway: bool = False) -> bool:
        """Make the table again if it should be there and is not, or ``anyway``; whether that was done."""


class Repairs:
    """Keeps the kernel as it was made. ``tables`` are the nft tables beside the guard's, by name.

    ``clock`` gives seconds, for tests.
    """

    def __init__(
        self,
        datapath: Datapath,
        ledger: Ledger,
        teller: Teller,
        *,
        tables: Mapping[str, Table] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._datapath = datapath
        self._ledger = ledger
        self._teller = teller
        self._clock = clock
        self._queue = KeyedQueue(self._look, workers=1, name="repairs")
        self._heard: set[Change] = set()
        self._rest_s = _LOOK_S
        self._repaired: dict[str, tuple[int, float]] = {}
        self._watch = ChangeWatch(self._changed, self.everything)
        self._tables = tables or {}
        self._lost: dict[str, set[int]] = {}
        self._rules = self._watches()

    async def run(self) -> None:
        """Work until cancelled; to be started when all attachments are known. Looks at everything once."""
        self._watch.open()
        for each in self._rules:
            each.open()
        self.everything()
        try:
            await self._queue.run()
        finally:
            self._watch.close()
            for each in self._rules:
                each.close()

    def _watches(self) -> list[NftWatch]:
        """Who hears what is deleted of nft tables on the node, and where the gateways are."""
        found = [NftWatch([guard.TABLE, fabric.TABLE, *self._tables], self._rules_deleted)]
        apart = self._datapath.gateways
        if apart is not None:
            with netns.entered(apart):
                found.append(NftWatch([*_GATEWAYS, *self._tables], self._rules_deleted))
        return found

    def everything(self) -> None:
        """Look at all pods and networks."""
        places = self._datapath.places()
        for vni in set(places.networks.values()):
            self._later(f"network {vni}")
        for container_id in set(places.containers.values()):
            self._later(f"container {container_id}")

    def _changed(self, change: Change) -> None:
        if not self._heard:
            self._queue.add_after("heard", self._rest_s)
        self._heard.add(change)

    def _rules_deleted(self, deletion: Deletion) -> None:
        """Whether it was us is seen a moment later, when the process that asked is known."""
        key = "gateways" if deletion.table in _GATEWAYS else f"table {deletion.table}"
        ports = self._lost.setdefault(key, set())
        if not ports:
            self._later(key, _LOOK_S)
        ports.add(deletion.port)

    async def _table(self, key: str, name: str) -> None:
        """Which of the rules it was does not matter: what keeps a table makes all of it again."""
        ports = self._lost.pop(key, set())
        strangers = {port for port in ports - self._datapath.own_ports if not nft.is_own(port)}
        apart = name == guard.TABLE or key == "gateways"
        if not strangers or (apart and strangers == {UNKNOWN}):
            return
        if name == guard.TABLE:
            mended, what = self._datapath.repair_guard(), "rules of port security"
        elif key == "gateways":
            mended, what = self._datapath.repair_gateways(), "rules of gateways"
        else:
            mended = await self._tables[name].restore(anyway=strangers != {UNKNOWN})
            what = f"nft table {name}, or something of it"
        if mended:
            self._note(key)
            self._teller.node_repaired(f"missing, and made again: {what}")

    async def _look(self, key: str) -> None:
        kind, _, name = key.partition(" ")
        if kind == "heard":
            heard, self._heard = self._heard, set()
            begun = time.monotonic()
            places = self._datapath.places()
            self._rest_s = max(_LOOK_S, _REST * (time.monotonic() - begun))
            for place in {each for change in heard for each in _concerned(change, places)}:
                self._later(place)
        elif kind in ("table", "gateways"):
            await self._table(key, name)
        elif kind == "network":
            await self._network(key, int(name))
        else:
            await self._container(key, name)

    async def _network(self, key: str, vni: int) -> None:
        found = await self._datapath.repair_network(vni)
        if found:
            self._note(key)
            self._teller.node_repaired(f"missing, and made again: {_listed(found)}")
            places = self._datapath.places()
            for container_id in {*places.containers.values()}:
                self._later(f"container {container_id}")

    async def _container(self, key: str, container_id: str) -> None:
        async with self._ledger.hold(container_id):
            record = self._ledger.find(container_id)
            if record is None or record.is_workload:
                return  # it is gone, or somebody else looks after it
            found = await self._datapath.repair(record.attachment)
        if found:
            self._note(key)
            self._teller.pod_repaired(record.attachment, f"missing, and made again: {_listed(found)}")

    def _later(self, key: str, least_s: float = 0.0) -> None:
        count, when = self._repaired.get(key, (0, 0.0))
        if self._clock() - when > _QUIET_S:
            self._repaired.pop(key, None)
            count = 0
        delay = _BACKOFF.delay(count - _FREE_REPAIRS) if count > _FREE_REPAIRS else 0.0
        self._queue.add_after(key, max(least_s, delay))

    def _note(self, key: str) -> None:
        count, _ = self._repaired.get(key, (0, 0.0))
        now = self._clock()
        # Of pods that are gone nobody asks again.
        self._repaired = {each: past for each, past in self._repaired.items() if now - past[1] <= _QUIET_S}
        self._repaired[key] = count + 1, now


def _concerned(change: Change, places: Places) -> set[str]:
    """Which pods and networks to look at."""
    if change.nsid != HERE:
        container = places.pods.get(change.nsid)
        return {f"container {container}"} if container else set()
    found: set[str] = set()
    if change.index in places.containers:
        found.add(f"container {places.containers[change.index]}")
    if change.index and change.index == places.underlay:
        found |= {f"network {vni}" for vni in places.underlaid}
    vni = places.networks.get(change.index) or (None if change.index else places.tables.get(change.table))
    if vni is not None:
        found.add(f"network {vni}")
    owner = places.names.get(change.name)
    if isinstance(owner, str):
        found.add(f"container {owner}")
    elif owner is not None:
        found.add(f"network {owner}")
    elif change.kind == DELRULE or change.index == 1:
        found |= {f"network {vni}" for vni in places.shared}
    return found


def _listed(found: Sequence[str]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
