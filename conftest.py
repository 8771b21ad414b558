"""Loads the pytest plugin where it isn't installed as one, and keeps lab tests away from the host."""

from __future__ import annotations

import os

import pytest

from topology import isolation

_ISOLATED = "MULTINET_ISOLATED"


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugins unless their entry points did; registering one adds its options."""
    if not pluginmanager.has_plugin("multinet"):
        from scenarios import pytest_plugin

        pluginmanager.register(pytest_plugin, "multinet")
    if not pluginmanager.has_plugin("multinet-conformance"):
        from conformance import plugin

        pluginmanager.register(plugin, "multinet-conformance")


def _isolated() -> bool:
    """Whether this process is in a PID namespace made for it, and so in a network namespace of its own."""
    return os.environ.get(_ISOLATED) == "1" or os.getpid() == 1 or isolation.inside()


def pytest_configure(config: pytest.Config) -> None:  # noqa: ARG001 - pytest's signature
    """Workers of pytest-xdist are not PID 1: tell them."""
    if _isolated():
        os.environ[_ISOLATED] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip lab tests outside throw-away namespaces; scenarios make their own."""
    if _isolated():
        return
    skip = pytest.mark.skip(reason="would touch this machine's network; run it with ./lab test --only lab")
    for item in items:
        if "lab" in item.keywords and item.get_closest_marker("scenario") is None:
            item.add_marker(skip)
