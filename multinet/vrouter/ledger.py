"""The attachments of this node, in memory and on disk, each made and unmade as one.

Whoever makes attachments (the CNI side for pods, :mod:`multinet.vrouter.workloads` for everything else)
goes through here, so that the order "file, kernel; kernel, file" is kept in one place: whatever happens in
between, the next agent knows which devices may exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from multinet.model.planted import planted
from multinet.vrouter.datapath import Datapath
from multinet.vrouter.marks import short_id
from multinet.vrouter.states import Record, StateFiles
from multinet.vrouter.turns import Turns

_log = logging.getLogger(__name__)


class Ledger:
    """Records by container ID. Changing one needs its turn: ``async with ledger.hold(container_id)``."""

    def __init__(self, datapath: Datapath, states: StateFiles) -> None:
        self._datapath = datapath
        self._states = states
        self._turns = Turns()
        self._records: dict[str, Record] = {}
        self.damaged: tuple[str, ...] = ()
        self._forgotten: list[Callable[[str], None]] = []

    def on_forget(self, listener: Callable[[str], None]) -> None:
        """Call ``listener(container_id)`` when an attachment was unmade."""
        self._forgotten.append(listener)

    def open(self) -> None:
        """Set the node up and find the attachments of an earlier agent; needs no API.

        What that agent was making or unmaking when it ended is taken away: nobody had an answer yet.
        """
        loaded = self._states.load()
        self.damaged = loaded.damaged
        for what in loaded.damaged:
            _log.error("%s; set aside, the kernel knows the pod's interfaces", what)
        records = {record.attachment.container_id: record for record in loaded.records}
        alive = self._datapath.open([record.attachment for record in records.values()], loaded.partial)
        self._records = {each.container_id: records[each.container_id] for each in alive}
        if planted("del-skipped"):
            self._records = {}
        for container_id in records.keys() - self._records.keys():
            _log.info("container %s: its interfaces went with its namespace", container_id)
            self._drop(container_id)
        for container_id in loaded.partial:
            _log.warning("container %s: half made or half unmade, removed", container_id)
            self._drop(container_id)

    def _drop(self, container_id: str) -> None:
        """Remove a file that is about nothing any more; the next agent tries again where that can't be."""
        try:
            self._states.remove(container_id)
        except OSError as error:
            _log.error("container %s: its state file is still there: %s", container_id, error)

    def adopt(self, record: Record) -> None:
        """Take in an attachment that stands and that no file told of."""
        record = replace(record, attachment=self._datapath.claim(record.attachment))
        self._records[record.attachment.container_id] = record
        self._states.store(record)

    def sweep(self) -> None:
        """All attachments are known now: remove what belongs to none."""
        self._datapath.sweep()
        self._states.tidy()

    @property
    def records(self) -> tuple[Record, ...]:
        """All records now; the caller may change the ledger while it goes through them."""
        return tuple(self._records.values())

    def find(self, container_id: str) -> Record | None:
        """The record of a container ID, if it is attached."""
        return self._records.get(container_id)

    def hold(self, container_id: str) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of a container ID and hold it."""
        return self._turns.hold(container_id)

    async def make(self, record: Record) -> None:
        """Attach; on failure nothing of it is left, neither devices nor record.

        :meth:`commit` or :meth:`amend` must follow: until then, an agent that ends leaves nothing of it.
        """
        self._records[record.attachment.container_id] = record
        try:
            self._states.begin(record)
            await self._datapath.attach(record.attachment)
        except BaseException:
            await self.forget(record)
            raise

    def commit(self, record: Record) -> None:
        """The attachment stands; ``OSError`` when that can't be written."""
        self._states.commit(record)

    def amend(self, record: Record) -> None:
        """Replace the record of an attachment that stands; ``OSError`` when it can't be written."""
        self._states.store(record)
        self._records[record.attachment.container_id] = record

    async def forget(self, record: Record) -> None:
        """Unmake an attachment; the record goes last, so that a failure is tried again."""
        self._states.doom(record.attachment.container_id)
        await asyncio.shield(self._datapath.detach(record.attachment))
        self._states.remove(record.attachment.container_id)
        self._records.pop(record.attachment.container_id, None)
        for listener in self._forgotten:
            listener(record.attachment.container_id)

    async def purge(self, container_id: str) -> None:
        """Unmake what the kernel has of a container of which no file tells."""
        name = short_id(container_id)
        strays = [stray for stray in self._datapath.strays() if stray.container == name]
        if strays:
            _log.warning("container %s: removed by what its devices say, without a state file", container_id)
            await asyncio.shield(self._datapath.purge(strays))
        self._states.remove(container_id)
