"""What a test puts down beside its asserts: the case, what was seen, logs, verdicts that are no plain pass.

A test that ends well passes its rows unless it noted another verdict; an ``AssertionError`` fails them. An
error of the project's own tree (the lab broke, a wait expired) is ``unknown``: nothing was decided. Anything
else is a fault of the suite, told as such and never as a fault of the implementation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from conformance.target import CannotProvideError
from conformance.verdicts import Verdict, combine
from multinet.errors import MultinetError

_LOG_LINES = 40
_TEXT_LIMIT = 2000


class UnsafeError(AssertionError):
    """Accepted with a partial or different set of attachments."""


class UnknownError(MultinetError):
    """What had to be seen could not be."""


class Evidence:
    """The fixture ``evidence``: one per test."""

    def __init__(self) -> None:
        self.input = ""
        self.expected = ""
        self.observed = ""
        self.logs: dict[str, str] = {}
        self.noted: list[tuple[Verdict, str]] = []
        self.involved: set[str] = set()

    def case(self, given: object, expected: str = "") -> None:
        """What the implementation was given, and what must follow; the row's statement when left out."""
        self.input, self.expected = _text(given), expected

    def saw(self, observed: object) -> None:
        """What was observed last; shown with whatever verdict follows."""
        self.observed = _text(observed)

    def involve(self, *names: str) -> None:
        """What the case is about (``namespace/pod``): its lines in the target's logs go with a failure."""
        self.involved.update(names)

    def log(self, name: str, text: str | Path, *, about: Iterable[str] = ()) -> None:
        """Lines of a log that prove the verdict: the last ones, with one of the words ``about`` if given."""
        content = text.read_text(errors="replace") if isinstance(text, Path) else text
        # "ns/p1" is not "ns/p12".
        words = [re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])") for word in about]
        lines = [
            line for line in content.splitlines() if not words or any(word.search(line) for word in words)
        ]
        if lines:
            self.logs[name] = "\n".join(lines[-_LOG_LINES:])

    def ambiguous(self, seen: object) -> None:
        """The text can be read in more than one way; this is what the implementation does."""
        self._note(Verdict.AMBIGUOUS, seen)

    def fail_closed(self, seen: object) -> None:
        """Refused, with nothing left behind, where the text says ignored."""
        self._note(Verdict.FAIL_CLOSED, seen)

    def unsupported_ok(self, seen: object) -> None:
        """A feature that is not claimed was refused as the text demands."""
        self._note(Verdict.UNSUPPORTED_OK, seen)

    def unsafe(self, seen: object) -> NoReturn:
        """It goes on with a partial or different set of attachments: a failure of the worst kind."""
        self.saw(seen)
        raise UnsafeError(_text(seen))

    def unknown(self, why: str) -> NoReturn:
        """It could not be observed."""
        raise UnknownError(why)

    def not_applicable(self, why: str) -> NoReturn:
        """The target has no such case."""
        pytest.skip(why)

    def _note(self, verdict: Verdict, seen: object) -> None:
        text = _text(seen)
        self.saw(text)
        self.noted.append((verdict, text))


@dataclass(slots=True)
class Judged:
    """The verdict of one test on each of its rows, as plain data that crosses processes.

    ``suite_error`` tells that the suite broke, not the implementation. ``known`` are rows whose failure is
    an unexpired known issue.
    """

    test: str
    rows: dict[str, str]
    reason: str = ""
    input: str = ""
    expected: str = ""
    observed: str = ""
    logs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    suite_error: bool = False
    known: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of its rows'."""
        return combine(Verdict(verdict) for verdict in self.rows.values())

    def told(self, rows: Mapping[str, str]) -> str:
        """What failed, for who reads a terminal: ``rows`` that did, and what each of them says."""
        lines = [f"{self.verdict}: {self.reason}", *(f"{row}: {says}" for row, says in rows.items())]
        said = {"given": self.input, "expected": self.expected, "seen": self.observed, **self.logs}
        return "\n".join(lines + [f"{name}: {text.rstrip()}" for name, text in said.items() if text.strip()])

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Judged:
        """The reverse of :meth:`plain`."""
        return cls(**data)


def verdict_of(evidence: Evidence, error: BaseException | None) -> tuple[Verdict, str, bool]:
    """Verdict, reason and whether the suite itself broke, of a test that ended with ``error``."""
    match error:
        case None:
            verdict = combine(verdict for verdict, _ in evidence.noted) if evidence.noted else Verdict.PASS
            return verdict, "; ".join(text for _, text in evidence.noted), False
        case UnsafeError():
            return Verdict.UNSAFE, _first_line(error), False
        case AssertionError() | pytest.fail.Exception():
            return Verdict.FAIL, _first_line(error), False
        case CannotProvideError() | pytest.skip.Exception():
            return Verdict.NOT_APPLICABLE, _first_line(error), False
        case MultinetError():
            return Verdict.UNKNOWN, str(error), False
    return Verdict.UNKNOWN, f"the suite broke: {type(error).__name__}: {_first_line(error)}", True


def _first_line(error: BaseException) -> str:
    lines = str(getattr(error, "msg", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _text(value: object) -> str:
    plain = isinstance(value, dict | list | tuple)
    text = json.dumps(value, default=str, ensure_ascii=False) if plain else str(value)
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}... ({len(text)} characters)"
