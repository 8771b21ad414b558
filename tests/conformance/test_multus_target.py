"""What the suite gives Multus, and what it does with a path that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.delegating import DelegatingTarget, Node, single
from conformance.target import make
from multinet.errors import InputError


def test_a_path_that_is_no_executable_is_told(tmp_path: Path) -> None:
    for argument in ("", str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(InputError, match="no executable"):
            make(f"multus:{argument}")


@pytest.mark.programs
def test_its_configuration_has_the_nodes_places(tmp_path: Path) -> None:
    binary = tmp_path / "multus"
    binary.write_text("#!/bin/sh\necho 'multus: version:v4.3.0(clean), commit:x, date:y'\n")
    binary.chmod(0o755)
    target = make(f"multus:{binary}")
    assert isinstance(target, DelegatingTarget)
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
