"""Who tests the tests: every fault of the delegating plugin is found by the requirement it violates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from conformance import catalogue
from conformance.delegating.bench import Bench
from conformance.evidence import Evidence
from conformance.mutants.extended import Extended
from conformance.mutants.faults import FAULTS, Fault
from conformance.mutants.meta import Meta
from conformance.targets.meta import MetaTarget
from tests.conformance.mutating import Collector, Said, assert_found, benched, collected

pytestmark = pytest.mark.programs
# The others need namespaces of their own: test_extension_mutants_lab.py.
PLAIN = {name: fault for name, fault in FAULTS.items() if not issubclass(fault.kind, Extended)}


@pytest.fixture(scope="module")
def tests() -> Collector:
    return collected("meta")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with benched("", tmp_path_factory.mktemp("mutants")) as found:
        yield found


@pytest.fixture(scope="module")
def sound_verdicts() -> Said:
    """Of the plugin without a fault, by test."""
    return {}


@pytest.mark.parametrize("fault", PLAIN.values(), ids=PLAIN)
def test_a_fault_is_found_by_the_requirement_it_violates(
    fault: Fault, tests: Collector, bench: Bench, tmp_path: Path, sound_verdicts: Said
) -> None:
    assert_found(fault, tests, bench, tmp_path, sound_verdicts)


class Watched(MetaTarget):
    """As an implementation that keeps something running."""

    def __init__(self, sound: MetaTarget) -> None:
        super().__init__("")
        self.binary = sound.binary
        self.caught_up = 0

    def resident(self, kubeconfig: Path, folder: Path) -> AbstractContextManager[None]:
        """Nothing runs."""
        return nullcontext()

    def catch_up(self) -> None:
        """Count."""
        self.caught_up += 1

    def said(self) -> str:
        """Its log."""
        return f"line {self.caught_up}"


def test_what_keeps_running_is_asked_before_each_call_and_its_log_is_evidence(bench: Bench) -> None:
    sound = bench.target
    bench.target = watched = Watched(sound)
    evidence = Evidence()
    try:
        case = bench.case(evidence)
        pod = case.pod(None)
        case.attach(pod)
        assert case.delete(pod).ok
    finally:
        bench.target = sound
    assert watched.caught_up == 2
    assert evidence.logs["daemon"] == "line 2"


def test_there_are_enough_faults_and_each_says_what_it_is() -> None:
    rows = catalogue.load().rows
    assert len(PLAIN) >= 40
    assert len({fault.row for fault in PLAIN.values()}) >= 40
    for fault in FAULTS.values():
        assert fault.row in rows, f"{fault.name}: no requirement {fault.row}"
        assert fault.kind.__doc__ != Meta.__doc__, f"{fault.name} does not say what is wrong"
