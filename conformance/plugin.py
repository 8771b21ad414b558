"""pytest plugin of the conformance suite: options, markers and the fixtures ``target`` and ``evidence``.

Design note: as an entry point it is imported by every pytest run in this environment, so it imports pytest
and the standard library only. What does the work is registered when ``--target`` is given
(:mod:`conformance.session`); without it nothing here acts.

=========================  =================================================================================
option                     meaning
=========================  =================================================================================
``--target``               whom to test: ``NAME[:ARGUMENT]`` (docs/targets.md)
``--profile``              a profile to test, again for more; those the target claims when left out
``--spec-version``         version of the multi-network standard; the target's own when left out
``--strict-verdicts``      a refusal where the text says "ignored" is a failure (pytest has ``--strict``)
``--report``               the ConformanceReport (YAML); the page and the badge are written beside it
``--known-issues``         failures that are known, each with an expiry date
=========================  =================================================================================

Exit statuses are pytest's own, and 10: no failure, but something could not be observed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.evidence import Evidence
    from conformance.target import Target

_MARKER = (
    "requirement(*rows, unsupported='skip'): rows of the catalogue which the test decides; "
    "unsupported='test' runs it also where the target does not claim the features they need"
)

_ALONE = "alone(thing): tests with the same thing wait for each other, also in several processes of one run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """One group of options."""
    group = parser.getgroup("conformance", "conformance of a multi-network implementation")
    group.addoption("--target", metavar="NAME[:ARGUMENT]", help="implementation under test")
    group.addoption(
        "--profile", action="append", metavar="PROFILE", help="profile to test (default: all that it claims)"
    )
    group.addoption("--spec-version", metavar="VERSION", help="version of the multi-network standard")
    group.addoption(
        "--strict-verdicts", action="store_true", help="refused where the text says ignored is a failure"
    )
    group.addoption("--report", metavar="FILE", help="write the ConformanceReport to this YAML file")
    group.addoption("--known-issues", metavar="FILE", help="failures that are known, with an expiry date")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Run the same command line in namespaces of its own, where the target needs them and we are outside."""
    text = config.getoption("target")
    if not text or config.getoption("collectonly") or config.getoption("help"):
        return None
    from topology import foreground, isolation

    if isolation.inside() or not _made(text).isolated:
        return None
    argv = [sys.executable, "-m", "pytest", *config.invocation_params.args]
    isolated = [sys.executable, "-m", "scenarios.isolated", *argv]
    return foreground.run(isolated, cwd=config.invocation_params.dir)


def _made(text: str) -> Target:
    from conformance import target
    from multinet.errors import MultinetError

    try:
        return target.make(text)
    except MultinetError as error:
        raise pytest.UsageError(f"--target {text}: {error}") from None


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; with ``--target`` also all that acts."""
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", _ALONE)
    text = config.getoption("target")
    if not text:
        return
    from conformance.session import Session, settings

    config.pluginmanager.register(Session(_made(text), settings(config)), Session.NAME)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A requirement can be decided only for somebody."""
    if not config.getoption("target") and any(item.get_closest_marker("requirement") for item in items):
        raise pytest.UsageError("conformance tests need an implementation: --target NAME (docs/targets.md)")


def _session(config: pytest.Config) -> Any:
    from conformance.session import Session

    session = config.pluginmanager.get_plugin(Session.NAME)
    if session is None:
        pytest.fail("this fixture needs --target", pytrace=False)
    return session


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Target:
    """The implementation under test, started and reachable from this process."""
    attached: Target = _session(pytestconfig).attached()
    return attached


@pytest.fixture(scope="session")
def run_name(pytestconfig: pytest.Config) -> str:
    """Of this run, the same in all its processes: a part of names and labels of what it makes."""
    name: str = _session(pytestconfig).run
    return name


@pytest.fixture(scope="session")
def spec_version(pytestconfig: pytest.Config) -> str:
    """The version of the multi-network standard that this run is about."""
    version: str = _session(pytestconfig).scope.version
    return version


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """What this test puts down."""
    found: Evidence = _session(request.config).evidence_of(request.node)
    return found
