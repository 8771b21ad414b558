"""Faults in what is beyond the standard: device information, and Multus' extensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.mutants.chain import Attachment
from conformance.mutants.extended import DEVICES, Extended
from conformance.mutants.faults.table import fault, without
from conformance.mutants.meta import Meta
from multinet.model.objects import Obj
from multinet.model.selected import NetworkSelection


@fault("EXT-1")
class NoAt(Extended):
    """The short form has no place for an interface's name."""

    extensions = frozenset()


@fault("EXT-2")
class NoDefaultOfItsOwn(Extended):
    """All pods have the same default network."""

    def wanted_default(self, pod: Obj) -> str:
        return ""


@fault("EXT-4")
class IgnoresDeviceId(Extended):
    """A device that is asked for is not passed on."""

    def device_id(self, raw: Obj) -> str:
        return ""


@fault("EXT-5")
class IgnoresInterfaceRequest(Extended):
    """The old key for the interface's name means nothing."""

    def raw(self, text: str, found: Any) -> list[Obj]:
        return [without(raw, "interfaceRequest") for raw in super().raw(text, found)]


@fault("EXT-6")
class WritesTheOldAnnotation(Extended):
    """The status is in the annotation of former days as well."""

    def publish(self, attachments: Any) -> None:
        super().publish(attachments)
        self.status_key = "k8s.v1.cni.cncf.io/networks-status"
        super().publish(attachments)


@fault("EXT-7")
class TellsBeforehand(Extended):
    """An interface is told as added before it is."""

    def attach(self, attached: Attachment) -> None:
        self.tell("Normal", "AddedInterface", f"{attached.ifname} of {attached.name}")
        super().attach(attached)


@fault("EXT-7")
class NothingIsEverFound(Extended):
    """Every NAD is told as missing."""

    def nad(self, namespace: str, name: str) -> Obj:
        self.tell("Warning", "NoNetworkFound", f"{namespace}/{name}")
        return super().nad(namespace, name)


@fault("EXT-8")
class NobodysNamespaceIsEverybodys(Extended):
    """With isolation, the namespace ``default`` is closed as well."""

    def isolated(self, one: NetworkSelection) -> None:
        Meta.isolated(self, one)


@fault("EXT-10")
class OwnAddressAsGateway(Extended):
    """The gateway in the status is the pod itself."""

    def entry(self, attached: Attachment) -> Obj:
        made = super().entry(attached)
        return made | {"gateway": made.get("ips", [])}


@fault("EXT-10")
class NoOptionsForResolvers(Extended):
    """The options in the status are not those of the result."""

    def entry(self, attached: Attachment) -> Obj:
        made = super().entry(attached)
        return made | {"dns": {**made.get("dns", {}), "options": []}}


@fault("EXT-11")
class IgnoresHostIp(Extended):
    """A port mapping is for all addresses of the host."""

    def host_address(self, mapping: Obj) -> str:
        return ""


@fault("DI-5.1.1-a")
class NeverTellsTheFile(Extended):
    """No plugin is told where device information goes."""

    def is_told(self, attached: Attachment) -> bool:
        return False


@fault("DI-4.2-a")
class OneFileForAll(Extended):
    """All attachments of a pod share a file."""

    def device_file(self, attached: Attachment) -> Path:
        return DEVICES / f"{self.env['CNI_CONTAINERID']}-device.json"


@fault("DI-4.2-d")
class KeepsTheFile(Extended):
    """The file outlives the attachment."""

    def forget_device(self, attached: Attachment) -> None:
        return


@fault("DI-6-a")
class NoDeviceInTheStatus(Extended):
    """The file is read by nobody."""

    def of_device(self, device: Any, attached: Attachment) -> Obj:
        return {}


@fault("NPWG-5.3.7-a")
class DevicesOfTheFirstOnly(Extended):
    """The status tells one device of a pod."""

    def of_device(self, device: Any, attached: Attachment) -> Obj:
        return super().of_device(device, attached) if attached.default else {}


class _Without(Extended):
    """The status has not all of the file."""

    lost: tuple[str, ...] = ()

    def of_device(self, device: Any, attached: Attachment) -> Obj:
        kept = {
            key: {name: each for name, each in value.items() if name not in self.lost}
            if isinstance(value, dict)
            else value
            for key, value in device.items()
            if key not in self.lost
        }
        return super().of_device(kept, attached)


@fault("DI-3.1.1-a")
class NoDeviceType(_Without):
    """The kind of device is not told."""

    lost = ("type",)


@fault("DI-3.1.2-a")
class NoDeviceVersion(_Without):
    """The version of the format is not told."""

    lost = ("version",)


@fault("DI-3.1.3-a")
class NoPciAddress(_Without):
    """The address of a PCI device is not told."""

    lost = ("pci-address",)


@fault("DI-3.1.3-b")
class NoRepresentor(_Without):
    """Optional keys are not told."""

    lost = ("representor-device",)


@fault("DI-3.1.4-a")
class NoVdpa(_Without):
    """What a vDPA device is made of is not told."""

    lost = ("vdpa",)


@fault("DI-3.1.5-a")
class NoVhostUser(_Without):
    """The socket of a vhost-user device is not told."""

    lost = ("vhost-user",)


@fault("DI-3.1.6-a")
class NoMemif(_Without):
    """The socket of a memif device is not told."""

    lost = ("memif",)
