"""Section 4.1.2.1.8: bandwidth of one attachment, measured; what makes it is nobody's business."""

from __future__ import annotations

from conformance import requirement
from conformance.bench import Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen, addresses_of
from conformance.suite.judging import runs
from conformance.suite.rates import measure
from conformance.target import Network

RATE = 8_000_000
"""Bits per second. Slow beside any machine, and fast enough for a measurement of seconds."""


def rate(source: Seen, destination: Seen, network: Network, evidence: Evidence) -> float:
    (here,), (there,) = source.within(network.subnets[0]), destination.within(network.subnets[0])
    try:
        return measure(here.netns, there.netns, str(addresses_of(there)[0]), 2.5, after_s=1.0)
    except OSError as error:
        return evidence.unknown(f"no connection from {source.key} to {destination.key}: {error}")


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
    slow = rate(source, destination, a, evidence)
    other_way = rate(destination, source, a, evidence)
    elsewhere = rate(source, destination, b, evidence)
    evidence.saw(
        f"limited {slow:.0f} bit/s; other direction {other_way:.0f}; another network {elsewhere:.0f}"
    )
    if elsewhere < 3 * RATE:
        evidence.unknown(f"this machine is too busy to tell: {elsewhere:.0f} bit/s without a limit")
    assert slow <= 1.25 * RATE, f"{slow:.0f} bit/s where {RATE} are allowed"
    assert slow >= 0.4 * RATE, f"{slow:.0f} bit/s where {RATE} are allowed"
    assert other_way > 2 * RATE, f"the other direction is limited too: {other_way:.0f} bit/s"


@requirement("NPWG-4.1.2.1.8-a")
def test_what_comes_in_is_limited(space: Space, evidence: Evidence) -> None:
    measured(space, evidence, "ingressRate")


@requirement("NPWG-4.1.2.1.8-b")
def test_what_goes_out_is_limited(space: Space, evidence: Evidence) -> None:
    measured(space, evidence, "egressRate")
