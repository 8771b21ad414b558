"""Fixtures for tests of delegating implementations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from conformance.delegating import DelegatingTarget, Resident
from conformance.delegating.bench import Bench, Case
from conformance.embedded import serving
from conformance.evidence import Evidence
from conformance.target import Target


@pytest.fixture(scope="session")
def delegating(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The API and folders, for targets that delegate; the rest has no such case."""
    if not isinstance(target, DelegatingTarget):
        pytest.skip("the target does not delegate")
    folder = tmp_path_factory.mktemp("delegating")
    with ExitStack() as stack:
        kubeconfig = stack.enter_context(serving(folder / "api"))
        if isinstance(target, Resident):
            stack.enter_context(target.resident(kubeconfig, folder / "resident"))
        bench = Bench(target, kubeconfig, folder)
        yield bench
        bench.close()


@pytest.fixture
def case(delegating: Bench, evidence: Evidence) -> Iterator[Case]:
    """A world of its own for the test."""
    found = delegating.case(evidence)
    yield found
    found.close()
