"""Events about objects, each said once per process: reconciling again must not repeat it.

In a dialect that tells its users nothing, they are lines of the controller's log.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Protocol

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
        self._troubled: dict[str, set[tuple[str, str, str]]] = {}

    def say(self, obj: Obj, type_: EventType, reason: str, message: str) -> None:
        """Record the event unless the same was said about this object last time or before."""
        key = _key(obj, reason, message)
        if key in self._said:
            return
        self._said[key] = None
        if len(self._said) > _REMEMBERED:
            dropped, _ = self._said.popitem(last=False)
            self._troubled.get(dropped[0], set()).discard(dropped)
            if not self._troubled.get(dropped[0]):
                self._troubled.pop(dropped[0], None)
        if self._tells_users:
            self._recorder.record(obj, type_, reason, message)
        else:
            _log.info("%s: %s: %s", key_of(obj), reason, message)

    def warn(self, obj: Obj, reason: str, message: str) -> None:
        """A Warning about what is wrong now; it is said anew when it comes back after :meth:`recovered`."""
        self.say(obj, "Warning", reason, message)
        key = _key(obj, reason, message)
        self._troubled.setdefault(key[0], set()).add(key)

    def recovered(self, obj: Obj) -> None:
        """Nothing is wrong with the object any more: what :meth:`warn` said of it may be said again."""
        for key in self._troubled.pop(_key(obj, "", "")[0], ()):
            self._said.pop(key, None)


def _key(obj: Obj, reason: str, message: str) -> tuple[str, str, str]:
    return (uid_of(obj) or key_of(obj), reason, message)


def in_words(error: MultinetError) -> str:
    """An error as the message of a condition or an Event: what (where): why. Next step."""
    text = error.what
    if error.where:
        text += f" ({error.where})"
    if error.why:
        text += f": {error.why}"
    return f"{text}. To mend it: {error.next_step}" if error.next_step else text
