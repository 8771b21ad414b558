"""The prober: a whole matrix of probes in a few batches.

Every probe leaves exactly one named interface, with that interface's MAC and address, and is looked for on
all interfaces of all endpoints at once. ARP and neighbour solicitations go first, since their answers are the
next hops of the rest; then ICMP echo, UDP and TCP SYN of both families go together.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from multinet.errors import InputError
from traffic import frames, netns
from traffic.batch import Batcher
from traffic.capture import Capture, Frame
from traffic.endpoint import Endpoint, Place, inspect_all
from traffic.judge import Evidence, Window, judge, judge_ask
from traffic.observation import Key, Observation, Reason, key_of
from traffic.plan import Ask, AskProbe, Planner, Probe, gateways_of
from traffic.senders import Senders, find_peers
from traffic.tally import Tally

Pair = tuple[Place, Place]
_CHECKS = {"arp": "udp", "nd": "udp6"}
_log = logging.getLogger(__name__)


class CaptureFactory(Protocol):
    """What makes the capture of a run; replaced where a test wants a capture that fails."""

    def __call__(
        self, namespaces: Mapping[str, str], on_frames: Callable[[Sequence[Frame]], None]
    ) -> Capture:
        """A capture of ``{name: namespace path}``."""
        ...


class Prober:
    """Probes between ``endpoints`` (from ``traffic.endpoint.inspect``).

    ``control_netns``: paths of namespaces which may hold the peer ends of the endpoints' veth pairs (the
    nodes), for control frames. ``nonce``: 8 bytes that mark this prober's frames; random by default.
    ``pcap_dir``: where each run writes one pcap file per endpoint (earlier ones are overwritten);
    afterwards ``files`` has their paths. ``attempts``: how often a probe that should arrive is sent at most.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        *,
        pcap_dir: Path | None = None,
        nonce: bytes | None = None,
        control_netns: Iterable[str] = (),
        attempts: int = 3,
        capture: CaptureFactory = Capture,
    ) -> None:
        self.files: dict[Place, Path] = {}
        self._given = {endpoint.place: endpoint for endpoint in endpoints}
        self._pcap_dir = pcap_dir
        self._nonce = os.urandom(frames.NONCE_LENGTH) if nonce is None else nonce
        self._control_netns = [*control_netns, netns.current()]
        self._attempts = attempts
        self._capture = capture
        paths: dict[str, str] = {}
        for one in self._given.values():
            if paths.setdefault(one.name, one.netns) != one.netns:
                why = f"{paths[one.name]} and {one.netns}"
                raise InputError("one name for two network namespaces", where=one.name, why=why)
        if len(self._nonce) != frames.NONCE_LENGTH:
            raise InputError("a probe nonce of the wrong length", why=f"{len(self._nonce)} bytes, not 8")

    def run(
        self,
        pairs: Iterable[Pair] | None = None,
        protocols: Sequence[str] = frames.PROTOCOLS,
        *,
        window_s: float = 0.25,
        expected: Collection[Key] | None = None,
        asks: Sequence[Ask] = (),
        only: Collection[Key] | None = None,
    ) -> list[Observation]:
        """Probe each ordered pair of places by each protocol; blocks, in the order of pairs and protocols.

        ``pairs`` default to all ordered pairs of endpoints, ``protocols`` to those of IPv4. With ``only``,
        other pairs and protocols than these are left out. ``expected`` holds the keys that should be
        reached: they end a wait early and are re-sent when lost. Without it every probe is hoped for, which
        costs ``attempts`` windows per batch as soon as one isn't seen. ``asks`` are asked beside them, by ARP
        and ICMP as far as ``protocols`` has these; their observations come last. Raises ``InputError`` for an
        unknown protocol or a place without endpoint, ``LabError`` when the capture breaks.
        """
        started = time.monotonic()
        chosen = list(ordered_pairs(self._given)) if pairs is None else list(pairs)
        self._check([*chosen, *((ask.source, ask.source) for ask in asks)], protocols)
        endpoints, faults = self._refresh()
        tally = Tally(self._nonce)
        planner = Planner(self._nonce, endpoints, faults)
        destinations = [endpoints[place] for place in dict.fromkeys(pair[1] for pair in chosen)]
        peers = find_peers((one for one in destinations if one.place not in faults), self._control_netns)
        namespaces = {one.name: one.netns for one in endpoints.values()}
        for protocol in (*frames.PROTOCOLS, *protocols):  # scapy's import belongs to no window
            frames.prepare(protocol)
        with (
            self._capture(namespaces, tally.see) as capture,
            Senders([*namespaces.values(), *(peer.netns for peer in peers.values())]) as senders,
        ):
            batcher = Batcher(capture, senders, tally, planner, peers, destinations)
            wanted = {pair: _asked(pair, protocols, only) for pair in chosen}
            run = _Run(batcher, planner, tally, endpoints, wanted, protocols, expected, asks)
            run.resolve(window_s, self._attempts)
            run.route(window_s, self._attempts)
        if self._pcap_dir is not None:
            self.files = capture.write(self._pcap_dir, endpoints)
        observations = run.observations(Evidence(tally, planner, endpoints, faults))
        _log.info("%d probes took %.3f s", len(observations), time.monotonic() - started)
        return observations

    def _check(self, pairs: Iterable[Pair], protocols: Iterable[str]) -> None:
        for protocol in protocols:
            known = (*frames.PROTOCOLS, *frames.PROTOCOLS6)
            if protocol not in known:
                raise InputError(f"unknown protocol {protocol!r}", next_step=f"use {', '.join(known)}")
        for place in (place for pair in pairs for place in pair):
            if place not in self._given:
                raise InputError("a pair names an interface that is no endpoint", where="/".join(place))

    def _refresh(self) -> tuple[dict[Place, Endpoint], dict[Place, Reason]]:
        """The endpoints as they are now, and what is wrong with them."""
        now: dict[Place, Endpoint] = {}
        for result in inspect_all({one.name: one.netns for one in self._given.values()}).values():
            if not isinstance(result, OSError):
                now.update((endpoint.place, endpoint) for endpoint in result)
        endpoints: dict[Place, Endpoint] = {}
        faults: dict[Place, Reason] = {}
        for place, given in self._given.items():
            fresh = now.get(place)
            if fresh is None:
                endpoints[place], faults[place] = given, "interface-missing"
                continue
            gateways = tuple(dict.fromkeys((*fresh.gateways, *given.gateways)))
            endpoints[place] = dataclasses.replace(fresh, gateways=gateways)
            if not (fresh.up and fresh.running):
                faults[place] = "interface-down"
        return endpoints, faults


def ordered_pairs(places: Iterable[Place]) -> Iterable[Pair]:
    """Every ordered pair of different places."""
    every = list(places)
    return ((source, destination) for source in every for destination in every if source != destination)


def _asked(pair: Pair, protocols: Sequence[str], only: Collection[Key] | None) -> tuple[str, ...]:
    """The protocols that a pair is probed by."""
    return tuple(each for each in protocols if only is None or key_of(*pair, each) in only)


def _resolver(protocol: str) -> str:
    """What finds the next hop for a protocol."""
    return "nd" if protocol in frames.PROTOCOLS6 else "arp"


class _Run:
    """The probes of one call of ``Prober.run``, in their two batches."""

    def __init__(
        self,
        batcher: Batcher,
        planner: Planner,
        tally: Tally,
        endpoints: Mapping[Place, Endpoint],
        pairs: Mapping[Pair, tuple[str, ...]],
        protocols: Sequence[str],
        expected: Collection[Key] | None,
        asks: Sequence[Ask],
    ) -> None:
        self._batcher = batcher
        self._planner = planner
        self._tally = tally
        self._endpoints = endpoints
        self._pairs = pairs
        self._protocols = protocols
        self._expected = expected
        self._asks = asks
        self._probes: dict[Key, Probe] = {}
        self._asked: list[AskProbe] = []
        self._windows: dict[str, Window] = {}

    def resolve(self, window_s: float, attempts: int) -> None:
        """First batch: the next hops of every pair, and the gateways of every source."""
        for pair, asked in self._pairs.items():
            source, destination = (self._endpoints[place] for place in pair)
            for resolver in dict.fromkeys(map(_resolver, asked)):
                probe = self._planner.resolve(source, destination, resolver)
                self._probes[key_of(*pair, resolver)] = probe
        senders = {
            (probe.source.place, frames.version_of(probe.protocol))
            for probe in self._probes.values()
            if not probe.problem
        }
        gateways = [
            self._planner.gateway(self._endpoints[place], address)
            for place, version in sorted(senders)
            for address in gateways_of(self._endpoints[place], version)
        ]
        self._asked = [self._planner.ask_arp(self._endpoints[ask.source], ask) for ask in self._asks]
        probes = [*self._probes.values(), *gateways, *self._asked]
        self._windows["arp"] = self._batcher.run(
            probes, self._pair_is_hoped_for, window_s=window_s, attempts=attempts
        )

    def route(self, window_s: float, attempts: int) -> None:
        """Second batch: the IP protocols, and the UDP probes that show where a resolver's answer leads."""
        routed: list[Probe] = []
        for pair, wanted in self._pairs.items():
            source, destination = (self._endpoints[place] for place in pair)
            asked = [protocol for protocol in wanted if protocol not in frames.RESOLVERS]
            for resolver, check in _CHECKS.items():
                if resolver in wanted and check not in asked:
                    asked += [check] if self._needs_check(self._probes[key_of(*pair, resolver)]) else []
            for protocol in asked:
                probe = self._planner.routed(source, destination, protocol, self._tally)
                self._probes[probe.key] = probe
                routed.append(probe)
        if {"icmp", "icmp6"} & set(self._protocols):
            tally, endpoints = self._tally, self._endpoints
            echoes = [self._planner.ask_echo(endpoints[ask.source], ask, tally) for ask in self._asks]
            echoes = [probe for probe in echoes if probe.protocol in self._protocols]
            self._asked += echoes
            routed += echoes
        if routed:
            self._windows["routed"] = self._batcher.run(
                routed, self._is_hoped_for, window_s=window_s, attempts=attempts
            )

    def observations(self, evidence: Evidence) -> list[Observation]:
        """One observation per pair and asked protocol."""
        found = []
        arp_window = self._windows["arp"]
        routed_window = self._windows.get("routed", arp_window)
        both = arp_window.both(routed_window)
        for pair, asked in self._pairs.items():
            for protocol in asked:
                probe = self._probes[key_of(*pair, protocol)]
                check = self._probes.get(key_of(*pair, _CHECKS.get(protocol, protocol)))
                window = routed_window
                if protocol in frames.RESOLVERS:
                    window = both if check is not None and probe.replied(self._tally) else arp_window
                found.append(judge(probe, evidence, window, check))
        replies = (probe for probe in self._asked if probe.protocol in self._protocols)
        windows = dict.fromkeys(frames.RESOLVERS, arp_window) | dict.fromkeys(
            ("icmp", "icmp6"), routed_window
        )
        return found + [judge_ask(probe, evidence, windows[probe.protocol]) for probe in replies]

    def _needs_check(self, probe: Probe) -> bool:
        """An answer proves the way only if the request itself was seen at the destination."""
        return probe.replied(self._tally) and not probe.arrived(self._tally)

    def _is_hoped_for(self, probe: Probe) -> bool:
        if self._expected is None or probe.key in self._expected:
            return True
        resolver = key_of(probe.source.place, probe.destination.place, _resolver(probe.protocol))
        return probe.protocol not in self._protocols and resolver in self._expected

    def _pair_is_hoped_for(self, probe: Probe) -> bool:
        if self._expected is None or probe.source is probe.destination:
            return True
        pair = probe.source.place, probe.destination.place
        asked = self._pairs.get(pair, ())
        if probe.protocol in asked and probe.protocol == "nd":
            # Where nodes route, nobody but the gateway answers: then it is not expected, unlike the rest.
            return probe.key in self._expected
        return any(key_of(*pair, one) in self._expected for one in asked)
