"""A project of somebody else's, in which the conformance plugin runs."""

import pytest

HEAD = """
    import pytest
    from conformance import requirement
    from multinet.errors import LabError
"""


@pytest.fixture
def project(pytester, pytestconfig):
    """Run the plugin, in this process, over a test file with this body."""
    pytester.syspathinsert(pytestconfig.rootpath)
    # pytest-xdist's workers begin with the path of our start: the root is in it for `python -m pytest` only.
    pytester.makeconftest(f"import sys\nsys.path.insert(0, {str(pytestconfig.rootpath)!r})\n")
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider -p no:asyncio\n")

    def run(body, *options, target="--target=tests.conformance.sample_target"):
        pytester.makepyfile(HEAD + body)
        return pytester.runpytest_inprocess(target, "-v", *options)

    run.path = pytester.path
    return run
