"""Inputs to try first: each file of the corpus has a subject's name and its inputs, each with its reason.

``{"given": ..., "why": "..."}``, or ``{"text": ...}`` in place of ``given`` where it is long: then it is
``{"repeat": "[", "times": 3000}``. JSON, since that can say half a surrogate pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True, slots=True)
class Kept:
    """One input of the corpus, and why it is there."""

    subject: str
    given: Any
    why: str


def read(directory: Path = DIRECTORY) -> Iterator[Kept]:
    """All that is kept, by subject."""
    for path in sorted(directory.glob("*.json")):
        for item in json.loads(path.read_text(encoding="utf-8")):
            yield Kept(path.stem, _expanded(item["given"]), item["why"])


def _expanded(given: Any) -> Any:
    if isinstance(given, Mapping):
        if set(given) == {"repeat", "times"}:
            return given["repeat"] * given["times"]
        return {key: _expanded(value) for key, value in given.items()}
    if isinstance(given, list):
        return [_expanded(item) for item in given]
    return given
