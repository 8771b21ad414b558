"""``multinet conformance``: the suite of :mod:`conformance`, by pytest, with the statuses of this command."""

from __future__ import annotations

import sys
from pathlib import Path

import conformance
from multinet.cli import say
from topology import foreground

SUITE = Path(conformance.__file__).with_name("suite")
# pytest's own exit statuses (pytest reference, "Exit codes") in the words of ours; 10 is ours already.
_FROM_PYTEST = {0: 0, 1: 1, 2: 3, 3: 3, 4: 2, 5: 3, 10: 10}


def run(
    target: str,
    *,
    profiles: list[str],
    spec_version: str | None,
    strict: bool,
    report: Path | None,
    known_issues: Path | None,
    extra: list[str],
) -> int:
    """Run the suite against a target; ``extra`` goes to pytest."""
    argv = [sys.executable, "-m", "pytest", str(SUITE), f"--target={target}", "-p", "no:cacheprovider"]
    argv += [f"--profile={profile}" for profile in profiles]
    given = {"spec-version": spec_version, "report": report, "known-issues": known_issues}
    argv += [f"--{name}={value}" for name, value in given.items() if value is not None]
    argv += ["--strict-verdicts"] if strict else []
    status = foreground.run([*argv, *extra])
    found = _FROM_PYTEST.get(status, 3)
    say.console().print(say.last_line(found))
    return found
