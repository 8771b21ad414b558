"""Who has which MAC, whatever order the news comes in; and what the name server says."""

from __future__ import annotations

import struct

import pytest

from multinet.vrouter import addressing, netlink
from multinet.vrouter.datapath import Remote
from multinet.vrouter.nameservice import refusal
from multinet.vrouter.neighbours import Neighbours

BRIDGE = 7
HEADER = struct.Struct(">HHHHHH")


def carried_out(table, requests):
    """Apply requests to a table of address -> MAC as the kernel does."""
    for request in requests:
        found = dict(netlink.attributes(request.body[12:]))
        address = found[1]
        if request.kind == netlink.NEWNEIGH:
            table[address] = found[2]
        else:
            table.pop(address, None)


def remote(mac, *addresses):
    return Remote(mac, "100.64.0.12", addresses)


@pytest.mark.parametrize("moved_first", [True, False])
def test_an_address_that_moves_here_is_known_to_be_here(moved_first):
    known, table = Neighbours(BRIDGE, ipv6=True), {}
    there = remote("02:00:00:00:00:01", "10.0.0.9", "fd00::9")
    here = [("10.0.0.9", "02:00:00:00:00:02"), ("fd00::9", "02:00:00:00:00:02")]
    carried_out(table, known.changed([], [there]))
    assert set(table.values()) == {netlink.mac_bytes("02:00:00:00:00:01")}
    steps = [lambda: known.appeared(here), lambda: known.changed([there], [])]
    for step in steps if moved_first else reversed(steps):
        carried_out(table, step())
    assert len(table) == 2
    assert set(table.values()) == {netlink.mac_bytes("02:00:00:00:00:02")}
    carried_out(table, known.vanished(here))
    assert table == {}
    assert known.known == set()


def test_an_address_that_moves_away_is_known_to_be_there():
    known, table = Neighbours(BRIDGE, ipv6=False), {}
    here = [("10.0.0.9", "02:00:00:00:00:02")]
    carried_out(table, known.appeared([*here, ("fd00::9", "02:00:00:00:00:02")]))
    assert len(table) == 1  # no IPv6 here
    carried_out(table, known.changed([], [remote("02:00:00:00:00:01", "10.0.0.9", "fd00::9")]))
    carried_out(table, known.vanished(here))
    assert list(table.values()) == [netlink.mac_bytes("02:00:00:00:00:01")]
    carried_out(table, known.vanished(here))  # told twice
    assert len(table) == 1
    assert addressing.neighbour(BRIDGE, "10.0.0.9", "02:00:00:00:00:01").kind == netlink.NEWNEIGH


QUESTION = b"\3www\7example\3com\0\0\1\0\1"


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (
            HEADER.pack(7, 0x0100, 1, 0, 0, 1) + QUESTION + b"more",
            HEADER.pack(7, 0x8105, 1, 0, 0, 0) + QUESTION,
        ),
        (HEADER.pack(7, 0x0000, 1, 0, 0, 0) + QUESTION[:-1], HEADER.pack(7, 0x8001, 0, 0, 0, 0)),
        (HEADER.pack(7, 0x0000, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", HEADER.pack(7, 0x8001, 0, 0, 0, 0)),
        (HEADER.pack(7, 0x0000, 2, 0, 0, 0) + QUESTION * 2, HEADER.pack(7, 0x8001, 0, 0, 0, 0)),
        (HEADER.pack(7, 0x8000, 1, 0, 0, 0) + QUESTION, b""),  # an answer: two servers would talk for ever
        (b"short", b""),
        (b"", b""),
    ],
)
def test_queries_are_refused(query, answer):
    assert refusal(query) == answer
