"""Bugs to order: the test hook behind which the fuzzer's own test lives.

A fuzzer that finds nothing may be blind. So ten known kinds of bug are kept here, each one line in the code
it belongs to, and none of them on unless a test plants it: with :func:`plant` in its own process, with the
environment variable for the processes of a lab. Nothing else may ask.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "MULTINET_PLANTED_BUGS"
BUGS = {
    "address-reused-early": "a pod's addresses are given back when its deletion begins, not when it ended",
    "order-by-hash": "interfaces are made in the order of a hash, not in that of the selection",
    "live-network-removed": "a NAD's network goes with the NAD although pods use it",
    "status-before-add": "network-status is written before ADD, and stays when ADD fails",
    "del-skipped": "an agent that restarted does not know what it attached, and skips its DEL",
    "edit-attaches": "an edit of a running pod's selection is carried out",
    "namespaces-confused": "NADs of one name in two namespaces are taken for one",
    "lease-leak": "addresses reserved by an attempt that failed are not given back",
    "stale-fdb": "other nodes are not told of members that are gone",
    "duplicate-allocates": "a pod that is attached once more is given new addresses",
}
_planted: frozenset[str] | None = None


def planted(bug: str) -> bool:
    """Whether a test wants this bug."""
    global _planted
    if _planted is None:
        # Not at import: the processes of a lab are forks of one that has imported this module already.
        _planted = frozenset(filter(None, os.environ.get(VARIABLE, "").split(",")))
    return bool(_planted) and bug in _planted


@contextmanager
def plant(*bugs: str) -> Iterator[None]:
    """Have these bugs in this process, inside the block."""
    global _planted
    unknown = set(bugs) - set(BUGS)
    if unknown:
        raise ValueError(f"no such bug: {', '.join(sorted(unknown))}; there are {', '.join(BUGS)}")
    before, _planted = _planted, frozenset(bugs)
    try:
        yield
    finally:
        _planted = before
