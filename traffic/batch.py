"""One batch of probes in one window: controls, sends, re-sends, and what was proven about the captures.

The order is: opening controls, all probes, the wait, closing controls. A place counts as controlled when
both controls were seen, so its capture worked before the first probe left and after the last one could
still have arrived. Where no control can be injected (the peer end is not a veth within reach), any probe
that did arrive there in the same window serves instead.

Probes that should be seen end the wait early and are sent again when they aren't; the others get the whole
window after the last frame was sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from multinet.errors import WaitExpiredError
from multinet.waits import wait_event
from traffic import frames
from traffic.capture import Capture, Counters
from traffic.endpoint import Endpoint, Place
from traffic.judge import Window
from traffic.plan import Planner, Probe, Shot
from traffic.senders import Peer, Senders
from traffic.tally import Tally

_CONTROL_LIMIT_S = 0.5
_BURST = 256
_BURST_LIMIT_S = 0.25
_log = logging.getLogger(__name__)

Predicate = Callable[[], bool]


class Batcher:
    """Runs batches over one capture; ``destinations`` are the places that need a control."""

    def __init__(
        self,
        capture: Capture,
        senders: Senders,
        tally: Tally,
        planner: Planner,
        peers: Mapping[Place, Peer],
        destinations: Collection[Endpoint],
    ) -> None:
        self._capture = capture
        self._senders = senders
        self._tally = tally
        self._planner = planner
        self._peers = peers
        self._destinations = destinations

    def run(
        self, probes: Sequence[Probe], wanted: Callable[[Probe], bool], *, window_s: float, attempts: int
    ) -> Window:
        """Send ``probes``, re-send the wanted ones not seen, wait out the window; say what was proven."""
        tally = self._tally
        before = self._capture.counters()
        opening = self._controls()
        due = list(probes)
        for attempt in range(1, attempts + 1):
            self._send(due)
            sent_at = time.monotonic()
            hopeful = [probe for probe in probes if not probe.problem and wanted(probe)]
            self._await("the probes that should arrive", [_settled(p, tally) for p in hopeful], window_s)
            due = [probe for probe in hopeful if not probe.settled(tally)]
            if not due:
                break
            _log.debug("attempt %d: %d of %d probes not seen", attempt, len(due), len(probes))
        rest = [probe for probe in probes if not probe.problem and not probe.settled(tally)]
        left_s = sent_at + window_s - time.monotonic()
        if rest and left_s > 0:
            self._await("anything else to arrive", [_settled(p, tally) for p in rest], left_s)
        closing = self._controls()
        self._await(
            "the closing controls", [self._control_seen(*c) for c in closing.items()], _CONTROL_LIMIT_S
        )
        self._capture.check()
        return self._window(probes, opening, closing, before)

    def _controls(self) -> dict[Place, int]:
        """Send one control frame to each destination whose peer is known; returns the ids sent."""
        sent: dict[Place, int] = {}
        for endpoint in self._destinations:
            peer = self._peers.get(endpoint.place)
            if peer is None:
                continue
            probe_id = self._planner.next_id()
            frame = frames.control(self._tally.nonce, probe_id, peer.mac, endpoint.mac)
            if not self._senders.send(peer.netns, peer.interface, frame):
                sent[endpoint.place] = probe_id
        return sent

    def _send(self, probes: Iterable[Probe]) -> None:
        """Send all shots in bursts, each followed by a wait for the capture to keep up."""
        shots: list[tuple[Probe, Shot]] = []
        for probe in probes:
            if probe.problem:
                continue
            probe.attempts += 1
            shots.extend((probe, shot) for shot in probe.shots)
        for start in range(0, len(shots), _BURST):
            burst = shots[start : start + _BURST]
            for probe, shot in burst:
                source = probe.source
                error = self._senders.send(source.netns, source.interface, shot.frame)
                probe.send_error = error or probe.send_error
            left = [self._departed(shot.probe_id) for probe, shot in burst if not probe.send_error]
            self._await("a burst to leave", left, _BURST_LIMIT_S)

    def _await(self, name: str, predicates: Sequence[Predicate], limit_s: float) -> None:
        """Wait until all predicates are true or the limit has passed; the caller looks at what was seen."""
        event: threading.Event = self._tally.when(predicates)
        try:
            wait_event(name, event, limit_s)
        except WaitExpiredError as error:
            _log.debug("%s", error)

    def _departed(self, probe_id: int) -> Predicate:
        return lambda: probe_id in self._tally.departures

    def _control_seen(self, place: Place, probe_id: int) -> Predicate:
        return lambda: any(one.place == place for one in self._tally.arrivals.get(probe_id, ()))

    def _window(
        self,
        probes: Iterable[Probe],
        opening: Mapping[Place, int],
        closing: Mapping[Place, int],
        before: Mapping[str, Counters],
    ) -> Window:
        tally = self._tally
        controlled: dict[Place, str] = {}
        with tally.lock:
            for place, probe_id in closing.items():
                first = opening.get(place)
                if first is not None and all(self._control_seen(place, one)() for one in (first, probe_id)):
                    controlled[place] = f"control frames from its peer {self._peers[place].interface}"
            for probe in probes:
                for shot in probe.shots:
                    for arrival in tally.arrivals.get(shot.probe_id, ()):
                        text = f"the {probe.protocol} probe from {probe.source.label}"
                        controlled.setdefault(arrival.place, text)
        after = self._capture.counters()
        lossy = frozenset(name for name, now in after.items() if now.dropped > before[name].dropped)
        return Window(controlled, lossy, dict(self._capture.failed))


def _settled(probe: Probe, tally: Tally) -> Predicate:
    return lambda: probe.settled(tally)
