"""Events about objects, each said once per process: reconciling again must not repeat it.

In a dialect that tells its users nothing, they are lines of the controller's log.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

from multinet.errors import MultinetError
from multinet.kube.recorder import EventType
from multinet.model.objects import Obj, key_of, uid_of

_REMEMBERED = 4096
_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What is needed of :class:`multinet.kube.recorder.EventRecorder`."""

    def record(self, obj: Obj, type: EventType, reason: str, message: str) -> None:
        """Note an event."""


class Announcer:
    """Says each thing about each incarnation of an object once."""

    def __init__(self, recorder: Recorder, *, tells_users: bool = True) -> None:
        self._recorder = recorder
        self._tells_users = tells_users
        self._said: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def say(self, obj: Obj, type_: EventType, reason: str, message: str) -> None:
        """Record the event unless the same was said about this object last time or before."""
        key = (uid_of(obj) or key_of(obj), reason, message)
        if key in self._said:
            return
        self._said[key] = None
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        if self._tells_users:
            self._recorder.record(obj, type_, reason, message)
        else:
            _log.info("%s: %s: %s", key_of(obj), reason, message)

    def warn(self, obj: Obj, reason: str, error: MultinetError) -> None:
        """A Warning that says what, where, why and how to mend it."""
        self.say(obj, "Warning", reason, in_words(error))

    def forget(self, obj: Mapping[str, Any]) -> None:
        """Let everything be said again: the object changed."""
        uid = uid_of(obj) or key_of(obj)
        for key in [key for key in self._said if key[0] == uid]:
            del self._said[key]


def in_words(error: MultinetError) -> str:
    """An error as the message of a condition or an Event: what (where): why. Next step."""
    text = error.what
    if error.where:
        text += f" ({error.where})"
    if error.why:
        text += f": {error.why}"
    return f"{text}. To mend it: {error.next_step}" if error.next_step else text
