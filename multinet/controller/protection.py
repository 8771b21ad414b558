"""What the controller writes on a NAD: the condition, and the finalizer that holds one in use.

Contrail's documentation tells administrators to delete the pods before the NAD and can't hold them to it;
with ``--protect-networks`` the finalizer does: the NAD stays, being deleted, until its last pod is gone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from multinet.controller.announcer import Announcer, in_words
from multinet.controller.settings import Settings
from multinet.controller.usage import Usage
from multinet.controller.view import View, now
from multinet.kube.client import Client
from multinet.kube.errors import NotFoundError
from multinet.kube.resources import NADS
from multinet.model import conditions
from multinet.model.conditions import Condition
from multinet.model.nad import NadError, Note
from multinet.model.objects import (
    ANNOTATION_CONDITION,
    FINALIZER_IN_USE,
    Obj,
    annotations_of,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
)

_NAMED = 10


class Protection:
    """Puts the finalizer on NADs, and takes it off when nobody uses them (or protection was turned off)."""

    def __init__(self, view: View, settings: Settings, usage: Usage, announcer: Announcer) -> None:
        self._view = view
        self._settings = settings
        self._usage = usage
        self._announcer = announcer

    async def see_to(self, nad: Obj) -> None:
        """One pass over a NAD."""
        finalizers = list(metadata_of(nad).get("finalizers") or ())
        is_held = FINALIZER_IN_USE in finalizers
        is_going = bool(metadata_of(nad).get("deletionTimestamp"))
        if not is_going and self._settings.protect_networks and not is_held:
            await self._write(nad, [*finalizers, FINALIZER_IN_USE])
        elif is_held and (is_going or not self._settings.protect_networks):
            users = await self._usage.pods_of_nad(key_of(nad))
            if users and self._settings.protect_networks:
                self._tell(nad, users)
                return
            await self._write(nad, [each for each in finalizers if each != FINALIZER_IN_USE])

    def _tell(self, nad: Obj, users: list[str]) -> None:
        named = ", ".join(users[:_NAMED]) + (", ..." if len(users) > _NAMED else "")
        text = f"it is deleted when its last pod is gone; pods that use it ({len(users)}): {named}"
        self._announcer.say(nad, "Warning", "NetworkInUse", text)

    async def _write(self, nad: Obj, finalizers: list[str]) -> None:
        metadata = {"finalizers": finalizers, "resourceVersion": metadata_of(nad).get("resourceVersion")}
        try:
            await self._view.client.patch(NADS, name_of(nad), {"metadata": metadata}, namespace_of(nad))
        except NotFoundError:
            return


async def write_condition(
    client: Client, nad: Obj, problem: NadError | None, notes: Sequence[Note] = ()
) -> None:
    """The condition of a NAD that can't be used, that has ``notes``, or that had a condition before."""
    written = annotations_of(nad).get(ANNOTATION_CONDITION)
    if problem is None and not notes and written is None:
        return
    made = Condition(conditions.READY, "True", "Accepted", "the network is there", now())
    if notes:
        said = "; ".join(note.message for note in notes)
        made = Condition(conditions.READY, "True", notes[0].reason, said, now())
    if problem is not None:
        made = Condition(conditions.READY, "False", problem.reason, in_words(problem), now())
    if made.says_the_same(_read(written)):
        return
    patch = {"metadata": {"annotations": {ANNOTATION_CONDITION: json.dumps(made.to_object())}}}
    try:
        await client.patch(NADS, name_of(nad), patch, namespace_of(nad))
    except NotFoundError:
        return


def _read(text: str | None) -> Condition | None:
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return conditions.find({"status": {"conditions": [found]}}, conditions.READY) if found else None
