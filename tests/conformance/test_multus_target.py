"""What the suite gives Multus, and what it does with a path that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.delegating import DelegatingTarget, Node, Resident, single
from conformance.target import make
from multinet.errors import InputError

PROGRAMS = {
    name: f"#!/bin/sh\necho '{name}: version:v4.3.0(clean), commit:x'\n"
    for name in ("multus", "multus-daemon", "multus-shim", "cat")
}


def program(folder: Path, name: str) -> Path:
    """An executable that calls itself so."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(PROGRAMS[name])
    path.chmod(0o755)
    return path


def test_a_path_that_is_no_executable_is_told(tmp_path: Path) -> None:
    for argument in ("", str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(InputError, match="no executable"):
            make(f"multus:{argument}")


@pytest.mark.programs
def test_what_is_not_multus_is_told(tmp_path: Path) -> None:
    for name in ("cat", "multus-shim"):
        with pytest.raises(InputError, match="neither Multus' thin plugin nor its daemon"):
            make(f"multus:{program(tmp_path, name)}")
    daemon = program(tmp_path / "bin", "multus-daemon")
    with pytest.raises(InputError, match=r"no executable .*multus-shim"):
        make(f"multus:{daemon}")
    with pytest.raises(InputError, match="no shim of Multus"):
        make(f"multus:{daemon},{program(tmp_path, 'cat')}")


@pytest.mark.programs
def test_a_daemon_comes_with_a_shim(tmp_path: Path) -> None:
    daemon, shim = program(tmp_path / "a", "multus-daemon"), program(tmp_path / "b", "multus-shim")
    target = make(f"multus:{daemon},{shim}")
    assert isinstance(target, Resident)
    assert isinstance(target, DelegatingTarget)
    assert (target.binary, target.claim.mode) == (shim, "thick")


@pytest.mark.programs
def test_its_configuration_has_the_nodes_places(tmp_path: Path) -> None:
    target = make(f"multus:{program(tmp_path, 'multus')}")
    assert isinstance(target, DelegatingTarget)
    assert not isinstance(target, Resident)
    assert target.claim.implementation.version == "4.3.0"
    node = Node(
        kubeconfig=tmp_path / "kubeconfig",
        path=(tmp_path / "bin",),
        conf_dir=tmp_path / "net.d",
        state_dir=tmp_path / "state",
        default=single("default-net"),
        ready_file=tmp_path / "ready",
    )
    config = target.config(node)
    assert config["delegates"] == [node.default]
    assert config["readinessindicatorfile"] == str(node.ready_file)
    assert "cniVersion" not in config
