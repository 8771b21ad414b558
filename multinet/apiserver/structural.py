"""A quick yes for objects that plainly fit their schema.

jsonschema is thorough and gives the errors, and costs more than all else in a write (some 180 us for a pod
against 5 us here). So a schema is compiled once into closures that answer "surely valid" or "ask
jsonschema": a keyword not known here, and every doubt, is the latter. The verdict is always jsonschema's.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from multinet.model.objects import Obj

Check = Callable[[Any], bool]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
ROOT = frozenset(("apiVersion", "kind", "metadata"))

# Formats that are checked (by raising ValueError); others, such as int64, are remarks.
FORMATS: Mapping[str, Callable[[str], object]] = {
    "date-time": datetime.datetime.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": lambda text: ipaddress.ip_network(text, strict=False),
}

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
}
_SILENT = frozenset(("description", "title", "default", "nullable", "example", "externalDocs"))
_STRING = frozenset(("pattern", "minLength", "maxLength", "format"))
_NUMBER = frozenset(("minimum", "maximum"))


def compile_check(schema: Obj) -> Check:
    """Return the check for a JSON schema made from a structural one."""
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else list(kinds or ())
    known = {name for name in schema if name not in _SILENT and not name.startswith("x-")} - {"type"}
    nullable = "null" in names
    names = [name for name in names if name != "null"]
    if names == ["object"]:
        check = _object(schema, known)
    elif names == ["array"]:
        check = _array(schema, known)
    elif not names:
        check = _never if known else _always
    else:
        check = _scalar(schema, names, known)
    if not nullable:
        return check
    return lambda value: value is None or check(value)


def compile_known(schema: Obj, *, root: bool = False) -> Check:
    """Return the check whether a value surely has no field that the schema does not know."""
    if schema.get("type") in _TYPES:
        return _is_plain
    items = compile_known(schema["items"]) if schema.get("items") else _always
    additional = schema.get("additionalProperties")
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    known = {name: compile_known(below) for name, below in (schema.get("properties") or {}).items()}
    if embedded:
        known |= dict.fromkeys(ROOT, _always)
    other: Check = _never
    if isinstance(additional, dict):
        other = compile_known(additional)
    elif additional or schema.get(PRESERVE):
        other = _always

    def check(value: Any) -> bool:
        if isinstance(value, dict):
            for name, held in value.items():
                test = known.get(name, other)
                if test is not _always and not test(held):
                    return False
            return True
        return not isinstance(value, list) or all(map(items, value))

    return check


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _always(_value: Any) -> bool:
    return True


def _never(_value: Any) -> bool:
    return False


def _object(schema: Obj, known: set[str]) -> Check:
    if known - {"properties", "required", "additionalProperties"}:
        return _never
    properties = {name: compile_check(below) for name, below in (schema.get("properties") or {}).items()}
    required = tuple(schema.get("required") or ())
    additional = schema.get("additionalProperties", True)
    other = compile_check(additional) if isinstance(additional, dict) else _always if additional else _never

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name in required:
            if name not in value:
                return False
        for name, held in value.items():
            test = properties.get(name, other)
            if test is not _always and not test(held):
                return False
        return True

    return check


def _array(schema: Obj, known: set[str]) -> Check:
    if known - {"items", "minItems", "maxItems"}:
        return _never
    item = compile_check(schema.get("items") or {})
    least, most = schema.get("minItems", 0), schema.get("maxItems", float("inf"))
    return lambda value: type(value) is list and least <= len(value) <= most and all(map(item, value))


def _scalar(schema: Obj, names: list[str], known: set[str]) -> Check:
    if not set(names) <= set(_TYPES) or known - (_STRING | _NUMBER | {"enum"}):
        return _never
    tests = tuple(_TYPES[name] for name in names)
    limits = _limits(schema)

    def check(value: Any) -> bool:
        return any(test(value) for test in tests) and all(limit(value) for limit in limits)

    if not limits and len(tests) == 1:
        return tests[0]
    return check


def _limits(schema: Obj) -> tuple[Check, ...]:
    limits: list[Check] = []
    if schema.get("format") in FORMATS:
        limits.append(_fits(FORMATS[schema["format"]]))
    if "enum" in schema:
        allowed = [choice for choice in schema["enum"] if type(choice) is str]
        limits.append(lambda value: type(value) is str and value in allowed)
    if "pattern" in schema:
        pattern = re.compile(schema["pattern"])
        limits.append(lambda value: type(value) is str and pattern.search(value) is not None)
    if "minLength" in schema or "maxLength" in schema:
        short, long = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
        limits.append(lambda value: type(value) is str and short <= len(value) <= long)
    if "minimum" in schema or "maximum" in schema:
        low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
        limits.append(lambda value: type(value) in (int, float) and low <= value <= high)
    return tuple(limits)


def _fits(parse: Callable[[str], object]) -> Check:
    def check(value: Any) -> bool:
        try:
            parse(value)
        except (ValueError, TypeError):
            return False
        return True

    return check
