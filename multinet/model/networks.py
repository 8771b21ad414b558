"""Virtual networks and their subnets: who owns which addresses, and which of them are the network's own.

A subnet of Contrail keeps its ends for itself: the last address but one is the gateway, the one before it
the DNS service, pods get addresses from there downwards.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinet.errors import InputError
from multinet.model import conditions, naming
from multinet.model.conditions import Condition
from multinet.model.naming import FqName
from multinet.model.objects import (
    ANNOTATION_NAD,
    ANNOTATION_POOL,
    API_VERSION,
    LABEL_ORIGIN,
    Obj,
    annotations_of,
    labels_of,
    name_of,
    section,
)

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

L3 = "l3"
L2_L3 = "l2_l3"

ORIGIN_NAD = "nad"
ORIGIN_CONFIG_API = "config-api"
ORIGIN_CLUSTER = "cluster"
ORIGIN_NAMESPACE = "namespace"
"""The pod network of an isolated namespace."""

DEFAULT_POD_CIDR = "10.32.0.0/12"
DEFAULT_POD_CIDR6 = "fd00:10:32::/64"
"""What labs with IPv6 have; without it, pods have an IPv4 address in the default network alone."""
DEFAULT_SERVICE_CIDR = "10.96.0.0/12"
DEFAULT_SERVICE_CIDR6 = "fd00:10:96::/108"
"""What services of labs with IPv6 have beside it: as large as Kubernetes lets it be."""
DNS_SERVICE_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
VNI_LIMIT = (1 << 24) - 1


# The same few texts are read again with every look at a network.
@functools.lru_cache(maxsize=4096)
def _block(text: str) -> IPNetwork:
    return ipaddress.ip_network(text, strict=False)


@functools.lru_cache(maxsize=4096)
def _address(text: str) -> IPAddress:
    return ipaddress.ip_address(text)


@dataclass(frozen=True, slots=True)
class Subnet:
    """One address block. ``gateway`` and ``dns`` are None while nobody has chosen them."""

    cidr: IPNetwork
    gateway: IPAddress | None = None
    dns: IPAddress | None = None

    @classmethod
    def of(cls, cidr: str) -> Subnet:
        """The subnet of a CIDR with its default gateway (last - 1) and DNS address (last - 2)."""
        return cls(ipaddress.ip_network(cidr)).completed()

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Subnet:
        """Read ``{cidr, gateway, dns}``; ``InputError`` when one of them is no address of the subnet."""
        try:
            cidr = _block(str(spec.get("cidr", "")))
            gateway = _address(str(spec["gateway"])) if spec.get("gateway") else None
            dns = _address(str(spec["dns"])) if spec.get("dns") else None
        except ValueError as error:
            raise InputError(
                "the subnet can't be read",
                where="spec.subnets",
                why=str(error),
                next_step='write a block such as "10.1.1.0/24", and a gateway and dns inside it or none',
            ) from error
        for what, address in (("gateway", gateway), ("dns", dns)):
            if address is not None and address not in cidr:
                raise InputError(
                    f"the {what} {address} is outside of its subnet {cidr}",
                    where="spec.subnets",
                    next_step=f"take a {what} address inside {cidr}, or leave the key out",
                )
        return cls(cidr, gateway, dns)

    def to_spec(self) -> Obj:
        """Write ``{cidr, gateway, dns}``, without what is not chosen yet."""
        made: Obj = {"cidr": str(self.cidr)}
        if self.gateway is not None:
            made["gateway"] = str(self.gateway)
        if self.dns is not None:
            made["dns"] = str(self.dns)
        return made

    def completed(self) -> Subnet:
        """The same subnet with gateway and DNS address chosen (a small block may have no DNS address)."""
        top = int(self.cidr.broadcast_address)
        bottom = int(self.cidr.network_address)
        gateway = self.gateway
        if gateway is None and top - 1 > bottom:
            gateway = self._at(top - 1)
        dns = self.dns
        if dns is None and top - 2 > bottom:
            free = (self._at(number) for number in range(top - 2, max(bottom, top - 5), -1))
            dns = next((address for address in free if address != gateway), None)
        return Subnet(self.cidr, gateway, dns)

    @property
    def family(self) -> str:
        """``"v4"`` or ``"v6"``."""
        return "v4" if self.cidr.version == 4 else "v6"

    @property
    def reserved(self) -> frozenset[IPAddress]:
        """Addresses no pod can have: network, broadcast, gateway, DNS."""
        own = {self.cidr.network_address, self.cidr.broadcast_address, self.gateway, self.dns}
        return frozenset(address for address in own if address is not None)

    @property
    def usable(self) -> int:
        """How many addresses pods can have."""
        return max(0, self.cidr.num_addresses - len(self.reserved))

    def _at(self, number: int) -> IPAddress:
        return ipaddress.IPv4Address(number) if self.cidr.version == 4 else ipaddress.IPv6Address(number)


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """A network: an isolated set of subnets with one VNI (0 while none is given)."""

    fq_name: FqName
    subnets: tuple[Subnet, ...]
    vni: int = 0
    forwarding_mode: str = L2_L3
    fabric_snat: bool = False
    ip_fabric_forwarding: bool = False
    object_name: str = ""
    origin: str = ORIGIN_CONFIG_API
    nad: str = ""
    ready: Condition | None = None
    pool: str = ""
    """Object name of the network whose address pool this one shares; its own where empty."""
    device: str = ""
    """The spare NIC of a node that is a pod's interface in this network; empty: a veth of ours is."""

    @property
    def name(self) -> str:
        """The Kubernetes object name; derived from the fq name unless somebody chose another."""
        return self.object_name or naming.object_name(self.fq_name)

    @property
    def pool_name(self) -> str:
        """Object name of the network whose addresses its members have: InstanceIPs are named by it."""
        return self.pool or self.name

    @property
    def is_underlay(self) -> bool:
        """Whether its members' addresses are the nodes' own network's: packets go there as they are."""
        return self.ip_fabric_forwarding and not self.is_default and not self.device

    @property
    def mode(self) -> str:
        """How its members are joined: those on the underlay by routes, whatever ``forwarding_mode`` says."""
        return L3 if self.is_underlay else self.forwarding_mode

    @property
    def is_default(self) -> bool:
        """Whether the cluster itself owns this network (pods' interface 0)."""
        return self.origin == ORIGIN_CLUSTER

    def subnet_of(self, address: IPAddress) -> Subnet | None:
        """The subnet which holds ``address``."""
        return next((subnet for subnet in self.subnets if address in subnet.cidr), None)

    @classmethod
    def from_object(cls, vn: Mapping[str, Any]) -> VirtualNetwork:
        """Read a VirtualNetwork object; ``InputError`` says what in its spec can't be used."""
        spec = section(vn, "spec")
        parts: list[Any] = list(spec.get("fqName") or ())
        if len(parts) != 3 or not all(isinstance(part, str) and part for part in parts):
            raise InputError(
                "spec.fqName must be three non-empty strings",
                where=f"VirtualNetwork {name_of(vn)}",
                next_step='write [domain, project, name], e.g. ["default-domain", "k8s-default", "blue"]',
            )
        return cls(
            fq_name=(parts[0], parts[1], parts[2]),
            subnets=tuple(Subnet.from_spec(item) for item in spec.get("subnets") or ()),
            vni=int(spec.get("vni") or 0),
            forwarding_mode=str(spec.get("forwardingMode") or L2_L3),
            fabric_snat=bool(spec.get("fabricSnat", False)),
            ip_fabric_forwarding=bool(spec.get("ipFabricForwarding", False)),
            object_name=name_of(vn),
            origin=labels_of(vn).get(LABEL_ORIGIN, ORIGIN_CONFIG_API),
            nad=annotations_of(vn).get(ANNOTATION_NAD, ""),
            ready=conditions.find(vn, conditions.READY),
            pool=annotations_of(vn).get(ANNOTATION_POOL, ""),
            device=str(spec.get("device") or ""),
        )

    def to_object(self) -> Obj:
        """The VirtualNetwork object, ready to create; its status is not included."""
        spec: Obj = {
            "fqName": list(self.fq_name),
            "forwardingMode": self.forwarding_mode,
            "subnets": [subnet.to_spec() for subnet in self.subnets],
            "fabricSnat": self.fabric_snat,
            "ipFabricForwarding": self.ip_fabric_forwarding,
        }
        if self.vni:
            spec["vni"] = self.vni
        if self.device:
            spec["device"] = self.device
        metadata: Obj = {"name": self.name, "labels": {LABEL_ORIGIN: self.origin}}
        marks = {ANNOTATION_NAD: self.nad, ANNOTATION_POOL: self.pool}
        if any(marks.values()):
            metadata["annotations"] = {key: value for key, value in marks.items() if value}
        return {"apiVersion": API_VERSION, "kind": "VirtualNetwork", "metadata": metadata, "spec": spec}
