"""Delays between tries: exponential from a first delay up to a cap, with a little jitter.

Jitter is taken off, never added, so that the cap is a promise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """``first_s * factor**n`` seconds before try ``n+1``, at most ``cap_s``, less up to ``jitter`` of it."""

    first_s: float = 0.05
    cap_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1

    def delay(self, failures: int) -> float:
        """Seconds to wait after the ``failures``-th failure in a row (from 1)."""
        # Beyond 2**64 the power could overflow; the cap was reached long before.
        full = min(self.first_s * self.factor ** min(failures - 1, 64), self.cap_s)
        return full * (1.0 - self.jitter * random.random())
