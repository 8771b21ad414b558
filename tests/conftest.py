"""What all our own tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine (CI, several suites at once) is no failure: how long an example takes is not tested here.
settings.register_profile("multinet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("multinet")
