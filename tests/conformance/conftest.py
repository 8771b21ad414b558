"""A project of somebody else's, in which the conformance plugin runs."""

import pytest

HEAD = """
    import pytest
    from conformance import requirement
    from multinet.errors import LabError
"""


@pytest.fixture
def project(pytester, pytestconfig, monkeypatch):
    """Run the plugin, in this process, over a test file with this body."""
    pytester.syspathinsert(pytestconfig.rootpath)
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))  # for workers
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider -p no:asyncio\n")

    def run(body, *options, target="--target=tests.conformance.sample_target"):
        pytester.makepyfile(HEAD + body)
        return pytester.runpytest_inprocess(target, "-v", *options)

    run.path = pytester.path
    return run
