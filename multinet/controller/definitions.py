"""What each NAD is taken for, as the dialect has it: read anew each time, or remembered since first seen.

Contrail kept a cache of NADs whose members were judged once, on their first usable event, and which only a
DELETED event of an accepted NAD empties. Some of what its users observe is that cache (N5, N25-N28), so it
is here too, for the dialect that asks for it; it is the one thing this controller does not read from the API.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.model import nad as nads
from multinet.model import nad_contrail
from multinet.model.nad import NadError, NadIntent
from multinet.model.naming import FqName
from multinet.model.objects import Obj, key_of, metadata_of

_log = logging.getLogger(__name__)


class Definitions:
    """Judges NADs; connect :meth:`changed` to the informer before anything that asks."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view = view
        self._settings = settings
        self._dialect = settings.dialect
        self._remembered: dict[str, FqName | None] = {}
        self._deleted: set[str] = set()
        self._unread: set[str] = set()
        self._made: set[FqName] = set()
        # Reading a NAD anew for each pod would cost more than all else in planning it.
        self._judged: dict[str, tuple[Obj, NadIntent]] = {}

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """Remember what the dialect remembers (informer callback)."""
        seen = new or old or {}
        key = key_of(seen)
        self._unread.add(key)
        if new is None:
            self._judged.pop(key, None)
        if not self._accepts(seen):
            return
        if new is None:
            self._remembered.pop(key, None)
            self._deleted.add(key)
        elif self._remembered.get(key) is None:
            self._remembered[key] = self._contrail_target(new)

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
        if self._dialect.nads_are_remembered:
            return key in self._remembered
        nad = self._view.nads.store.get(key)
        return nad is not None and not metadata_of(nad).get("deletionTimestamp") and self._accepts(nad)

    def intent_of(self, key: str) -> NadIntent:
        """What a pod that names the NAD gets; raises ``NadError``."""
        if self._dialect.nads_are_remembered:
            target = self._remembered.get(key)
            if target is None:
                raise _unusable(key)
            return NadIntent("map", key, target)
        nad = self._view.nads.store[key]
        known = self._judged.get(key)
        if known is None or known[0] is not nad:
            known = self._judged[key] = (nad, self.judge(nad))
        return known[1]

    def judge(self, nad: Obj) -> NadIntent:
        """What a NAD asks for now; raises ``NadError``."""
        settings = self._settings
        if not self._accepts(nad):
            return NadIntent("foreign", key_of(nad))
        if self._dialect.cidr_grammar == "netaddr":
            made = nad_contrail.intent(nad, cluster=settings.cluster, project=settings.cluster_project)
            if made is not None:
                return made
            target = self._contrail_target(nad)
            if target is None or nads.ANNOTATION_CIDR in metadata_of(nad).get("annotations", {}):
                raise _unusable(key_of(nad))
            return NadIntent("map", key_of(nad), target)
        return nads.parse(nad, cluster=settings.cluster, project=settings.cluster_project)

    def target_of(self, nad: Obj) -> FqName | None:
        """The network that a NAD wants made; None when it wants none made or can't be used."""
        if metadata_of(nad).get("deletionTimestamp"):
            return None
        try:
            intent = self.judge(nad)
        except NadError:
            return None
        return intent.target if intent.kind == "create" else None

    def _accepts(self, nad: Mapping[str, Any]) -> bool:
        return not self._dialect.accepts_only_contrail_type or nad_contrail.is_accepted(nad)

    def _contrail_target(self, nad: Obj) -> FqName | None:
        settings = self._settings
        return nad_contrail.target(nad, cluster=settings.cluster, project=settings.cluster_project)


def _unusable(key: str) -> NadError:
    return NadError("NADUnusable", f"the NAD {key} names no network that can be read")
