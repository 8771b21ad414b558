"""Fixtures of tests that need a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.bench import Bench, Space
from conformance.profiles import Feature
from conformance.session import decided
from conformance.target import ClusterTarget, Network, Target, make

# The fixture that says which kind of target a test is about, and a method that only such targets have: to ask
# for all that is in a protocol, a target would have to be started.
_KINDS = {"cluster": "nad", "delegating": "config", "plugin": "call"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests about another kind of target, where others decide all their rows for this one.

    What is left of those, a row that this kind of target can't be asked about, is told as not applicable.
    """
    text = config.getoption("target")
    if not text:
        return
    target = make(text)
    other = {item for item in items if _is_about_another_kind(item, target)}
    elsewhere = {row for item in items if item not in other for row in decided(item)}
    left_out = [item for item in items if item in other and decided(item) <= elsewhere]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_about_another_kind(item: pytest.Item, target: Target) -> bool:
    names = getattr(item, "fixturenames", ())
    methods = [method for fixture, method in _KINDS.items() if fixture in names]
    return bool(methods) and not any(method in dir(target) for method in methods)


@pytest.fixture(scope="session")
def cluster(target: Target) -> ClusterTarget:
    """The target, where it is a cluster; tests of clusters do not apply to others."""
    if not isinstance(target, ClusterTarget):
        pytest.skip("the target is no cluster")
    return target


@pytest.fixture(scope="session")
def bench(cluster: ClusterTarget, run_name: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """What tests work with on it."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "w0")
    with Bench(cluster, run_name, worker) as found:
        yield found


@pytest.fixture
def space(bench: Bench) -> Iterator[Space]:
    """A namespace for one test."""
    found = bench.space()
    yield found
    found.close()


@pytest.fixture
def other(bench: Bench) -> Iterator[Space]:
    """Another namespace."""
    found = bench.space("other")
    yield found
    found.close()


@pytest.fixture
def selectable(other: Space) -> Space:
    """Another namespace, whose networks any pod may select."""
    if Feature.NAMESPACE_ISOLATION in other.bench.target.claim.features:
        pytest.skip("the target keeps namespaces apart (NPWG-7.4-b)")
    return other


@pytest.fixture(scope="module")
def shared(bench: Bench) -> Iterator[Space]:
    """A namespace for the tests of one module that only look, or whose pods stand for themselves."""
    found = bench.space("shared")
    yield found
    found.close()


@pytest.fixture(scope="module")
def a(shared: Space) -> Network:
    """A network named ``a`` in the shared namespace."""
    return shared.network("a")


@pytest.fixture(scope="module")
def b(shared: Space) -> Network:
    """A network named ``b`` in the shared namespace."""
    return shared.network("b")
