"""Every row that can be decided has a test, or the catalogue says why not."""

from __future__ import annotations

import pytest

from conformance.catalogue import Lane, load
from conformance.profiles import Profile

pytest_plugins = ["pytester"]

# Profiles whose rows on lanes L0 and L1 must all be decided by some test of the suite.
COMPLETE = frozenset(
    {
        Profile.CORE,
        Profile.NON_DELEGATING,
        Profile.STATUS,
        Profile.DEFAULT_ROUTE,
        Profile.PORT_MAPPING,
        Profile.BANDWIDTH,
        Profile.CNI_PLUGIN,
        Profile.CONTRAIL_MULTINET,
    }
)


class Collected:
    """A plugin that notes which rows the tests name, before any is left out."""

    def __init__(self):
        self.tests = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            for marker in item.iter_markers("requirement"):
                for row in marker.args:
                    self.tests.setdefault(row, set()).add(item.nodeid)


@pytest.fixture(scope="module")
def tests(pytestconfig):
    collected = Collected()
    argv = [str(pytestconfig.rootpath / "conformance/suite"), "--collect-only", "--target=reference"]
    argv += [f"--profile={profile}" for profile in Profile]  # or tests of others would be left out
    status = pytest.main([*argv, "-q", "-p", "no:cacheprovider"], plugins=[collected])
    assert status == 0
    return collected.tests


def test_every_row_that_can_be_decided_has_a_test(tests):
    missing = [
        row.id
        for row in load().of(COMPLETE)
        if not row.untestable and {Lane.L0, Lane.L1} & set(row.lanes) and row.id not in tests
    ]
    assert missing == []


def test_there_are_200_distinct_requirement_tests(tests):
    assert len({name for names in tests.values() for name in names}) >= 200
