"""Requested MAC addresses: unique within a network, where two equal ones would break bridging."""

from __future__ import annotations

from collections.abc import Sequence

from multinet.controller.errors import Refusal
from multinet.controller.machines import pod_uid_of
from multinet.controller.view import BY_MAC, View, mac_key
from multinet.controller.waiting import Waiting, mac_topic
from multinet.model.attachments import PodRef
from multinet.model.objects import Obj, section
from multinet.model.requests import Wanted


class Macs:
    """Who has which requested MAC address: the interfaces in the cache, and those just being made."""

    def __init__(self, view: View, waiting: Waiting) -> None:
        self._view = view
        self._waiting = waiting
        self._held: dict[str, PodRef] = {}
        view.interfaces.on_change(self._changed)

    def hold(self, pod: PodRef, wanted: Sequence[Wanted]) -> None:
        """Take all that a pod asks for, or raise ``Refusal`` and take none."""
        asked = {mac_key({"network": item.network.name, "mac": item.mac}): item for item in wanted}
        requested = {key: item for key, item in asked.items() if item.requested_mac}
        for key, item in requested.items():
            owners = {pod_uid_of(found) for found in self._view.interfaces.by_index(BY_MAC, key)}
            owners.add(self._held.get(key, pod).uid)
            if owners != {pod.uid} or len([one for one in wanted if _same(one, item)]) > 1:
                raise Refusal(
                    "MACInUse",
                    f"the MAC address {item.mac} is not free",
                    where=f"{item.nad} as {item.interface}",
                    why="another interface of that network has it",
                    next_step="ask for another MAC address, or for none",
                    topics=(mac_topic(key),),
                )
        for key in requested:
            self._held[key] = pod

    def release(self, pod_key: str) -> None:
        """Forget what the pod of that name held."""
        for key in [key for key, owner in self._held.items() if owner.key == pod_key]:
            del self._held[key]
            self._waiting.wake(mac_topic(key))

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._waiting.wake(mac_topic(mac_key(section(old, "spec"))))


def _same(one: Wanted, other: Wanted) -> bool:
    return (one.network.name, one.mac) == (other.network.name, other.mac)
