"""Queries on a collection: which objects, and how much of each (``GET /virtual-networks?...``).

The same keys come as query parameters or, from a client with long lists, in the body of
``list-bulk-collection``; there values may be JSON booleans.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from multinet.configapi.entries import Catalog, Entry
from multinet.configapi.errors import bad_request
from multinet.configapi.kinds import Kind
from multinet.configapi.wire import Shape, brief, fields_of, full
from multinet.model.objects import Obj

_FILTER = re.compile(r",?([A-Za-z0-9_]+)==")
_NEXT = re.compile(r",[A-Za-z0-9_]+==")
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Query:
    """What a list request asks for."""

    detail: bool
    count: bool
    shape: Shape
    tests: tuple[Callable[[Entry], bool], ...]


def shape_of(query: Mapping[str, Any], base: str) -> Shape:
    """How much of each object a request wants to see."""
    return Shape(
        base="" if _flag(query, "exclude_hrefs") else base,
        fields=frozenset(_split(query, "fields")),
        back_refs=not _flag(query, "exclude_back_refs"),
        children=not _flag(query, "exclude_children"),
    )


def read_query(query: Mapping[str, Any], base: str) -> Query:
    """Read a list request; 400 for filters that can't be read."""
    tests: list[Callable[[Entry], bool]] = []
    parents = frozenset(_split(query, "parent_id"))
    if parents:
        tests.append(lambda entry: entry.parent_uuid in parents)
    parent_name = _text(query, "parent_fq_name_str")
    if parent_name:
        wanted = tuple(parent_name.split(":"))
        tests.append(lambda entry: bool(entry.parent_kind) and entry.fq_name[:-1] == wanted)
    uuids = frozenset(_split(query, "obj_uuids"))
    if uuids:
        tests.append(lambda entry: entry.uuid in uuids)
    names = frozenset(_split(query, "fq_names"))
    if names:
        tests.append(lambda entry: ":".join(entry.fq_name) in names)
    back_refs = frozenset(_split(query, "back_ref_id"))
    if back_refs:
        tests.append(lambda entry: any(ref.uuid in back_refs for ref in entry.refs))
    for name, values in read_filters(_text(query, "filters")).items():
        tests.append(_filter(name, values))
    shape = shape_of(query, base)
    detail = _flag(query, "detail")
    return Query(detail, _flag(query, "count"), shape, tuple(tests))


def answer(kind: Kind, query: Query, catalog: Catalog) -> Obj:
    """The body of a list's answer."""
    found = [entry for entry in catalog.of_kind(kind.name) if all(test(entry) for test in query.tests)]
    if query.count:
        return {kind.plural: {"count": len(found)}}
    if query.detail:
        return {kind.plural: [{kind.name: _detailed(entry, catalog, query.shape)} for entry in found]}
    shape = query.shape
    listed = [
        brief(entry, shape) | (fields_of(entry, catalog, shape) if shape.fields else {}) for entry in found
    ]
    return {kind.plural: listed}


def read_filters(text: str) -> dict[str, list[Any]]:
    """``name=="x",name=="y",other==true``: values are JSON; several for one name are alternatives."""
    found: dict[str, list[Any]] = {}
    position = 0
    while position < len(text):
        match = _FILTER.match(text, position)
        if match is None:
            raise bad_request(f"Invalid filters {text!r}", next_step='write filters=display_name=="blue"')
        value, position = _value(text, match.end())
        found.setdefault(match.group(1), []).append(value)
    return found


def _value(text: str, start: int) -> tuple[Any, int]:
    """A JSON value, or a bare word up to the next filter (the original's command line sends such)."""
    try:
        value, end = _JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        following = _NEXT.search(text, start)
        end = following.start() if following else len(text)
        return text[start:end], end
    return value, end


def _detailed(entry: Entry, catalog: Catalog, shape: Shape) -> Obj:
    # All properties and references; fields then ask for back references and children besides.
    made = full(entry, catalog, Shape(shape.base, frozenset(), back_refs=False, children=False))
    return made | (fields_of(entry, catalog, shape) if shape.fields else {})


def _filter(name: str, values: list[Any]) -> Callable[[Entry], bool]:
    def test(entry: Entry) -> bool:
        shown: Mapping[str, Any] = {
            "uuid": entry.uuid,
            "fq_name": list(entry.fq_name),
            "name": entry.fq_name[-1],
            "parent_type": entry.parent_kind,
            "parent_uuid": entry.parent_uuid,
            **entry.properties,
        }
        return name in shown and shown[name] in values

    return test


def _text(query: Mapping[str, Any], name: str) -> str:
    value = query.get(name)
    return "" if value is None else str(value)


def _split(query: Mapping[str, Any], name: str) -> list[str]:
    value = query.get(name)
    parts = value if isinstance(value, list) else _text(query, name).split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


def _flag(query: Mapping[str, Any], name: str) -> bool:
    return _text(query, name).lower() in ("true", "1", "yes")
