"""Mininet's classes, imported in 40 ms instead of 270.

``mininet.node`` imports ``distutils.version`` to compare versions of Open vSwitch, which the fabric does not
use; from Python 3.12 on that means importing most of setuptools (and with setuptools installed, on 3.11 as
well). For the time of the import a stand-in with the same ordering takes that module's place.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import total_ordering
from types import ModuleType


@total_ordering
class StrictVersion:
    """The part of ``distutils.version.StrictVersion`` that Mininet uses: order by numbers."""

    def __init__(self, text: str) -> None:
        self._numbers = tuple(int(part) for part in text.split("."))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StrictVersion) and self._numbers == other._numbers

    def __lt__(self, other: StrictVersion) -> bool:
        return self._numbers < other._numbers

    def __hash__(self) -> int:
        return hash(self._numbers)


@contextmanager
def _without_distutils() -> Iterator[None]:
    names = ("distutils", "distutils.version")
    if any(name in sys.modules for name in names):
        yield
        return
    package, module = (ModuleType(name) for name in names)
    module.__dict__["StrictVersion"] = StrictVersion
    sys.modules.update(zip(names, (package, module), strict=True))
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


with _without_distutils():
    from mininet.link import Intf, Link
    from mininet.net import Mininet
    from mininet.node import Host, Switch

__all__ = ["Host", "Intf", "Link", "Mininet", "Switch"]
