"""How fast the model engine takes steps, also per processor second of this process: others count less then.

``.venv/bin/python benchmarks/fuzz.py [STEPS]``; the last line is JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from conformance.fuzz import campaign, engines
from conformance.fuzz.campaign import Plan

_STEPS_PER_EXAMPLE = 30
_SEED = 5


def main(steps: int) -> None:
    """Run a campaign without a failure, after a short one that warms up."""
    logging.disable(logging.CRITICAL)
    engine = engines.make("model")
    campaign.run(engine, Plan(seed=1, examples=5, steps=10))
    begun = time.process_time()
    outcome = campaign.run(engine, Plan(_SEED, max(1, steps // _STEPS_PER_EXAMPLE), _STEPS_PER_EXAMPLE))
    spent = time.process_time() - begun
    engine.close()
    told = outcome.figures() | {"cpu_s": round(spent, 2), "steps_per_cpu_s": round(outcome.steps / spent, 1)}
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6000)
