"""A JSON reader that remembers where each value stands.

The standard decoder gives a position for a syntax error only; a selection that is good JSON and a bad
selection (``"ips": ["300.1.1.1"]``) needs the position of the *value*. Stricter than the standard decoder,
so that what was read can be printed and read again: no duplicate keys, no ``NaN``, no lone surrogates,
bounded depth and number length.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from multinet.errors import InputError

_DEPTH_LIMIT = 32
_NUMBER_LIMIT = 40
_BLANK = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: tuple[tuple[str, bool | None], ...] = (("true", True), ("false", False), ("null", None))
_STRINGS = json.JSONDecoder()


class JsonFault(InputError):
    """The text is not JSON as accepted here; ``position`` is a character offset into it."""

    def __init__(self, position: int, why: str, next_step: str = "") -> None:
        super().__init__("this is not valid JSON", why=why, next_step=next_step)
        self.position = position


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its offset; a list holds Nodes, a map holds Members by key."""

    value: Any
    at: int

    @property
    def kind(self) -> str:
        """The JSON name of the value's type."""
        return _KINDS[type(self.value)]

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: member.node.plain() for key, member in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Member:
    """A value in a map and the offset of its key."""

    at: int
    node: Node


_KINDS: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    list: "list",
    dict: "map",
}


def read(text: str, start: int = 0) -> Node:
    """Read the one JSON value in ``text[start:]``; ``JsonFault`` says where and why it can't be."""
    node, end = _value(text, _skip(text, start), 0)
    end = _skip(text, end)
    if text[end:].strip():
        raise JsonFault(end, "there is more text after the end of the value", "remove it")
    return node


def _skip(text: str, at: int) -> int:
    matched = _BLANK.match(text, at)
    return matched.end() if matched else at


def _value(text: str, at: int, depth: int) -> tuple[Node, int]:
    if depth > _DEPTH_LIMIT:
        raise JsonFault(at, f"values are nested more than {_DEPTH_LIMIT} deep")
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at)
    if first == "[":
        return _list(text, at, depth)
    if first == "{":
        return _map(text, at, depth)
    for word, value in _WORDS:
        if text.startswith(word, at):
            return Node(value, at), at + len(word)
    return _number(text, at)


def _string(text: str, at: int) -> tuple[Node, int]:
    try:
        value, end = _STRINGS.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise JsonFault(min(error.pos, len(text)), error.msg.lower()) from error
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise JsonFault(at, "the string holds half of a surrogate pair, which is no character")
    return Node(value, at), end


def _number(text: str, at: int) -> tuple[Node, int]:
    matched = _NUMBER.match(text, at)
    if matched is None:
        if at >= len(text):
            raise JsonFault(at, "the text ends where a value is expected", "check that it is complete")
        hint = "JSON strings are in double quotes" if text[at] in "'" or text[at].isalpha() else ""
        raise JsonFault(at, f"a value is expected, {text[at]!r} begins none", hint)
    digits = matched.group()
    if len(digits) > _NUMBER_LIMIT:
        raise JsonFault(at, f"the number has more than {_NUMBER_LIMIT} characters")
    value = float(digits) if matched.group(1) or matched.group(2) else int(digits)
    if not math.isfinite(value):
        raise JsonFault(at, "the number is too large")
    return Node(value, at), matched.end()


def _list(text: str, at: int, depth: int) -> tuple[Node, int]:
    items: list[Node] = []
    end = _skip(text, at + 1)
    if text[end : end + 1] == "]":
        return Node(items, at), end + 1
    while True:
        item, end = _value(text, end, depth + 1)
        items.append(item)
        end = _skip(text, end)
        if text[end : end + 1] == "]":
            return Node(items, at), end + 1
        end = _after_comma(text, end, "]")


def _map(text: str, at: int, depth: int) -> tuple[Node, int]:
    members: dict[str, Member] = {}
    end = _skip(text, at + 1)
    if text[end : end + 1] == "}":
        return Node(members, at), end + 1
    while True:
        if text[end : end + 1] != '"':
            raise JsonFault(end, "a key in double quotes is expected")
        key, after = _string(text, end)
        if key.value in members:
            raise JsonFault(end, f"the key {key.value!r} is there twice", "keep one of the two")
        colon = _skip(text, after)
        if text[colon : colon + 1] != ":":
            raise JsonFault(colon, f"a colon is expected after the key {key.value!r}")
        node, after = _value(text, _skip(text, colon + 1), depth + 1)
        members[key.value] = Member(end, node)
        end = _skip(text, after)
        if text[end : end + 1] == "}":
            return Node(members, at), end + 1
        end = _after_comma(text, end, "}")


def _after_comma(text: str, at: int, closing: str) -> int:
    if text[at : at + 1] != ",":
        if at >= len(text):
            raise JsonFault(at, f"the text ends before the closing {closing!r}", "check that it is complete")
        raise JsonFault(at, f"a comma or {closing!r} is expected")
    end = _skip(text, at + 1)
    if text[end : end + 1] == closing:
        raise JsonFault(at, "a comma before the end is one too many", "remove it")
    return end
