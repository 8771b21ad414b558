"""Who tests the tests: every fault of the delegating plugin is found by the requirement it violates, by name.

The suite's tests are collected once and then called as pytest would call them, with the faulty plugin as the
target: one session per fault would cost a hundred times more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from conformance import catalogue
from conformance.delegating.bench import Bench
from conformance.embedded import serving
from conformance.evidence import Evidence, verdict_of
from conformance.mutants.faults import FAULTS, Fault
from conformance.mutants.meta import Meta
from conformance.targets.meta import MetaTarget
from conformance.verdicts import FAILED, Verdict

SUITE = Path(catalogue.__file__).with_name("suite") / "delegating"
pytestmark = pytest.mark.programs


class Collector:
    """A pytest plugin that keeps the tests of a run which only collects."""

    def __init__(self) -> None:
        self.items: list[pytest.Function] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep them."""
        self.items = [item for item in session.items if isinstance(item, pytest.Function)]

    def of(self, row: str) -> list[pytest.Function]:
        """Those that decide a row."""
        return [
            item
            for item in self.items
            if any(row in marker.args for marker in item.iter_markers("requirement"))
        ]


@pytest.fixture(scope="module")
def tests() -> Collector:
    collector = Collector()
    argv = [str(SUITE), "--collect-only", "--target", "meta", "-q", "-q", "-p", "no:cacheprovider"]
    assert pytest.main(argv, plugins=[collector]) == pytest.ExitCode.OK
    return collector


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("mutants")
    with serving(folder / "api") as kubeconfig:
        found = Bench(target("", folder), kubeconfig, folder)
        yield found
        found.close()


@pytest.fixture(scope="module")
def sound_verdicts() -> dict[str, tuple[Verdict, str]]:
    """Of the plugin without a fault, by test."""
    return {}


def target(fault: str, folder: Path) -> MetaTarget:
    made = MetaTarget(fault)
    made.attach(made.start(folder / (fault or "sound")))
    return made


def judge(item: pytest.Function, bench: Bench) -> tuple[Verdict, str]:
    """Call one test of the suite; its verdict and why."""
    evidence, error = Evidence(), None
    try:
        item.function(case=bench.case(evidence), **item.callspec.params if hasattr(item, "callspec") else {})
    except BaseException as caught:
        error = caught
    verdict, reason, suite_error = verdict_of(evidence, error)
    assert not suite_error, f"{item.name}: {reason}"
    return verdict, reason


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_by_the_requirement_it_violates(
    fault: Fault,
    tests: Collector,
    bench: Bench,
    tmp_path: Path,
    sound_verdicts: dict[str, tuple[Verdict, str]],
) -> None:
    found = tests.of(fault.row)
    assert found, f"no test decides {fault.row}"
    sound, bench.target = bench.target, target(fault.name, tmp_path)
    try:
        seen = {}
        for item in found:
            seen[item.name] = verdict, _ = judge(item, bench)
            if verdict in FAILED:
                break
        else:
            pytest.fail(f"{fault.name} is not found by {fault.row}: {seen}")
    finally:
        bench.target = sound
    if item.nodeid not in sound_verdicts:
        sound_verdicts[item.nodeid] = judge(item, bench)
    verdict, reason = sound_verdicts[item.nodeid]
    assert verdict not in FAILED, f"{item.name} fails the plugin without the fault: {reason}"


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
    assert len(FAULTS) >= 40
    assert len({fault.row for fault in FAULTS.values()}) >= 40
    for fault in FAULTS.values():
        assert fault.row in rows, f"{fault.name}: no requirement {fault.row}"
        assert fault.kind.__doc__ != Meta.__doc__, f"{fault.name} does not say what is wrong"
