"""Faults in the status annotation: NPWG 5."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.mutants.chain import Attachment
from conformance.mutants.faults.table import fault, without
from conformance.mutants.meta import Meta
from multinet.model.objects import Obj


@fault("NPWG-5-b")
class WrongStatusKey(Meta):
    """Writes the annotation that releases of long ago wrote."""

    status_key = "k8s.v1.cni.cncf.io/networks-status"


@fault("NPWG-4.2-c")
class CollapsesStatus(Meta):
    """Entries are kept by name."""

    def entries(self, attachments: Sequence[Attachment]) -> list[Obj]:
        return list({one["name"]: one for one in super().entries(attachments)}.values())


@fault("NPWG-5.2-a")
class NoDefaultEntry(Meta):
    """Tells of selected networks only."""

    def entries(self, attachments: Sequence[Attachment]) -> list[Obj]:
        return super().entries([one for one in attachments if not one.default])


@fault("NPWG-5.2-b")
class DefaultIsNotTold(Meta):
    """No entry is the default one."""

    def entry(self, attached: Attachment) -> Obj:
        return super().entry(attached) | {"default": False}


@fault("NPWG-5.3.5-b")
class AllAreDefault(Meta):
    """Every entry is the default one."""

    def entry(self, attached: Attachment) -> Obj:
        return super().entry(attached) | {"default": True}


@fault("NPWG-5.3.3-a")
class AddressesAsOneString(Meta):
    """``ips`` are one string."""

    def entry(self, attached: Attachment) -> Obj:
        made = super().entry(attached)
        return made | {"ips": ",".join(made.get("ips", []))}


@fault("NPWG-5.3.4-b")
class MacWithoutInterface(Meta):
    """``mac`` comes alone."""

    def entry(self, attached: Attachment) -> Obj:
        return without(super().entry(attached), "interface")


@fault("NPWG-5.3.1-c")
class BareNames(Meta):
    """Names have no namespace."""

    def entry(self, attached: Attachment) -> Obj:
        made = super().entry(attached)
        return made | {"name": made["name"].rpartition("/")[2]}


@fault("NPWG-5.3.1-b")
class NamesOfConfigurations(Meta):
    """Entries have the names of CNI configurations."""

    def entry(self, attached: Attachment) -> Obj:
        return super().entry(attached) | {"name": attached.name}


@fault("NPWG-5.3-a")
class KeysWithoutADot(Meta):
    """Entries have a key of the implementation's own."""

    def entry(self, attached: Attachment) -> Obj:
        return super().entry(attached) | {"gateway": ["10.0.0.1"]}


@fault("NPWG-5.3.6-a")
class NoDns(Meta):
    """DNS is left out."""

    def entry(self, attached: Attachment) -> Obj:
        return without(super().entry(attached), "dns")


@fault("NPWG-5.x-c")
class RemainsOfMissingValues(Meta):
    """What is not there is told as ``<nil>``."""

    def entry(self, attached: Attachment) -> Obj:
        return {"mac": "<nil>"} | super().entry(attached)


@fault("NPWG-5.1.1-a")
class FirstInterface(Meta):
    """Tells of the first interface, be it on the host."""

    def sandbox_index(self, interfaces: Sequence[Obj]) -> int | None:
        return 0 if interfaces else None


@fault("NPWG-5.3.3.1-a")
class AllAddresses(Meta):
    """Tells addresses of all interfaces."""

    def addresses(self, ips: Sequence[Obj], index: int | None) -> list[str]:
        return [item["address"] for item in ips]


@fault("NPWG-5.3.3.1-b")
class IndexedAddressesOnly(Meta):
    """An address that belongs to no interface is not told."""

    def addresses(self, ips: Sequence[Obj], index: int | None) -> list[str]:
        return super().addresses(ips, index) if index is not None else []


@fault("NPWG-5.x-b")
class StatusBeforeAttachment(Meta):
    """Status is what is planned, written before it is done."""

    def attach(self, attached: Attachment) -> None:
        self.publish([self.default(), *self.selected(self.read_pod())])
        super().attach(attached)
