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

from multinet.vrouter.datapath import Datapath
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
        self._forgotten: list[Callable[[str], None]] = []

    def on_forget(self, listener: Callable[[str], None]) -> None:
        """Call ``listener(container_id)`` when an attachment was unmade."""
        self._forgotten.append(listener)

    def open(self) -> None:
        """Set the node up and find the attachments of an earlier agent; needs no API."""
        records = {record.attachment.container_id: record for record in self._states.load()}
        alive = self._datapath.open([record.attachment for record in records.values()])
        self._records = {each.container_id: records[each.container_id] for each in alive}
        for container_id in records.keys() - self._records.keys():
            _log.info("container %s: its interfaces went with its namespace", container_id)
            self._states.remove(container_id)

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
        """Attach; on failure nothing of it is left, neither devices nor record."""
        self._records[record.attachment.container_id] = record
        try:
            self._states.store(record)
            await self._datapath.attach(record.attachment)
        except BaseException:
            await self.forget(record)
            raise

    def amend(self, record: Record) -> None:
        """Replace the record of an attachment that stays as it is; ``OSError`` when it can't be written."""
        self._states.store(record)
        self._records[record.attachment.container_id] = record

    async def forget(self, record: Record) -> None:
        """Unmake an attachment; the record goes last, so that a failure is tried again."""
        await asyncio.shield(self._datapath.detach(record.attachment))
        self._states.remove(record.attachment.container_id)
        self._records.pop(record.attachment.container_id, None)
        for listener in self._forgotten:
            listener(record.attachment.container_id)
