"""What a node's kernel and files hold, as lines that can be compared: an audit before and after.

A line says what a thing is and nothing about it that changes by itself (ifindexes, handles, counters, ages,
what was learned from traffic), so that equal audits mean that nothing was left and nothing was lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multinet.errors import LabError
from topology.backend import Completed

Run = Callable[[Sequence[str]], Completed]

# One process per family for all that ip(8) shows: each line of a batch is answered with one line of JSON.
_IPV4 = ("link", "address", "route", "rule", "neighbour")
_IPV6 = ("address", "route", "rule", "neighbour")
_COMMANDS = {
    "link": "link show",
    "address": "address show",
    "route": "route show table all",
    "rule": "rule show",
    "neighbour": "neighbour show nud permanent",
}
_SHELL = """
ip -4 -j -d -batch - <<'END'
{ipv4}
END
ip -6 -j -d -batch - <<'END'
{ipv6}
END
echo ---
bridge -j fdb show
echo ---
if command -v nft >/dev/null; then nft -s list ruleset; fi
"""


def of_node(run: Run) -> frozenset[str]:
    """Links, addresses, routes, rules, permanent neighbours, forwarding entries and nft rules of a node.

    ``run`` runs a command there. ``LabError`` when the node can't be looked at.
    """
    ipv4, ipv6 = ("\n".join(_COMMANDS[kind] for kind in kinds) for kinds in (_IPV4, _IPV6))
    done = run(("sh", "-c", _SHELL.format(ipv4=ipv4, ipv6=ipv6)))
    parts = done.stdout.split("---\n")
    if done.status != 0 or len(parts) != 3:
        raise LabError("a node can't be audited", why=done.stderr.strip() or f"status {done.status}")
    found: set[str] = set()
    shown = [line for line in parts[0].splitlines() if line.strip()]
    for kind, line in zip((*_IPV4, *_IPV6), shown, strict=True):
        for item in json.loads(line):
            found.update(f"{kind} {text}" for text in _READERS[kind](item))
    found.update(f"forwarding {text}" for item in json.loads(parts[1] or "[]") for text in _forwarding(item))
    found.update(_ruleset(parts[2]))
    return frozenset(found)


def of_files(*directories: Path) -> frozenset[str]:
    """Files below directories with a digest of their content; a directory that is missing has none."""
    return frozenset(
        f"file {path} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file()
    )


def difference(before: frozenset[str], after: frozenset[str]) -> list[str]:
    """What came (+) and what went (-), sorted."""
    return sorted([f"+ {line}" for line in after - before] + [f"- {line}" for line in before - after])


def _link(item: Mapping[str, Any]) -> Iterator[str]:
    kind = (item.get("linkinfo") or {}).get("info_kind", "")
    up = "up" if "UP" in item.get("flags", ()) else "down"
    master = f" master {item['master']}" if item.get("master") else ""
    yield f"{item['ifname']} {kind} {item.get('address', '')} mtu {item.get('mtu')} {up}{master}"


def _address(item: Mapping[str, Any]) -> Iterator[str]:
    for each in item.get("addr_info") or ():
        yield f"{each['local']}/{each['prefixlen']} {each['scope']} on {item['ifname']}"


def _route(item: Mapping[str, Any]) -> Iterator[str]:
    if (item.get("table"), item.get("protocol")) == ("local", "kernel"):
        return  # the kernel's own shadow of an address, which comes when it likes
    shown = {key: item.get(key) for key in ("type", "dst", "gateway", "dev", "table", "prefsrc", "protocol")}
    yield " ".join(f"{key} {value}" for key, value in shown.items() if value)


def _rule(item: Mapping[str, Any]) -> Iterator[str]:
    yield " ".join(f"{key} {value}" for key, value in sorted(item.items()) if value not in (None, ""))


def _neighbour(item: Mapping[str, Any]) -> Iterator[str]:
    yield f"{item.get('dst')} {item.get('lladdr', '')} on {item.get('dev')}"


def _forwarding(item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("state") in ("permanent", "static") or item.get("dst"):
        target = f" to {item['dst']}" if item.get("dst") else ""
        master = f" in {item['master']}" if item.get("master") else ""
        yield f"{item.get('mac')}{target} on {item.get('ifname')}{master}"


def _ruleset(text: str) -> Iterator[str]:
    """Nft's own words (``-s``: without counters), each with the table and chain or set that it is in."""
    where: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.endswith("{"):
            where.append(line[:-1].strip())
        elif line == "}":
            where.pop()
        if line and line != "}":
            yield f"nft {' / '.join(where)}: {line}"


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "link": _link,
    "address": _address,
    "route": _route,
    "rule": _rule,
    "neighbour": _neighbour,
}
