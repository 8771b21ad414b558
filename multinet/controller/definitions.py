"""The NADs of the API, judged as the dialect has it, and which of their networks are on their way.

What the dialect remembers of NADs is the one thing this controller does not read from the API.
"""

from __future__ import annotations

from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.model.definitions import NadReader
from multinet.model.nad import NadError, NadIntent
from multinet.model.naming import FqName
from multinet.model.objects import Obj, key_of, metadata_of


class Definitions:
    """Judges NADs; connect :meth:`changed` to the informer before anything that asks."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view = view
        self._reader = NadReader(settings.dialect, cluster=settings.cluster, project=settings.cluster_project)
        self._deleted: set[str] = set()
        self._unread: set[str] = set()
        self._made: set[FqName] = set()

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """Remember what the dialect remembers (informer callback)."""
        seen = new or old or {}
        key = key_of(seen)
        self._unread.add(key)
        self._reader.changed(old, new)
        if new is None and self._reader.accepts(seen):
            self._deleted.add(key)

    def read(self, key: str) -> bool:
        """A pass over the NAD begins; tells whether it was deleted since the last one."""
        was_deleted = key in self._deleted
        self._deleted.discard(key)
        return was_deleted

    def done(self, key: str) -> None:
        """The pass ended; what the NAD asks for is in the API, or will not be."""
        self._unread.discard(key)

    def made(self, fq_name: FqName) -> None:
        """Note that this process makes that network; the caches will show it."""
        self._made.add(fq_name)

    def seen(self, fq_name: FqName) -> None:
        """The caches show that network."""
        self._made.discard(fq_name)

    def is_coming(self, key: str, fq_name: FqName) -> bool:
        """Whether this process is about to make the NAD's network."""
        return key in self._unread or fq_name in self._made

    def knows(self, key: str) -> bool:
        """Whether there is such a NAD and it is one of ours, usable or not (P4)."""
        return self._reader.knows(key, self._view.nads.store.get(key))

    def intent_of(self, key: str) -> NadIntent:
        """What a pod that names the NAD gets; raises ``NadError``."""
        return self._reader.intent_of(key, self._view.nads.store.get(key))

    def judge(self, nad: Obj) -> NadIntent:
        """What a NAD asks for now; raises ``NadError``."""
        return self._reader.judge(nad)

    def target_of(self, nad: Obj) -> FqName | None:
        """The network that a NAD wants made; None when it wants none made or can't be used."""
        if metadata_of(nad).get("deletionTimestamp"):
            return None
        try:
            intent = self.judge(nad)
        except NadError:
            return None
        return intent.target if intent.kind == "create" else None
