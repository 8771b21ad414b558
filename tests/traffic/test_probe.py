"""What the prober refuses before it sends anything."""

from __future__ import annotations

import dataclasses

import pytest

from multinet.errors import InputError
from traffic.endpoint import Endpoint
from traffic.probe import Prober, ordered_pairs

POD = Endpoint("ns/a", "eth1", "/run/netns/a", "02:00:00:00:00:01", ("10.0.0.1/24",))


def test_one_name_stands_for_one_namespace():
    with pytest.raises(InputError, match="ns/a: one name for two network namespaces"):
        Prober([POD, dataclasses.replace(POD, interface="eth2", netns="/run/netns/b")])


def test_a_nonce_has_eight_bytes():
    with pytest.raises(InputError, match="3 bytes"):
        Prober([POD], nonce=b"abc")


@pytest.mark.parametrize(
    ("pairs", "protocols", "text"),
    [
        ([], ["sctp"], "unknown protocol 'sctp'.*use arp, icmp, udp, tcp"),
        ([(POD.place, ("ns/b", "eth1"))], ["arp"], "ns/b/eth1: a pair names an interface"),
    ],
)
def test_unknown_protocols_and_places_are_named(pairs, protocols, text):
    with pytest.raises(InputError, match=text):
        Prober([POD]).run(pairs, protocols)


def test_all_ordered_pairs_of_fourteen_are_182():
    pairs = list(ordered_pairs((f"ns/{number}", "eth0") for number in range(14)))
    assert len(pairs) == len(set(pairs)) == 182
