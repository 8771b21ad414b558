"""Each planted bug is found by chance, cut to few steps, exported, and replayed as failing until it is gone.

The seeds are near the finds, to keep this short; from seed 0 the rarest takes some two hundred examples.
"""

from __future__ import annotations

import pytest

from conformance.fuzz import campaign, engines, exporting, replaying
from conformance.fuzz.campaign import Plan
from conformance.fuzz.exporting import Origin
from conformance.fuzz.replaying import State
from multinet.model.planted import BUGS, plant

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures("errors_unlogged")]

SEEDS = dict.fromkeys(sorted(BUGS), 0) | {"address-reused-early": 8}


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_bug_is_found_and_told_until_it_is_gone(bug, tmp_path):
    engine = engines.make("model")
    with plant(bug):
        # Not 25 but more: when the versions change, so do the choices.
        outcome = campaign.run(engine, Plan(seed=SEEDS[bug], examples=400, stop_at_first=True))
        engine.close()
        (failure,) = outcome.failures
        assert len(failure.steps) <= 6
        path = exporting.write(tmp_path, failure, Origin("model", bugs=(bug,)))
        (broken,) = replaying.again([path], "model")
    (mended,) = replaying.again([path], "model")
    assert (broken.state, mended.state) == (State.STILL_FAILS, State.FIXED)
    assert outcome.flaky == []
