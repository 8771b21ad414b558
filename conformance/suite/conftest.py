"""Fixtures of tests that need a cluster, and the judgement that many rows share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.bench import Bench, Space
from conformance.target import ClusterTarget, Target


@pytest.fixture(scope="session")
def bench(target: Target, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The cluster under test."""
    if not isinstance(target, ClusterTarget):
        pytest.skip("the target is no cluster")
    worker = getattr(request.config, "workerinput", {}).get("workerid", "w0")
    with Bench(target, worker) as found:
        yield found


@pytest.fixture
def space(bench: Bench) -> Iterator[Space]:
    """A namespace for one test."""
    found = bench.space()
    yield found
    found.close()
