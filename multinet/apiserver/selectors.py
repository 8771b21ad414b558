"""Label and field selectors: parsed once per request, then one cheap test per object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from multinet.apiserver.errors import bad_request
from multinet.apiserver.names import label_value, qualified_name
from multinet.apiserver.resources import ResourceType
from multinet.apiserver.store import Entry, Selects

Test = Callable[[Mapping[str, str]], bool]

_REQUIREMENT = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<no>[^\s,=!()<>]+)"
    r"|(?P<key>[^\s,=!()<>]+)\s*(?:(?P<set>\b(?:in|notin)\b)\s*\((?P<values>[^()]*)\)"
    r"|(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s,=!()]*))?)\s*(?:,|$)"
)


def select(label_text: str, field_text: str, resource_type: ResourceType) -> Selects | None:
    """Return a test for both selectors together, or None if they select everything."""
    labels = label_selector(label_text)
    fields = field_selector(field_text, resource_type)
    if labels is None and fields is None:
        return None

    def selects(entry: Entry) -> bool:
        view = entry.view()
        if labels is not None and not labels(view["metadata"].get("labels") or {}):
            return False
        return fields is None or fields(view)

    return selects


def label_selector(text: str) -> Test | None:
    """Parse ``a=b,c!=d,e in (f,g),h notin (i),j,!k``. Raises a 400 that shows the text."""
    tests: list[Test] = []
    position = 0
    while text[position:].strip():
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise bad_request(f"unable to parse requirement: found {text[position:]!r} in selector {text!r}")
        tests.append(_label_test(match, text))
        position = match.end()
    return _all(tests)


def _label_test(match: re.Match[str], text: str) -> Test:
    key = match["no"] or match["key"]
    if wrong := qualified_name(key):
        raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": {wrong}')
    if match["absent"]:
        return lambda labels: key not in labels
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        _check_values(values)
        if match["set"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    operator, value = match["op"], match["value"]
    if operator is None:
        return lambda labels: key in labels
    if operator in (">", "<"):
        return _number_test(key, operator, value, text)
    _check_values(frozenset([value]))
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _number_test(key: str, operator: str, value: str, text: str) -> Test:
    try:
        bound = int(value)
    except ValueError as error:
        raise bad_request(
            f"unable to parse requirement: {value!r} in selector {text!r} is no integer"
        ) from error

    def compares(labels: Mapping[str, str]) -> bool:
        try:
            held = int(labels[key])
        except (KeyError, ValueError):
            return False
        return held > bound if operator == ">" else held < bound

    return compares


def _check_values(values: frozenset[str]) -> None:
    for value in values:
        if wrong := label_value(value):
            raise bad_request(f'unable to parse requirement: values[0][]: Invalid value: "{value}": {wrong}')


def field_selector(text: str, resource_type: ResourceType) -> Callable[[Mapping[str, Any]], bool] | None:
    """Parse ``path=value,path!=value`` over the paths the type supports. Raises a 400 for others."""
    tests: list[Callable[[Mapping[str, Any]], bool]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: {text!r}; can't understand {part!r}")
        path, operator, value = match.groups()
        tests.append(_field_test(path, operator != "!=", value, resource_type))
    return _all(tests)


def _field_test(
    path: str, wanted: bool, value: str, resource_type: ResourceType
) -> Callable[[Mapping[str, Any]], bool]:
    if path not in ("metadata.name", "metadata.namespace", *resource_type.field_labels):
        raise bad_request(f"field label not supported: {path}")
    steps = path.split(".")
    default = resource_type.field_defaults.get(path, "")

    def compares(view: Mapping[str, Any]) -> bool:
        at: Any = view
        for step in steps:
            at = at.get(step) if isinstance(at, Mapping) else None
        held = default if at in (None, "") else str(at)
        return (held == value) is wanted

    return compares


def _all(tests: list[Callable[[Mapping[str, Any]], bool]]) -> Callable[[Mapping[str, Any]], bool] | None:
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda subject: all(test(subject) for test in tests)
