"""The resource types that are served, as data.

Names are the schema's (``virtual-network``); field names have underscores. Only what the rest of this
package can honour is listed: ``kept`` are properties that are stored and given back, because they promise
nothing about packets; any other property with a value is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DOMAIN = "domain"
PROJECT = "project"
NETWORK = "virtual-network"
IPAM = "network-ipam"
MACHINE = "virtual-machine"
INTERFACE = "virtual-machine-interface"
ADDRESS = "instance-ip"
ROUTER = "virtual-router"
SECURITY_GROUP = "security-group"
SYSTEM = "global-system-config"

_COMMON = frozenset({"display_name", "annotations", "perms2"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type. ``modelled`` properties have a meaning here, ``defaults`` only these values."""

    name: str
    parent: str = ""
    modelled: frozenset[str] = frozenset()
    kept: frozenset[str] = _COMMON
    refs: frozenset[str] = frozenset()
    defaults: dict[str, tuple[object, ...]] = field(default_factory=dict)

    @property
    def plural(self) -> str:
        """The collection's path segment."""
        return f"{self.name}s"

    @property
    def field(self) -> str:
        """The name in field names: ``virtual_network``."""
        return self.name.replace("-", "_")


def _kinds(*kinds: Kind) -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds}


KINDS = _kinds(
    Kind(SYSTEM),
    Kind(DOMAIN, kept=_COMMON | {"domain_limits"}),
    Kind(
        PROJECT,
        parent=DOMAIN,
        kept=_COMMON | {"quota", "alarm_enable"},
        defaults={"vxlan_routing": (False,), "enable_security_policy_draft": (False,)},
    ),
    Kind(
        IPAM,
        parent=PROJECT,
        kept=_COMMON | {"network_ipam_mgmt"},
        defaults={"ipam_subnet_method": ("user-defined-subnet",), "ipam_subnetting": (False,)},
    ),
    Kind(
        NETWORK,
        parent=PROJECT,
        modelled=frozenset({"virtual_network_properties", "fabric_snat", "virtual_network_network_id"}),
        kept=_COMMON | {"port_security_enabled", "is_shared"},
        refs=frozenset({"network_ipam_refs"}),
        defaults={
            "address_allocation_mode": ("user-defined-subnet-only", "user-defined-subnet-preferred"),
            "router_external": (False,),
            "external_ipam": (False,),
            "is_provider_network": (False,),
            "flood_unknown_unicast": (False,),
            "multi_policy_service_chains_enabled": (False,),
            "mac_learning_enabled": (False,),
            "pbb_evpn_enable": (False,),
            "pbb_etree_enable": (False,),
            "layer2_control_word": (False,),
            "igmp_enable": (False,),
            "virtual_network_category": ("tenant",),
            "mac_aging_time": (300,),
        },
    ),
    Kind(MACHINE, kept=_COMMON | {"server_type"}),
    Kind(
        INTERFACE,
        parent=PROJECT,
        modelled=frozenset(
            {"virtual_machine_interface_mac_addresses", "virtual_machine_interface_bindings", "annotations"}
        ),
        kept=_COMMON | {"virtual_machine_interface_device_owner", "port_security_enabled"},
        refs=frozenset({"virtual_network_refs", "virtual_machine_refs", "security_group_refs"}),
        defaults={
            "virtual_machine_interface_disable_policy": (False,),
            "vlan_tag_based_bridge_domain": (False,),
            "igmp_enable": (False,),
        },
    ),
    Kind(
        ADDRESS,
        modelled=frozenset({"instance_ip_address", "instance_ip_family", "subnet_uuid"}),
        refs=frozenset({"virtual_network_refs", "virtual_machine_interface_refs"}),
        defaults={
            "instance_ip_mode": ("active-active", "active-standby"),
            "instance_ip_secondary": (False,),
            "instance_ip_local_ip": (False,),
            "service_instance_ip": (False,),
            "service_health_check_ip": (False,),
        },
    ),
    Kind(ROUTER, parent=SYSTEM, refs=frozenset({"virtual_machine_refs"})),
    Kind(SECURITY_GROUP, parent=PROJECT),
)

BY_PLURAL = {kind.plural: kind for kind in KINDS.values()}


def ref_field(kind: str) -> str:
    """The field which holds references to ``kind``: ``virtual_network_refs``."""
    return f"{kind.replace('-', '_')}_refs"


def back_ref_field(kind: str) -> str:
    """The field which holds references from ``kind``."""
    return f"{kind.replace('-', '_')}_back_refs"


def child_field(kind: str) -> str:
    """The field which holds the children of type ``kind``."""
    return f"{kind.replace('-', '_')}s"
