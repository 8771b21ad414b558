"""One reader under test, and what it means that it is total.

An input is a JSON value, so that any of it can be kept in a corpus file; bytes are text in it, encoded by
:func:`as_bytes`. The time limit counts processor time of this process: a parser that hangs computes, and a
busy machine must not be taken for one.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from hypothesis import strategies as st

from multinet.errors import MultinetError

CPU_LIMIT_S = 5.0


class NotTotalError(AssertionError):
    """A reader did what no reader may do; the text says what."""


class _SpentError(BaseException):
    """The processor time is used up. No ``Exception``, so that no reader takes it for bad input."""


@dataclass(frozen=True, slots=True)
class Subject:
    """``read`` returns in a word what became of an input; ``NotTotalError`` for a broken promise.

    Any other exception of it is a failure as well.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], str]


def feed(subject: Subject, given: Any) -> str:
    """Try one input; ``NotTotalError`` when the reader crashed, hung or broke a promise."""
    try:
        with _time_limit():
            return subject.read(given)
    except NotTotalError:
        raise
    except _SpentError:
        raise NotTotalError(
            f"{subject.name} computes for more than {CPU_LIMIT_S:g} s: {given!r:.2000}"
        ) from None
    except Exception as error:
        raise NotTotalError(
            f"{subject.name} fails with {type(error).__name__}: {error}: {given!r:.2000}"
        ) from error


def refused(error: MultinetError) -> str:
    """Check an error that a reader raised on purpose: it says what, and where or why, and can be shown."""
    text = str(error)
    if not error.what or not (error.where or error.why):
        raise NotTotalError(f"{type(error).__name__} does not say what is wrong where: {text}") from error
    try:
        text.encode()
    except UnicodeEncodeError as broken:
        raise NotTotalError(f"{type(error).__name__} can't be written anywhere: {text!r}") from broken
    return "refused"


def equal(what: str, left: object, right: object) -> None:
    """``NotTotalError`` unless both are the same: what was printed does not read as what was read."""
    if left != right:
        raise NotTotalError(f"{what} is not read as it was printed: {left!r} and {right!r}")


def as_bytes(text: str) -> bytes:
    """The bytes that a corpus file's text stands for; half a surrogate pair gives bytes that no text has."""
    return text.encode("utf-8", "surrogatepass")


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def spent(_number: int, _frame: FrameType | None) -> None:
        raise _SpentError

    before = signal.signal(signal.SIGVTALRM, spent)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
