"""Which frames a probe consists of: next hops, ids, frames.

A probe of an IPv4 protocol goes to the next hop a real sender would use: the MAC that answered ARP when the
destination is in the interface's subnet. Where no such way exists (nobody answered, or the networks
differ) the probe takes the most permissive ways there are, so that a leak would show: straight to the
destination's real MAC, and to every gateway that answers ARP on this interface.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

from traffic import frames
from traffic.endpoint import Endpoint, Place
from traffic.frames import Hop
from traffic.observation import Key, Reason, key_of
from traffic.tally import Tally

_IDS = itertools.count(1)

Way = Literal["broadcast", "arp", "direct", "gateway"]


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame, and by which way it goes."""

    probe_id: int
    way: Way
    target_mac: str
    frame: bytes


@dataclass(slots=True)
class Probe:
    """One ordered pair and protocol; ``problem`` says why it can't be sent at all."""

    source: Endpoint
    destination: Endpoint
    protocol: str
    target_ip: str = ""
    shots: list[Shot] = field(default_factory=list)
    problem: Reason = ""
    send_error: str = ""
    attempts: int = 0

    @property
    def key(self) -> Key:
        """The key of its observation."""
        return key_of(self.source.place, self.destination.place, self.protocol)

    def replied(self, tally: Tally) -> bool:
        """Whether the answer came back on the source interface; False for UDP, which has none."""
        place = self.source.place
        if self.protocol == "arp":
            return bool(tally.arp_answers.get((place, self.target_ip)))
        if self.protocol == "icmp":
            return any(place in tally.replies.get(shot.probe_id, ()) for shot in self.shots)
        return any(place in tally.tcp_replies.get(key, ()) for key in self.tcp_keys())

    def tcp_keys(self) -> list[tuple[str | int, ...]]:
        """Keys of the TCP answers to its frames in ``Tally.tcp_replies``; none for other protocols."""
        if self.protocol != "tcp":
            return []
        port = frames.source_port
        source_ip = str(_source_address(self.source, self.target_ip))
        return [(self.target_ip, frames.PORT, source_ip, port(shot.probe_id)) for shot in self.shots]

    def arrived(self, tally: Tally) -> bool:
        """Whether a frame of it was accepted by the destination interface."""
        return any(
            arrival.accepted and arrival.place == self.destination.place
            for shot in self.shots
            for arrival in tally.arrivals.get(shot.probe_id, ())
        )

    def settled(self, tally: Tally) -> bool:
        """Whether everything a working pair shows was seen."""
        if self.protocol == "arp":
            return self.replied(tally)
        return self.arrived(tally) and (self.protocol == "udp" or self.replied(tally))


@dataclass(frozen=True, slots=True)
class Ask:
    """An address that no interface of the run has, and which is to answer ``source`` by ARP and ICMP echo.

    ``target`` is what the answerer is called in observations; ``mac`` the MAC it must have, empty for any.
    """

    source: Place
    target: Place
    address: str
    mac: str = ""


@dataclass(slots=True)
class AskProbe(Probe):
    """The probe of an :class:`Ask`: only the answer shows that it arrived."""

    ask: Ask = Ask(("", ""), ("", ""), "")

    @property
    def key(self) -> Key:
        """The key of its observation."""
        return key_of(self.source.place, self.ask.target, self.protocol)

    def arrived(self, tally: Tally) -> bool:
        """Nobody looks where it goes."""
        return self.replied(tally)


class Planner:
    """Makes the probes of one run.

    Ids go on counting from run to run of a process, and so do ports and ICMP identifiers, made of them: a
    firewall on the way that remembers what it let pass in one run does not take the next for more of it.
    """

    def __init__(
        self, nonce: bytes, endpoints: Mapping[Place, Endpoint], faults: Mapping[Place, Reason]
    ) -> None:
        self._nonce = nonce
        self._faults = faults
        self._owners: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints.values():
            self._owners.setdefault(endpoint.mac, []).append(endpoint)

    def next_id(self) -> int:
        """A probe id not used before in this run."""
        return next(_IDS)

    def arp(self, source: Endpoint, destination: Endpoint) -> Probe:
        """A broadcast ARP request for the destination's first IPv4 address."""
        probe = self._probe(source, destination, "arp")
        if not probe.problem:
            probe.shots.append(self._shot(probe, "broadcast", frames.BROADCAST))
        return probe

    def gateway(self, source: Endpoint, gateway: str) -> Probe:
        """An ARP request for a gateway; it only resolves and is not observed."""
        probe = Probe(source, source, "arp", target_ip=gateway)
        probe.shots.append(self._shot(probe, "broadcast", frames.BROADCAST))
        return probe

    def ask_arp(self, source: Endpoint, ask: Ask) -> AskProbe:
        """An ARP request for an address of the network's own."""
        probe = self._ask(source, ask, "arp")
        if not probe.problem:
            probe.shots.append(self._shot(probe, "broadcast", frames.BROADCAST))
        return probe

    def ask_echo(self, source: Endpoint, ask: Ask, tally: Tally) -> AskProbe:
        """An echo request for it, to whom the ARP answers in ``tally`` name; without one, nothing is sent."""
        probe = self._ask(source, ask, "icmp")
        answers = tally.arp_answers.get((source.place, ask.address), [])
        if answers and not probe.problem:
            probe.shots.append(self._shot(probe, "arp", ask.mac if ask.mac in answers else answers[0]))
        return probe

    def _ask(self, source: Endpoint, ask: Ask, protocol: str) -> AskProbe:
        problem = self._faults.get(source.place, "")
        return AskProbe(source, source, protocol, target_ip=ask.address, problem=problem, ask=ask)

    def routed(self, source: Endpoint, destination: Endpoint, protocol: str, tally: Tally) -> Probe:
        """A probe of an IPv4 protocol, by the ways the ARP answers in ``tally`` allow."""
        probe = self._probe(source, destination, protocol)
        if not probe.problem:
            ways = dict.fromkeys(self._ways(probe, tally))
            probe.shots.extend(self._shot(probe, way, mac) for way, mac in ways)
        return probe

    def owners(self, mac: str) -> list[Endpoint]:
        """The endpoints whose interface has this MAC."""
        return self._owners.get(mac, [])

    def _probe(self, source: Endpoint, destination: Endpoint, protocol: str) -> Probe:
        problem = self._faults.get(source.place, "")
        if not problem and self._faults.get(destination.place, "") in ("interface-missing", "no-address"):
            problem = self._faults[destination.place]
        target = "" if problem else str(destination.ipv4[0].ip)
        return Probe(source, destination, protocol, target_ip=target, problem=problem)

    def _ways(self, probe: Probe, tally: Tally) -> Iterable[tuple[Way, str]]:
        source, destination = probe.source, probe.destination
        answers = tally.arp_answers.get((source.place, probe.target_ip), [])
        if answers and same_subnet(source, probe.target_ip):
            mac = destination.mac if destination.mac in answers else answers[0]
            yield "arp", mac
            # Somebody else has the same address in the source's network: the destination itself has yet
            # to be tried.
            if mac != destination.mac and any(owns(one, probe.target_ip) for one in self.owners(mac)):
                yield "direct", destination.mac
            return
        yield "direct", destination.mac
        for gateway in gateways_of(source):
            for mac in tally.arp_answers.get((source.place, gateway), []):
                if mac != destination.mac:
                    yield "gateway", mac

    def _shot(self, probe: Probe, way: Way, target_mac: str) -> Shot:
        probe_id = self.next_id()
        source_ip = str(_source_address(probe.source, probe.target_ip))
        hop = Hop(probe.source.mac, target_mac, source_ip, probe.target_ip)
        return Shot(probe_id, way, target_mac, frames.build(probe.protocol, self._nonce, probe_id, hop))


def same_subnet(source: Endpoint, address: str) -> bool:
    """Whether ``address`` is in one of the source interface's IPv4 networks."""
    return any(IPv4Address(address) in one.network for one in source.ipv4)


def owns(endpoint: Endpoint, address: str) -> bool:
    """Whether the interface itself has this IPv4 address."""
    return any(str(one.ip) == address for one in endpoint.ipv4)


def gateways_of(endpoint: Endpoint) -> list[str]:
    """Its IPv4 gateways."""
    return [gateway for gateway in endpoint.gateways if ":" not in gateway]


def _source_address(source: Endpoint, target: str) -> IPv4Address:
    """The address a real sender would take: the one in the target's network, else the first."""
    own = source.ipv4
    return next((one.ip for one in own if IPv4Address(target) in one.network), own[0].ip)
