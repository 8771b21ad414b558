"""The JSONPath subset of additionalPrinterColumns.

``.a.b``, ``['a.b']``, ``[0]``, ``[-1]``, ``[*]`` and ``[?(@.type=="Ready")]``. A path that leads nowhere
gives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from multinet.apiserver.errors import bad_request

_STEP = re.compile(
    r"\.(?P<name>(?:\\.|[^.\[\]\\])+)"
    r"|\[(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\")\]"
    r"|\[(?P<index>-?\d+)\]"
    r"|(?P<all>\[\*\]|\.\*)"
    r"|\[\?\(@\.(?P<field>[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<quote>['\"]?)(?P<value>.*?)(?P=quote)\s*\)\]"
)
Step = Callable[[Any], Iterator[Any]]


def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """Return a function from a tree to all values the path leads to. Raises a 400 for what it can't read."""
    path = text.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1]
    path = path.removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise bad_request(f"unrecognized JSONPath {text!r} at {path[position:]!r}")
        steps.append(_step(match))
        position = match.end()

    def find(tree: Any) -> list[Any]:
        found = [tree]
        for step in steps:
            found = [value for held in found for value in step(held)]
        return found

    return find


def _step(match: re.Match[str]) -> Step:
    if match["all"]:
        return _every
    if match["index"] is not None:
        at = int(match["index"])
        return lambda held: iter(held[at : at + 1 or None]) if isinstance(held, list) else iter(())
    if match["field"]:
        return _filter(match["field"].split("."), match["op"] == "==", match["value"])
    quoted = match["single"] if match["single"] is not None else match["double"]
    name = quoted if quoted is not None else re.sub(r"\\(.)", r"\1", match["name"])

    def member(held: Any) -> Iterator[Any]:
        if isinstance(held, dict) and name in held:
            yield held[name]

    return member


def _every(held: Any) -> Iterator[Any]:
    if isinstance(held, dict):
        yield from held.values()
    elif isinstance(held, list):
        yield from held


def _filter(path: list[str], equal: bool, value: str) -> Step:
    def matching(held: Any) -> Iterator[Any]:
        for item in held if isinstance(held, list) else ():
            at: Any = item
            for name in path:
                at = at.get(name) if isinstance(at, dict) else None
            text = str(at).lower() if isinstance(at, bool) else str(at)
            if at is not None and (text == value) is equal:
                yield item

    return matching
