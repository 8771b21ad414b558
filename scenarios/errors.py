"""What a scenario can't be used for: all findings at once, so a file is mended in one go."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from multinet.errors import InputError


class InvalidScenarioError(InputError):
    """One or more findings in a scenario file or the files it names; ``findings`` is never empty."""

    def __init__(self, findings: Sequence[InputError]) -> None:
        first = findings[0]
        super().__init__(first.what, where=first.where, why=first.why, next_step=first.next_step)
        self.findings = tuple(findings)

    def __str__(self) -> str:
        """One line per finding: ``file:line:column: what: why (next step)``."""
        return "\n".join(str(finding) for finding in self.findings)


def nearest(wrong: str, known: Iterable[str], otherwise: str = "") -> str:
    """``did you mean 'x'?`` for the closest known word, or ``otherwise``."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else otherwise
