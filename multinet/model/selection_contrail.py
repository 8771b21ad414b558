"""The network selection as Contrail R20/21 reads it (rows P1-P6): no standard, but what its users observe.

The first character decides: ``[`` is JSON, all else a comma list. Nothing is trimmed or checked, an item
that names no known NAD is left out, and of the JSON form three keys count. What this grammar can't read
made an exception there; here it is a ``SelectionError`` with the exception's name in its words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from multinet.model.selected import NetworkSelection, SelectionError

_Items = Iterator[tuple[str, str, str | None]]


def parse(text: str, *, pod_namespace: str, knows: Callable[[str], bool]) -> tuple[NetworkSelection, ...]:
    """Read the annotation's value; ``knows`` tells whether ``namespace/name`` is a NAD that is known.

    Raises ``SelectionError`` where the original raised something.
    """
    if not text:
        return ()
    items = _json(text, pod_namespace) if text[0] == "[" else _commas(text, pod_namespace)
    kept: list[NetworkSelection] = []
    seen: set[str] = set()
    for namespace, name, interface in items:
        if not knows(f"{namespace}/{name}"):
            continue
        # An empty string counts as a name here, a key that is not there does not.
        if interface is not None:
            if interface in seen:
                raise SelectionError(text, 0, f"Interface {interface} is defined more than once")
            seen.add(interface)
        kept.append(NetworkSelection(name, namespace, interface=interface or ""))
    return tuple(kept)


def _commas(text: str, pod_namespace: str) -> _Items:
    for item in text.split(","):
        parts = item.split("/")
        if len(parts) > 2:
            raise SelectionError(text, 0, "ValueError: too many values to unpack")
        namespace, name = parts if len(parts) == 2 else (pod_namespace, item)
        yield namespace, name, None


def _json(text: str, pod_namespace: str) -> _Items:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        at = error.pos if isinstance(error, json.JSONDecodeError) else 0
        raise SelectionError(text, at, f"JSONDecodeError: {error}") from error
    for item in listed:
        yield _element(text, item, pod_namespace)


def _element(text: str, item: Any, pod_namespace: str) -> tuple[str, str, str | None]:
    if isinstance(item, str) or (isinstance(item, dict) and "name" not in item):
        raise SelectionError(text, 0, "KeyError: 'name'")
    if not isinstance(item, dict):
        raise SelectionError(text, 0, f"TypeError: {type(item).__name__} is no map")
    interface = item.get("interface")
    namespace = item.get("namespace", pod_namespace)
    return str(namespace), str(item["name"]), None if interface is None else str(interface)
