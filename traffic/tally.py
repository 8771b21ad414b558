"""What the captures saw, by probe: the evidence of a run, filled by the capture thread.

The prober waits for probes to be *settled* (seen as a working pair would be). Which are not yet is checked
once per batch of frames and only for those still waited for, so that the check doesn't cost more than the
capture.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from traffic import frames
from traffic.capture import OTHER_HOST, Frame
from traffic.endpoint import Place

_SENT = frozenset((*frames.PROTOCOLS, *frames.PROTOCOLS6, "control"))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A probe's frame coming in; ``accepted`` is False for a flooded copy addressed to another host."""

    place: Place
    accepted: bool


class Tally:
    """Sightings of the frames with one nonce. Readers hold ``lock`` or read after the window."""

    def __init__(self, nonce: bytes) -> None:
        self.nonce = nonce
        self.lock = threading.Lock()
        self.arrivals: dict[int, list[Arrival]] = defaultdict(list)
        self.departures: dict[int, set[Place]] = defaultdict(set)
        self.replies: dict[int, set[Place]] = defaultdict(set)
        self.errors: dict[int, list[bytes]] = defaultdict(list)
        self.arp_answers: dict[tuple[Place, str], list[str]] = defaultdict(list)
        self.tcp_replies: dict[tuple[str | int, ...], set[Place]] = defaultdict(set)
        self._waiting: list[Callable[[], bool]] = []
        self._settled = threading.Event()

    def see(self, batch: Sequence[Frame]) -> None:
        """Take in new frames (called by the capture thread)."""
        with self.lock:
            for frame in batch:
                parsed = frames.parse(frame.data, self.nonce)
                if parsed is not None:
                    self._count(frame, parsed)
            self._check()

    def when(self, settled: Iterable[Callable[[], bool]]) -> threading.Event:
        """An event that is set when every one of these predicates has been true; replaces an earlier one."""
        with self.lock:
            self._settled = threading.Event()
            self._waiting = list(settled)
            self._check()
            return self._settled

    def _check(self) -> None:
        self._waiting = [done for done in self._waiting if not done()]
        if not self._waiting:
            self._settled.set()

    def _count(self, frame: Frame, parsed: frames.Parsed) -> None:
        if not frame.incoming:
            if parsed.kind in _SENT:
                self.departures[parsed.probe_id].add(frame.place)
            return
        accepted = frame.packet_type != OTHER_HOST
        if parsed.kind in _SENT:
            arrival = Arrival(frame.place, accepted)
            if arrival not in self.arrivals[parsed.probe_id]:
                self.arrivals[parsed.probe_id].append(arrival)
        elif accepted:
            self._count_answer(frame, parsed)

    def _count_answer(self, frame: Frame, parsed: frames.Parsed) -> None:
        if parsed.kind == "arp-reply":
            answers = self.arp_answers[(frame.place, str(parsed.key[0]))]
            if parsed.mac not in answers:
                answers.append(parsed.mac)
        elif parsed.kind == "tcp-reply":
            self.tcp_replies[parsed.key].add(frame.place)
        elif parsed.kind == "icmp-reply":
            self.replies[parsed.probe_id].add(frame.place)
        elif parsed.kind == "icmp-error":
            self.errors[parsed.probe_id].append(frame.data)
