"""What all our own tests share: no work for tests that will not run, and the same examples in every run."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import pytest

# The one plugin that is found is trio's, which nothing here uses; loading it imports all of trio.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")

from hypothesis import HealthCheck, settings

# A busy machine (CI, several suites at once) is no failure: how long an example takes is not tested here.
# The same examples each time: what fails has to do with the change, not with luck (decision 33).
settings.register_profile(
    "multinet",
    max_examples=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("multinet"), max_examples=100)
settings.register_profile("search", settings.get_profile("multinet"), max_examples=1000, derandomize=False)
settings.load_profile("multinet")

# Exported scenarios that tests replay by their fuzzer's steps; not all can be run as scenarios.
collect_ignore = ["fuzz/planted"]
_WHOLE_FILE = re.compile(r"^pytestmark = \[?pytest\.mark\.(lab|programs|browser)\b", re.MULTILINE)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and token of all API servers of this process; the first makes them, which takes its time."""
    return tmp_path_factory.mktemp("pki")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file of another part of the tests alone: to import it takes longer than many a test."""
    wanted = config.getoption("markexpr")
    if not wanted or collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    whole = _WHOLE_FILE.search(text)
    if whole and f"not {whole[1]}" in wanted.split(" and "):
        return True
    words = wanted.split(" or ")
    return True if all(word.isidentifier() and word not in text for word in words) else None


def pytest_collection() -> None:
    """Nothing of what is imported and collected is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What is there now (modules, thousands of items) stays: seeking garbage in it is a sixth of the time."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
