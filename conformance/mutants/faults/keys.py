"""Faults in passing on the keys of a selection: NPWG 4.1.2.1."""

from __future__ import annotations

from conformance.mutants.chain import Attachment
from conformance.mutants.faults.table import fault, without
from conformance.mutants.meta import Meta
from multinet.model.objects import Obj
from multinet.model.selected import NetworkSelection


@fault("NPWG-4.1.2.1.3.2-b")
class IgnoresIps(Meta):
    """Addresses are not passed on."""

    def wishes(self, one: NetworkSelection) -> Obj:
        return without(super().wishes(one), "ips")


@fault("NPWG-4.1.2.1.4.2-b")
class IgnoresMac(Meta):
    """A MAC is not passed on."""

    def wishes(self, one: NetworkSelection) -> Obj:
        return without(super().wishes(one), "mac")


@fault("NPWG-4.1.2.1.7.2-a")
class IgnoresPortMappings(Meta):
    """Port mappings are not passed on."""

    def wishes(self, one: NetworkSelection) -> Obj:
        return without(super().wishes(one), "portMappings")


@fault("NPWG-4.1.2.1.8.2-a")
class IgnoresBandwidth(Meta):
    """Bandwidth is not passed on."""

    def wishes(self, one: NetworkSelection) -> Obj:
        return without(super().wishes(one), "bandwidth")


@fault("NPWG-4.1.2.1.10.2-a")
class IgnoresGuid(Meta):
    """A GUID is not passed on."""

    def wishes(self, one: NetworkSelection) -> Obj:
        return without(super().wishes(one), "infinibandGUID")


@fault("NPWG-4.1.2.1.3.2-c")
class NeedsNoCapabilityForIps(Meta):
    """Addresses that nobody will assign are accepted."""

    def without_capability(self, one: NetworkSelection, key: str) -> None:
        if key != "ips":
            super().without_capability(one, key)


@fault("NPWG-4.1.2.1.4.2-c")
class NeedsNoCapabilityForMac(Meta):
    """A MAC that nobody will assign is accepted."""

    def without_capability(self, one: NetworkSelection, key: str) -> None:
        if key != "mac":
            super().without_capability(one, key)


@fault("NPWG-4.1.2.1.7.2-b")
class NeedsNoCapabilityForPorts(Meta):
    """Port mappings that nobody will make are accepted."""

    def without_capability(self, one: NetworkSelection, key: str) -> None:
        if key != "portMappings":
            super().without_capability(one, key)


@fault("NPWG-4.1.2.1.8.2-c")
class NeedsNoCapabilityForBandwidth(Meta):
    """Bandwidth that nobody will limit is accepted."""

    def without_capability(self, one: NetworkSelection, key: str) -> None:
        if key != "bandwidth":
            super().without_capability(one, key)


@fault("NPWG-4.1.2.1.5.1-a")
class IgnoresInterface(Meta):
    """Makes up interface names where one was asked for."""

    def interface(self, one: NetworkSelection) -> str:
        del one
        return ""


@fault("NPWG-4.1.2.1.6-a")
class IgnoresCniArgs(Meta):
    """``cni-args`` are not passed on."""

    def cni_args(self, one: NetworkSelection) -> Obj:
        del one
        return {}


@fault("NPWG-4.1.2.1.6.2-b")
class ConfigurationsArgsFirst(Meta):
    """The NAD's ``args`` come before the pod's."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        made = super().request(command, plugin, attached, previous)
        if attached.args:
            made["args"]["cni"].update((plugin.get("args") or {}).get("cni") or {})
        return made
