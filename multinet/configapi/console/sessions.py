"""Who is logged in to the console: a random cookie stands for a token that never leaves this process.

Sessions live in memory only, so a restart logs everybody out; nothing else is lost.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

COOKIE = "multinet_console"
LIFETIME_S = 8 * 3600.0
_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """One login; ``csrf`` must come back with every form."""

    token: str
    csrf: str
    ends: float

    def matches(self, csrf: str) -> bool:
        """Whether a form's field proves that the form is one of ours."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


class Sessions:
    """All sessions, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def open(self, token: str) -> str:
        """Begin a session; returns the cookie's value."""
        while len(self._sessions) >= _LIMIT:
            del self._sessions[next(iter(self._sessions))]
        identity = secrets.token_urlsafe(32)
        self._sessions[identity] = Session(token, secrets.token_urlsafe(32), self._clock() + LIFETIME_S)
        return identity

    def get(self, identity: str | None) -> Session | None:
        """The session of a cookie, unless it ended."""
        found = self._sessions.get(identity or "")
        if found is not None and found.ends <= self._clock():
            self.close(identity)
            return None
        return found

    def close(self, identity: str | None) -> None:
        """End a session."""
        self._sessions.pop(identity or "", None)
