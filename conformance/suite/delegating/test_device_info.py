"""The Device Information Specification, for delegating implementations; the recorder is the device plugin."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conformance import requirement
from conformance.delegating import Pod, listed, single
from conformance.delegating.bench import Case
from conformance.recorder import Answer, Call
from multinet.model.objects import Obj
from topology import isolation

# One of them takes away the folder for all files.
pytestmark = pytest.mark.alone("device-information")
CAPABILITY = "CNIDeviceInfoFile"
FOLDER = Path("/var/run/k8s.cni.cncf.io/devinfo/cni")
PCI = {"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:18:02.5"}}
DEVICES = [
    pytest.param(PCI, id="pci", marks=requirement("DI-3.1.3-a")),
    pytest.param(
        {
            "type": "pci",
            "version": "1.1.0",
            "pci": {
                "pci-address": "0000:18:02.5",
                "vhost-net": "/dev/vhost-net",
                "rdma-device": "mlx5_0",
                "pf-pci-address": "0000:18:00.0",
                "representor-device": "eth3",
            },
        },
        id="pci-all",
        marks=requirement("DI-3.1.3-b"),
    ),
    pytest.param(
        {
            "type": "vdpa",
            "version": "1.1.0",
            "vdpa": {"parent-device": "vdpa2", "driver": "vhost", "path": "/dev/vhost-vdpa0"},
        },
        id="vdpa",
        marks=requirement("DI-3.1.4-a"),
    ),
    pytest.param(
        {"type": "vhost-user", "version": "1.1.0", "vhost-user": {"mode": "client", "path": "/run/a.sock"}},
        id="vhost-user",
        marks=requirement("DI-3.1.5-a"),
    ),
    pytest.param(
        {
            "type": "memif",
            "version": "1.1.0",
            "memif": {"role": "master", "path": "/run/a.sock", "mode": "inject-punt"},
        },
        id="memif",
        marks=requirement("DI-3.1.6-a"),
    ),
]


@pytest.fixture
def folder() -> None:
    """Whether the implementation makes it is decided by DI-4.2-c alone."""
    if isolation.inside():
        FOLDER.mkdir(parents=True, exist_ok=True)


def file_of(call: Call) -> Path:
    """The file that a delegate was told of."""
    path = told(call)
    assert path, "the delegate was not told of a device information file"
    return Path(path)


def told(call: Call) -> str:
    """The path it was told; empty for none."""
    return str((call.config.get("runtimeConfig") or {}).get(CAPABILITY) or "")


@requirement("DI-5.1.1-a", "DI-4.2-a")
def test_each_attachment_has_a_file_of_its_own(case: Case) -> None:
    case.nad("net-a", single("net-a", CAPABILITY))
    case.attach(case.pod("net-a,net-a"))
    first, second = (file_of(call) for call in case.exactly(2))
    assert first != second
    assert first.parent == second.parent == FOLDER


def with_device(case: Case) -> tuple[Pod, Path]:
    """A pod whose delegate writes to the file that it is told of."""
    case.recorder.answer(Answer(command="ADD", network="net-a", device_info=PCI))
    case.nad("net-a", single("net-a", CAPABILITY))
    pod = case.pod("net-a")
    case.attach(pod)
    return pod, file_of(case.one())


@requirement("DI-4.2-c")
def test_the_folder_is_made_if_it_is_missing(case: Case) -> None:
    if isolation.inside():
        shutil.rmtree(FOLDER, ignore_errors=True)
    pod, path = with_device(case)
    assert path.exists(), f"the delegate could not write: there was no folder {path.parent}"
    case.delete(pod)


@pytest.mark.usefixtures("folder")
@requirement("DI-4.2-d")
def test_the_file_is_deleted_on_del(case: Case) -> None:
    pod, path = with_device(case)
    case.delete(pod)
    assert not path.exists(), f"{path} is still there"


@pytest.mark.usefixtures("folder")
@requirement("DI-6-a", "DI-3.1.1-a", "DI-3.1.2-a", "NPWG-5.3.7-a")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", ["single", "list"])
def test_the_files_content_is_in_the_status(case: Case, device: Obj, shape: str) -> None:
    case.recorder.answer(Answer(command="ADD", network="net-a", device_info=device))
    one = single("net-a", CAPABILITY)
    case.nad("net-a", listed("net-a", one) if shape == "list" else one)
    pod = case.pod("net-a")
    case.attach(pod)
    if not told(case.one()):
        # Whether it has to tell without a device is decided by DI-5.1.1-a; with one, it may well do.
        case.delete(pod)
        case.recorder.forget()
        pod = case.pod([{"name": "net-a", "deviceID": "0000:18:02.5"}])
        outcome = case.add(pod)
        if not outcome.ok or not told(case.one()):
            case.evidence.unknown("the delegate is never told of a device information file")
    found = case.entry(pod).get("device-info")
    case.delete(pod)
    assert found == device, json.dumps(found)
