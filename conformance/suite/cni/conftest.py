"""Fixtures of tests that call a CNI plugin themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.cnicall import IPAM, VERSIONS, Caller, Container, ip
from conformance.recorder import Recorder
from conformance.snapshot import STATE_DIRS
from conformance.target import PluginTarget, Target
from topology import isolation, linux

# Another process of this run may have done it.
_COVERED = ".conformance"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that compare the node before and after can't have others beside them."""
    for item in items:
        if "plugin" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone("node"))


@pytest.fixture(scope="session")
def plugin(target: Target) -> PluginTarget:
    """The plugin under test, on a machine that is a throw-away."""
    if not isinstance(target, PluginTarget):
        pytest.skip("the target is no CNI plugin")
    if isolation.inside():
        _cover_state()
    # What a plugin takes for the machine's own network device.
    if not Path("/sys/class/net/uplink0").exists():
        ip("link", "add", "name", "uplink0", "type", "veth", "peer", "name", "uplink0-peer")
        ip("link", "set", "uplink0", "up")
        ip("link", "set", "uplink0-peer", "up")
    return target


def _cover_state() -> None:
    """Give plugins an empty place for what they keep; a machine without the folder has its parent covered."""
    for folder in STATE_DIRS:
        place = folder if folder.is_dir() else folder.parent
        if place != Path("/run") and not (folder / _COVERED).exists():
            linux.mount("tmpfs", str(place), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
        folder.mkdir(exist_ok=True)
        (folder / _COVERED).touch()


@pytest.fixture(scope="session")
def versions(plugin: PluginTarget) -> tuple[str, ...]:
    """The versions of CNI that the plugin says it speaks, oldest first."""
    said = Caller(plugin, "0.4.0")("VERSION").result.get("supportedVersions")
    assert isinstance(said, list), f"supportedVersions is {json.dumps(said)}"
    found = tuple(version for version in VERSIONS if version in said)
    assert found, f"it speaks no version of CNI: {said}"
    return found


@pytest.fixture
def caller(plugin: PluginTarget, versions: tuple[str, ...]) -> Caller:
    """Calls the plugin in the newest version that it speaks."""
    return Caller(plugin, versions[-1])


@pytest.fixture
def attaching(caller: Caller) -> Caller:
    """The caller of a plugin that makes an interface."""
    if caller.call.needs_previous:
        pytest.skip("the plugin makes no interface: it only works chained")
    if caller.call.only_addresses:
        pytest.skip("the plugin makes no interface: it only manages addresses")
    return caller


@pytest.fixture
def containers(caller: Caller) -> Iterator[Callable[[], Container]]:
    """Makes containers; at the end of the test they are taken down, and their namespaces go."""
    made: list[Container] = []

    def make() -> Container:
        made.append(Container.make())
        return made[-1]

    yield make
    for container in made:
        caller("DEL", container)
        container.remove()


@pytest.fixture
def container(containers: Callable[[], Container]) -> Container:
    """One container."""
    return containers()


@pytest.fixture
def ipam(attaching: Caller, tmp_path: Path) -> tuple[Recorder, dict[str, object]]:
    """A recorder as IPAM plugin, and the change of the configuration that selects it."""
    made = Recorder(tmp_path)
    made.install([IPAM])
    made.answer()
    return made, {**attaching.config(), "ipam": {"type": IPAM, "x-key": 1}}
