"""Requirement catalogue, profiles, targets and the conformance suite; on top of topology and traffic.

A test names the rows it decides and gives its verdict by asserting, or through the fixture ``evidence``::

    from conformance import requirement

    @requirement("NPWG-4.2-a")
    def test_twice_is_two(bench, evidence): ...

Design note: every pytest run in this environment imports this module (the plugin is an entry point), and so
does every call of a plugin that is in here, so it imports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pytest


def requirement(*rows: str, unsupported: Literal["skip", "test"] = "skip") -> pytest.MarkDecorator:
    """Name the rows of the catalogue that a test decides; also for one parameter, with ``pytest.param``.

    A row that needs a feature which the target does not claim is not applicable; with
    ``unsupported="test"`` the test runs all the same, since it judges how the feature is refused.
    """
    import pytest

    return pytest.mark.requirement(*rows, unsupported=unsupported)
