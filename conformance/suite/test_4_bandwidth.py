"""Section 4.1.2.1.8: bandwidth of one attachment, measured; what makes it is nobody's business.

A busy machine makes TCP slower, and may deliver in one moment what it had kept back: so each question is put
a few times, and one clear answer is enough. That a limit is none shows in every try.
"""

from __future__ import annotations

from collections.abc import Iterator

from conformance import requirement
from conformance.bench import Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen, addresses_of
from conformance.suite.judging import runs
from conformance.suite.rates import measure
from conformance.target import Network

RATE = 8_000_000
"""Bits per second. Slow beside any machine, and fast enough for a measurement of seconds."""
MORE = 1.25 * RATE
FREE = 3 * RATE
LEAST = 0.1 * RATE
TRIES = 6
SECONDS = 2.5
BURST_S = 1.0
"""What arrives earlier may be the burst of a limit."""


def rates(source: Seen, destination: Seen, network: Network, evidence: Evidence) -> Iterator[float]:
    """What TCP gets from one pod to another in each of some tries, in bits per second."""
    (here,), (there,) = source.within(network.subnets[0]), destination.within(network.subnets[0])
    address, plenty = str(addresses_of(there)[0]), FREE * (SECONDS - BURST_S)
    for _ in range(TRIES):
        try:
            yield measure(here.netns, there.netns, address, SECONDS, after_s=BURST_S, plenty=plenty)
        except OSError as error:
            evidence.unknown(f"no connection from {source.key} to {destination.key}: {error}")


def settled(tries: Iterator[float], least: float, most: float) -> tuple[bool, list[int]]:
    """Whether a try was within bounds; those up to it."""
    seen: list[int] = []
    for found in tries:
        seen.append(round(found))
        if least <= found <= most:
            return True, seen
    return False, seen


def measured(space: Space, evidence: Evidence, key: str) -> None:
    """Limited in the one direction, not in the other, and not at all in another network of the pod."""
    a, b = space.network("a"), space.network("b")
    evidence.case(selection({"name": "a", "bandwidth": {key: RATE}}, {"name": "b"}), f"{RATE} bit/s")
    pods = space.pods(limited=evidence.input, peer="a,b")
    limited, peer = pods["limited"], pods["peer"]
    for pod in pods.values():
        runs(pod, evidence)
    ways = {"ingressRate": (peer, limited), "egressRate": (limited, peer)}
    source, destination = ways[key]
    fast, elsewhere = settled(rates(source, destination, b, evidence), FREE, float("inf"))
    if not fast:
        evidence.unknown(f"this machine is too busy to tell: {elsewhere} bit/s without a limit")
    held, slow = settled(rates(source, destination, a, evidence), LEAST, MORE)
    free, other_way = settled(rates(destination, source, a, evidence), 2 * RATE, float("inf"))
    evidence.saw(f"bit/s: limited {slow}; other direction {other_way}; another network {elsewhere}")
    assert held, f"{slow} bit/s where {RATE} are allowed"
    assert free, f"the other direction is limited too: {other_way} bit/s"


@requirement("NPWG-4.1.2.1.8-a")
def test_what_comes_in_is_limited(space: Space, evidence: Evidence) -> None:
    measured(space, evidence, "ingressRate")


@requirement("NPWG-4.1.2.1.8-b")
def test_what_goes_out_is_limited(space: Space, evidence: Evidence) -> None:
    measured(space, evidence, "egressRate")
