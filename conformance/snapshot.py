"""What a node has that a CNI plugin may change: links, addresses, routes, rules, packet filters, files.

Two snapshots are compared line by line, so that what is left over has a name.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.cnicall import show

STATE_DIRS = (Path("/var/lib/cni"), Path("/run/cni"))
_SETTLE_S = 15.0
_NOT_A_RESERVATION = ("lock", "last_reserved_ip")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Lines of text, one for each thing."""

    lines: frozenset[str]

    @classmethod
    def take(cls, state_dirs: Sequence[Path] = STATE_DIRS) -> Snapshot:
        """What this network namespace and the folders have now."""
        found = [f"link {link['ifname']}" for link in show("link")]
        found += [
            f"address {info['local']}/{info['prefixlen']} on {link['ifname']}"
            for link in show("address")
            for info in link.get("addr_info", ())
            if info.get("scope") != "link"
        ]
        for family in ("-4", "-6"):
            found += [
                f"route {route['dst']} {route.get('dev', '')} in {route.get('table', 'main')}"
                for route in show(family, "route", "show", "table", "all")
                if route.get("type", "unicast") == "unicast" and not route["dst"].startswith("fe80:")
            ]
            found += [f"rule {rule}" for rule in show(family, "rule")]
        found += [f"filter {line}" for line in _filters()]
        found += [f"file {path}" for path in _files(state_dirs)]
        return cls(frozenset(found))

    def added(self, later: Snapshot) -> list[str]:
        """What is there later and was not."""
        return sorted(later.lines - self.lines)

    def gone(self, later: Snapshot) -> list[str]:
        """What was there and is not later."""
        return sorted(self.lines - later.lines)

    def settle(self) -> Snapshot:
        """The snapshot now, or the first within a little while that equals this one: kernels tidy up late."""
        deadline = time.monotonic() + _SETTLE_S
        while (now := Snapshot.take()) != self and time.monotonic() < deadline:
            continue
        return now


def _filters() -> list[str]:
    try:
        done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    table, lines = "", []
    for line in map(str.strip, done.stdout.splitlines()):
        if line.startswith("table "):
            table = line
        elif line and line != "}":
            lines.append(f"{table} {line}")
    return lines


def _files(directories: Sequence[Path]) -> list[Path]:
    return [
        Path(folder) / name
        for directory in directories
        for folder, _, names in os.walk(directory)
        for name in names
        if not name.startswith(_NOT_A_RESERVATION)
    ]
