"""Calling the suite's tests as pytest would, with a faulty plugin as the target.

They are collected once: one session per fault would cost a hundred times more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance import catalogue
from conformance.delegating.bench import Bench
from conformance.embedded import serving
from conformance.evidence import Evidence, verdict_of
from conformance.mutants.faults import Fault
from conformance.targets.meta import MetaTarget
from conformance.verdicts import FAILED, Verdict

SUITE = Path(catalogue.__file__).with_name("suite") / "delegating"
Said = dict[str, tuple[Verdict, str]]


class Collector:
    """A pytest plugin that keeps the tests of a run which only collects."""

    def __init__(self) -> None:
        self.items: list[pytest.Function] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep them."""
        self.items = [item for item in session.items if isinstance(item, pytest.Function)]

    def of(self, row: str) -> list[pytest.Function]:
        """Those that decide a row, but for real delegates: a fault shows in the recorder's log as well."""
        return [
            item
            for item in self.items
            if "real" not in item.fixturenames
            and any(row in marker.args for marker in item.iter_markers("requirement"))
        ]


def collected(target: str) -> Collector:
    """The tests of delegating implementations."""
    collector = Collector()
    argv = [str(SUITE), "--collect-only", "--target", target, "-q", "-q", "-p", "no:cacheprovider"]
    assert pytest.main(argv, plugins=[collector]) == pytest.ExitCode.OK
    return collector


def made(fault: str, folder: Path) -> MetaTarget:
    """The plugin with a fault, ready to be called."""
    target = MetaTarget(fault)
    target.attach(target.start(folder / (fault or "sound")))
    return target


@contextmanager
def benched(sound: str, folder: Path) -> Iterator[Bench]:
    """A bench with the plugin without a fault."""
    with serving(folder / "api") as kubeconfig:
        bench = Bench(made(sound, folder), kubeconfig, folder)
        yield bench
        bench.close()


def judge(item: pytest.Function, bench: Bench) -> tuple[Verdict, str]:
    """Call one test of the suite; its verdict and why."""
    evidence, error = Evidence(), None
    case = bench.case(evidence)
    try:
        item.function(case=case, **item.callspec.params if hasattr(item, "callspec") else {})
    except BaseException as caught:
        error = caught
    finally:
        case.close()
    verdict, reason, suite_error = verdict_of(evidence, error)
    assert not suite_error, f"{item.name}: {reason}"
    return verdict, reason


def assert_found(fault: Fault, tests: Collector, bench: Bench, folder: Path, sound_verdicts: Said) -> None:
    """A test of the row that the fault violates fails, and passes the plugin without the fault."""
    found = tests.of(fault.row)
    assert found, f"no test decides {fault.row}"
    sound, bench.target = bench.target, made(fault.name, folder)
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
