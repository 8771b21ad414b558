"""The Device Information Specification, for delegating implementations; the recorder is the device plugin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance import requirement
from conformance.delegating import Pod, listed, single
from conformance.delegating.bench import Case
from conformance.recorder import Answer, Call
from multinet.model.objects import Obj

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


def told(call: Call) -> str:
    """The path it was told; empty for none."""
    return str((call.config.get("runtimeConfig") or {}).get(CAPABILITY) or "")


@requirement("DI-5.1.1-a")
def test_each_delegate_with_the_capability_is_told_of_a_file(case: Case) -> None:
    case.nad("net-a", single("net-a", CAPABILITY))
    case.attach(case.pod("net-a,net-a"))
    assert all(map(told, case.exactly(2))), "a delegate was not told of a device information file"


def with_files(case: Case, count: int = 1) -> tuple[Pod, list[Path]]:
    """A pod whose delegates are told of files; whether they are without a device is for DI-5.1.1-a alone."""
    pod = case.pod([{"name": "net-a"}] * count)
    case.attach(pod)
    if not all(map(told, case.exactly(count))):
        case.delete(pod)
        case.recorder.forget()
        pod = case.pod([{"name": "net-a", "deviceID": f"0000:18:02.{number}"} for number in range(count)])
        outcome = case.add(pod)
        if not outcome.ok or not all(map(told, case.exactly(count))):
            case.evidence.unknown("the delegate is never told of a device information file")
    return pod, [Path(told(call)) for call in case.exactly(count)]


@requirement("DI-4.2-a")
def test_each_attachment_has_a_file_of_its_own(case: Case) -> None:
    case.nad("net-a", single("net-a", CAPABILITY))
    _, (first, second) = with_files(case, 2)
    assert first != second
    assert first.parent == second.parent == FOLDER


@requirement("DI-4.2-d")
def test_the_file_is_deleted_on_del(case: Case) -> None:
    case.recorder.answer(Answer(command="ADD", network="net-a", device_info=PCI))
    case.nad("net-a", single("net-a", CAPABILITY))
    pod, (path,) = with_files(case)
    assert path.exists(), "the recorder did not write the file"
    case.delete(pod)
    assert not path.exists(), f"{path} is still there"


@requirement("DI-6-a", "DI-3.1.1-a", "DI-3.1.2-a", "NPWG-5.3.7-a")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", ["single", "list"])
def test_the_files_content_is_in_the_status(case: Case, device: Obj, shape: str) -> None:
    case.recorder.answer(Answer(command="ADD", network="net-a", device_info=device))
    one = single("net-a", CAPABILITY)
    case.nad("net-a", listed("net-a", one) if shape == "list" else one)
    pod, _ = with_files(case)
    found = case.entry(pod).get("device-info")
    case.delete(pod)
    assert found == device, json.dumps(found)
