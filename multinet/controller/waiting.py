"""Who waits for what: refused pods are looked at again when, and only when, their cause changes.

A topic is a string such as ``nad:ns/name``. A change may arrive between the look at the caches and the
note that somebody waits for it; the epoch closes that gap: the look remembers when it began, and a topic
that was woken since then sends its key back at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_REMEMBERED = 4096
"""Wakes that are remembered. Topics are as many as addresses and MACs were ever given back."""


def nad_topic(key: str) -> str:
    """A NetworkAttachmentDefinition appears, changes or goes."""
    return f"nad:{key}"


def network_topic(fq_name: tuple[str, ...]) -> str:
    """A network with that fq name appears, changes or goes."""
    return f"network:{':'.join(fq_name)}"


def addresses_topic(network: str) -> str:
    """An address of the network object becomes free."""
    return f"addresses:{network}"


def mac_topic(network_and_mac: str) -> str:
    """A MAC address of a network (see :func:`multinet.controller.view.mac_key`) becomes free."""
    return f"mac:{network_and_mac}"


def namespace_topic(namespace: str) -> str:
    """A namespace appears, changes or goes."""
    return f"namespace:{namespace}"


class Waiting:
    """Keys by the topics they wait for; ``add`` is called with each key that is woken."""

    def __init__(self, add: Callable[[str], None]) -> None:
        self._add = add
        # In the order in which they came: who has waited longest is tried first.
        self._keys: dict[str, dict[str, None]] = {}
        self._topics: dict[str, tuple[str, ...]] = {}
        self._woken: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0
        self.epoch = 0

    def put(self, key: str, topics: tuple[str, ...], since: int) -> None:
        """Let ``key`` wait for ``topics``; one that was woken after epoch ``since`` wakes it at once."""
        self.drop(key)
        # What was forgotten since then may have been one of them.
        if since < self._forgotten or any(self._woken.get(topic, 0) > since for topic in topics):
            self._add(key)
            return
        self._topics[key] = topics
        for topic in topics:
            self._keys.setdefault(topic, {})[key] = None

    def drop(self, key: str) -> None:
        """``key`` waits for nothing any more."""
        for topic in self._topics.pop(key, ()):
            keys = self._keys.get(topic, {})
            keys.pop(key, None)
            if not keys:
                self._keys.pop(topic, None)

    def wake(self, topic: str) -> None:
        """Something happened to ``topic``."""
        self.epoch += 1
        self._woken[topic] = self.epoch
        self._woken.move_to_end(topic)
        if len(self._woken) > _REMEMBERED:
            _, self._forgotten = self._woken.popitem(last=False)
        for key in list(self._keys.get(topic, ())):
            self._add(key)
