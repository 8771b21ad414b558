"""``python -m conformance.fuzz.parsers --budget MIN``: the long run; exit status 1 for anything found."""

from __future__ import annotations

import argparse
import json
import logging
import sys

from conformance.fuzz.parsers.campaign import Outcome, run
from conformance.fuzz.parsers.registry import SUBJECTS


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.fuzz.parsers", description=__doc__)
    parser.add_argument("--budget", type=float, default=1.0, metavar="MIN", help="minutes (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=sorted(SUBJECTS))
    options = parser.parse_args()
    # The servers log each refusal; what counts is in the outcome.
    logging.disable(logging.CRITICAL)
    outcome = run(options.budget * 60, options.seed, only=options.only)
    _show(outcome)
    return 1 if outcome.failures or outcome.flaky else 0


def _show(outcome: Outcome) -> None:
    for (subject, word), count in sorted(outcome.became.items()):
        sys.stderr.write(f"{subject:24} {word:12} {count}\n")
    for failure in outcome.failures:
        sys.stderr.write(f"\nFAILURE {failure.why}\ncorpus/{failure.subject}.json: {failure.kept()}\n")
    for text in outcome.flaky:
        sys.stderr.write(f"\nFLAKY {text}\n")
    sys.stdout.write(json.dumps(outcome.to_dict()) + "\n")


if __name__ == "__main__":
    sys.exit(_main())
