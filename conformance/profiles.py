"""Profiles: named sets of requirements that an implementation claims to meet, and the features beside them.

A profile is claimed as a whole. A feature is a part that the standard leaves open ("unsupported must fail"):
a target that claims it must pass the rows which need it; one that doesn't must refuse what asks for it, where
the text says so.
"""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """The profiles; the text is what options, catalogue and reports say."""

    CORE = "core"
    DELEGATING = "delegating"
    NON_DELEGATING = "non-delegating"
    STATUS = "status"
    DEFAULT_ROUTE = "default-route"
    PORT_MAPPING = "port-mapping"
    BANDWIDTH = "bandwidth"
    INFINIBAND = "infiniband"
    DEVICE_INFO = "device-info"
    IPAM_CLAIM = "ipam-claim"
    DYNAMIC = "dynamic"
    MULTUS_EXTENSION = "multus-extension"
    CNI_PLUGIN = "cni-plugin"
    CNI_RUNTIME = "cni-runtime"
    CONTRAIL_MULTINET = "contrail-multinet"


class Feature(StrEnum):
    """What a target may or may not be able to do; rows name the ones they need."""

    IPS = "ips"
    MAC = "mac"
    INTERFACE = "interface"
    CNI_ARGS = "cni-args"
    PORT_MAPPINGS = "port-mappings"
    BANDWIDTH = "bandwidth"
    DEFAULT_ROUTE = "default-route"
    INFINIBAND_GUID = "infiniband-guid"
    IPAM_CLAIM_REFERENCE = "ipam-claim-reference"
    DUAL_STACK = "dual-stack"
    STATUS = "status"
    DEVICE_INFO = "device-info"
    DYNAMIC = "dynamic"
    NAMESPACE_ISOLATION = "namespace-isolation"
    NAME_AT_INTERFACE = "name-at-interface"
    DEFAULT_NETWORK_ANNOTATION = "default-network-annotation"
    RESOURCE_NAME = "resource-name"
    CHECK = "check"
    GC = "gc"
    STATUS_VERB = "status-verb"
    CHAINED = "chained"
    DELEGATES_IPAM = "delegates-ipam"
    MANAGES_ADDRESSES = "manages-addresses"


SPEC_VERSIONS = ("1.0", "1.1", "1.2", "1.3")
"""Ratified versions of the multi-network standard, oldest first: the axis that goes across all profiles."""

NEWEST = SPEC_VERSIONS[-1]

DELEGATING_SECTIONS = {
    "3.4": "1.0",
    "4.1.2.1.3.2": "1.0",
    "4.1.2.1.4.2": "1.0",
    "4.1.2.1.5.1": "1.0",
    "4.1.2.1.6.2": "1.1",
    "4.1.2.1.7.2": "1.1",
    "4.1.2.1.8.2": "1.1",
    "4.1.2.1.10.2": "1.2",
    "4.2.1": "1.0",
    "5.1.1": "1.0",
    "5.3.2.1": "1.0",
    "5.3.3.1": "1.0",
    "5.3.4.1": "1.0",
    "6.1.1": "1.0",
    "7.1": "1.0",
}
"""Sections of the standard headed for delegating plugins, with the version that has them first: whoever does
not delegate may ignore them and what is below them (section 2.4)."""


def is_for_delegating(section: str) -> bool:
    """Whether a section is one of those, or below one."""
    return any(section == headed or section.startswith(f"{headed}.") for headed in DELEGATING_SECTIONS)


def numbers(version: str) -> tuple[int, ...]:
    """``"1.10"`` as ``(1, 10)``, so that versions can be compared; ``ValueError`` for anything else."""
    return tuple(int(part) for part in version.split("."))
