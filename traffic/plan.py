"""Which frames a probe consists of: next hops, ids, frames.

A probe of an IP protocol goes to the next hop a real sender would use: the MAC that answered ARP (or, for
IPv6, neighbour discovery) when the destination is in the interface's subnet. Where no such way exists (nobody
answered, or the networks differ) the probe takes the most permissive ways there are, so that a leak would
show: straight to the destination's real MAC, and to every gateway that answers on this interface.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
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
        if self.protocol in frames.RESOLVERS:
            return bool(tally.arp_answers.get((place, self.target_ip)))
        if self.protocol in ("icmp", "icmp6"):
            return any(place in tally.replies.get(shot.probe_id, ()) for shot in self.shots)
        return any(place in tally.tcp_replies.get(key, ()) for key in self.tcp_keys())

    def tcp_keys(self) -> list[tuple[str | int, ...]]:
        """Keys of the TCP answers to its frames in ``Tally.tcp_replies``; none for other protocols."""
        if self.protocol not in ("tcp", "tcp6"):
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
        if self.protocol in frames.RESOLVERS:
            return self.replied(tally)
        return self.arrived(tally) and (self.protocol in ("udp", "udp6") or self.replied(tally))


@dataclass(frozen=True, slots=True)
class Ask:
    """An address that no interface of the run has; it is to answer ``source`` by ARP or ND, and by echo.

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

    def resolve(self, source: Endpoint, destination: Endpoint, protocol: str) -> Probe:
        """A request to all (``arp``, ``nd``) for the destination's first address of that family."""
        probe = self._probe(source, destination, protocol)
        if not probe.problem:
            probe.shots.append(self._to_all(probe))
        return probe

    def gateway(self, source: Endpoint, gateway: str) -> Probe:
        """A request for a gateway's MAC; it only resolves and is not observed."""
        probe = Probe(source, source, "nd" if ":" in gateway else "arp", target_ip=gateway)
        probe.shots.append(self._to_all(probe))
        return probe

    def ask_arp(self, source: Endpoint, ask: Ask) -> AskProbe:
        """A request for the MAC of an address of the network's own."""
        probe = self._ask(source, ask, "nd" if ":" in ask.address else "arp")
        if not probe.problem:
            probe.shots.append(self._to_all(probe))
        return probe

    def ask_echo(self, source: Endpoint, ask: Ask, tally: Tally) -> AskProbe:
        """An echo request for it, to whom the answers in ``tally`` name; without one, nothing is sent."""
        probe = self._ask(source, ask, "icmp6" if ":" in ask.address else "icmp")
        answers = tally.arp_answers.get((source.place, ask.address), [])
        if answers and not probe.problem:
            probe.shots.append(self._shot(probe, "arp", ask.mac if ask.mac in answers else answers[0]))
        return probe

    def _ask(self, source: Endpoint, ask: Ask, protocol: str) -> AskProbe:
        problem = self._problem(source, frames.version_of(protocol))
        return AskProbe(source, source, protocol, target_ip=ask.address, problem=problem, ask=ask)

    def routed(self, source: Endpoint, destination: Endpoint, protocol: str, tally: Tally) -> Probe:
        """A probe of an IP protocol, by the ways the answers in ``tally`` allow."""
        probe = self._probe(source, destination, protocol)
        if not probe.problem:
            ways = dict.fromkeys(self._ways(probe, tally))
            probe.shots.extend(self._shot(probe, way, mac) for way, mac in ways)
        return probe

    def owners(self, mac: str) -> list[Endpoint]:
        """The endpoints whose interface has this MAC."""
        return self._owners.get(mac, [])

    def _probe(self, source: Endpoint, destination: Endpoint, protocol: str) -> Probe:
        version = frames.version_of(protocol)
        problem = self._problem(source, version)
        there = self._problem(destination, version)
        if not problem and there in ("interface-missing", "no-address"):
            problem = there
        target = "" if problem else str(destination.of(version)[0].ip)
        return Probe(source, destination, protocol, target_ip=target, problem=problem)

    def _problem(self, endpoint: Endpoint, version: int) -> Reason:
        """Why an interface can't take part in probes of a family."""
        fault = self._faults.get(endpoint.place, "")
        return "no-address" if fault != "interface-missing" and not endpoint.of(version) else fault

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
        for gateway in gateways_of(source, frames.version_of(probe.protocol)):
            for mac in tally.arp_answers.get((source.place, gateway), []):
                if mac != destination.mac:
                    yield "gateway", mac

    def _to_all(self, probe: Probe) -> Shot:
        mac = frames.solicited(probe.target_ip)[0] if probe.protocol == "nd" else frames.BROADCAST
        return self._shot(probe, "broadcast", mac)

    def _shot(self, probe: Probe, way: Way, target_mac: str) -> Shot:
        probe_id = self.next_id()
        source_ip = str(_source_address(probe.source, probe.target_ip))
        hop = Hop(probe.source.mac, target_mac, source_ip, probe.target_ip)
        return Shot(probe_id, way, target_mac, frames.build(probe.protocol, self._nonce, probe_id, hop))


def same_subnet(source: Endpoint, address: str) -> bool:
    """Whether ``address`` is in one of the source interface's networks."""
    target = ip_address(address)
    return any(target in one.network for one in source.of(target.version))


def owns(endpoint: Endpoint, address: str) -> bool:
    """Whether the interface itself has this address."""
    return any(str(one.ip) == address for one in endpoint.of(6 if ":" in address else 4))


def gateways_of(endpoint: Endpoint, version: int = 4) -> list[str]:
    """Its gateways of a family."""
    return [gateway for gateway in endpoint.gateways if (":" in gateway) == (version == 6)]


def _source_address(source: Endpoint, target: str) -> IPv4Address | IPv6Address:
    """The address a real sender would take: the one in the target's network, else the first."""
    wanted = ip_address(target)
    own = source.of(wanted.version)
    return next((one.ip for one in own if wanted in one.network), own[0].ip)
