"""Tests of device information and of Multus' extensions: each passes a right plugin and fails a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.delegating.bench import Bench
from conformance.mutants.extended import Extended
from conformance.mutants.faults import FAULTS, Fault
from tests.conformance.mutating import Collector, Said, assert_found, benched, collected

pytestmark = pytest.mark.lab
EXTENDED = {name: fault for name, fault in FAULTS.items() if issubclass(fault.kind, Extended)}


@pytest.fixture(scope="module")
def tests() -> Collector:
    return collected("meta:extended")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with benched("extended", tmp_path_factory.mktemp("extended")) as found:
        yield found


@pytest.fixture(scope="module")
def sound_verdicts() -> Said:
    return {}


@pytest.mark.parametrize("fault", EXTENDED.values(), ids=EXTENDED)
def test_a_fault_is_found_by_the_requirement_it_violates(
    fault: Fault, tests: Collector, bench: Bench, tmp_path: Path, sound_verdicts: Said
) -> None:
    assert_found(fault, tests, bench, tmp_path, sound_verdicts)


def test_every_row_with_a_test_has_a_fault(tests: Collector) -> None:
    rows = {
        row
        for item in tests.items
        for marker in item.iter_markers("requirement")
        for row in marker.args
        if row.startswith(("DI-", "EXT-"))
    }
    assert rows == {fault.row for fault in EXTENDED.values() if not fault.row.startswith("NPWG-")}
