"""What tests of the fuzzer share: its engine, and quiet for campaigns that provoke what is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from conformance.fuzz.simulated import SimulatedEngine


@pytest.fixture
def engine() -> Iterator[SimulatedEngine]:
    made = SimulatedEngine()
    yield made
    made.close()


@pytest.fixture
def warnings_unlogged() -> Iterator[None]:
    """Errors are still logged: the engine looks for them."""
    yield from _logging_above(logging.WARNING)


@pytest.fixture
def errors_unlogged() -> Iterator[None]:
    yield from _logging_above(logging.CRITICAL)


def _logging_above(level: int) -> Iterator[None]:
    logging.disable(level)
    yield
    logging.disable(logging.NOTSET)
