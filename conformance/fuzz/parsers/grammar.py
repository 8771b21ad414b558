"""Near-valid input: good samples, changed in a few places by what experience says breaks readers."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

_DEEP: Any = "bottom"
for _ in range(60):
    _DEEP = [_DEEP]
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 65536, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1.5, -0.0, 1e308),
    *("", " ", "\0", "\n", "é", "0", "-1", "1e9", "00", "٣", "true", "null", "a=b", "a/b/c", "..", "::", "%"),
    *("10.0.0.0/8", "10.1.1.256", "fe80::1%eth0", "::ffff:10.0.0.1", "2026-02-30T25:61:00Z", "1e999999"),
    *("x" * 300, "a" * 64, "İ", "\u202e", "[]", "{}", '"', "'", "\\", "$(A)", "{{", "*", "-", "9" * 5000),
    *([], {}, [[]], [None], [{}], [0], ["x"], ["x", "x"], {"": ""}, {"a": {"b": {}}}, {"$patch": "replace"}),
    _DEEP,
)
"""Values that are seldom thought of."""
HALF_PAIRS = ("\ud800", "a\udfff")
"""Text that JSON's escapes can express and UTF-8 can't."""


def values(odd: Sequence[Any] = ODD) -> st.SearchStrategy[Any]:
    """Any JSON value, small or odd."""
    # Made once for each list of odd values: making strategies costs more than drawing from them.
    if id(odd) not in _VALUES:
        leaves = st.sampled_from(odd) | st.integers(-10, 70000) | st.text(max_size=8)
        maps = st.dictionaries(st.text(max_size=6), leaves, max_size=2)
        _VALUES[id(odd)] = (odd, leaves | st.lists(leaves | maps, max_size=3) | maps)
    return _VALUES[id(odd)][1]


_VALUES: dict[int, tuple[Sequence[Any], st.SearchStrategy[Any]]] = {}


@st.composite
def mutated(
    draw: st.DrawFn, samples: Sequence[Any], odd: Sequence[Any] = ODD, most: int = 3, least: int = 0
) -> Any:
    """One of the samples, changed in ``least`` to ``most`` places."""
    value = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(least, most))):
        value = _change(draw, value, odd)
    return value


@st.composite
def text_of(draw: st.DrawFn, samples: Sequence[Any], odd: Sequence[Any] = ODD) -> str:
    """The JSON of a changed sample, sometimes itself damaged."""
    text = json.dumps(draw(mutated(samples, odd)))
    return draw(damaged_text(text)) if draw(st.integers(0, 3)) == 3 else text


@st.composite
def damaged_text(draw: st.DrawFn, text: str) -> str:
    """``text`` cut off, doubled, with a piece taken out, or with something in it."""
    at = draw(st.integers(0, len(text)))
    end = draw(st.integers(at, min(len(text), at + 12)))
    way = draw(st.integers(0, 3))
    if way == 0:
        return text[:at]
    if way == 1:
        return text[:at] + text[end:]
    if way == 2:
        return text[:end] + text[at:]
    inserted = st.text(max_size=4) | st.sampled_from(
        [*HALF_PAIRS, "\0", ",", "]", "[" * 3000, "{", '"', "\\", "&a *a", "NaN", "1e999", "#", "\ufeff"]
    )
    return text[:at] + draw(inserted) + text[at:]


def paths(value: Any, at: Path = ()) -> list[Path]:
    """Every place in a value, itself first."""
    found = [at]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += paths(inner, (*at, index))
    return found


def _change(draw: st.DrawFn, value: Any, odd: Sequence[Any]) -> Any:
    places = paths(value)
    # The first place is the whole, which one change in many is enough for.
    path = places[draw(st.integers(0, len(places) - 1))]
    held = value
    for part in path:
        held = held[part]
    way = draw(st.integers(0, 6))
    if way == 0 and path:
        return _put(value, path, None, remove=True)
    if way == 1 and isinstance(held, dict):
        return _put(value, path, {**held, draw(_keys(held)): draw(values(odd))})
    if way == 2 and isinstance(held, list):
        return _put(value, path, [*held, *copy.deepcopy(held[:1]), draw(values(odd))])
    if way == 3 and isinstance(held, str):
        return _put(value, path, draw(damaged_text(held)))
    if way == 4:
        other = places[draw(st.integers(0, len(places) - 1))]
        found = value
        for part in other:
            found = found[part]
        return _put(value, path, copy.deepcopy(found))
    if way == 5:
        return _put(value, path, draw(st.sampled_from([[held], {"name": held}, str(held)])))
    return _put(value, path, draw(values(odd)))


def _keys(held: dict[str, Any]) -> st.SearchStrategy[str]:
    known = list(held) or ["name"]
    return st.text(max_size=6) | st.sampled_from([*known, "name", "type", "$patch", "$retainKeys", "spec"])


def _put(value: Any, path: Path, new: Any, *, remove: bool = False) -> Any:
    if not path:
        return new
    changed = copy.deepcopy(value)
    held = changed
    for part in path[:-1]:
        held = held[part]
    if remove:
        del held[path[-1]]
    else:
        held[path[-1]] = new
    return changed
