"""What the controller hands to the node agent: one Interface per attachment, one VirtualMachine per pod.

The VirtualMachine is written last and is the commit mark: while it is absent the interfaces of a pod may
be incomplete; once it says ``Resolved=True`` all of them exist and own their addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinet.model import conditions, naming
from multinet.model.conditions import Condition
from multinet.model.objects import (
    ANNOTATION_POD,
    ANNOTATION_POOL,
    API_VERSION,
    LABEL_NODE,
    LABEL_POD_UID,
    Obj,
    annotations_of,
    name_of,
    namespace_of,
    section,
    uid_of,
)
from multinet.model.selected import Bandwidth, PortMapping


@dataclass(frozen=True, slots=True)
class PodRef:
    """One incarnation of a pod."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> PodRef:
        """The reference to a pod object."""
        return cls(namespace_of(pod), name_of(pod), uid_of(pod))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> PodRef:
        """Read ``{namespace, name, uid}``."""
        return cls(str(spec.get("namespace", "")), str(spec.get("name", "")), str(spec.get("uid", "")))

    def to_spec(self) -> Obj:
        """Write ``{namespace, name, uid}``."""
        return {"namespace": self.namespace, "name": self.name, "uid": self.uid}

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Address:
    """An address on an interface; gateway and dns are the network's own addresses in that subnet."""

    address: str
    prefix_length: int
    gateway: str
    dns: str = ""

    @property
    def cidr(self) -> str:
        """``address/prefix length``."""
        return f"{self.address}/{self.prefix_length}"

    @property
    def family(self) -> str:
        """``"v4"`` or ``"v6"``."""
        return "v6" if ":" in self.address else "v4"


@dataclass(frozen=True, slots=True)
class Interface:
    """A VirtualMachineInterface: everything the agent needs to make one pod interface.

    ``index`` counts from 0 (the default network) to ``of`` - 1. ``default_route`` lists the gateways of the
    pod's default routes through this interface; an empty tuple says that there is none through it (index 0
    when another interface was asked to carry it); None is the rule without a request: index 0 has a
    default route through its gateway, the others have none. ``bandwidth`` limits this interface alone,
    ``port_mappings`` lead to it alone.
    ``port_security``: it may send what carries its own MAC and addresses only.
    ``device``: it is the node's spare NIC of that name; empty: it is a veth.
    """

    pod: PodRef
    node: str
    index: int
    of: int
    network: str
    vni: int
    forwarding_mode: str
    nad: str
    interface: str
    mac: str
    addresses: tuple[Address, ...]
    mtu: int = 0
    default_route: tuple[str, ...] | None = None
    bandwidth: Bandwidth | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    port_security: bool = True
    device: str = ""

    @property
    def name(self) -> str:
        """The object's name."""
        return naming.interface_object_name(self.pod.name, self.pod.uid, self.index)

    @property
    def namespace(self) -> str:
        """The object's namespace: the pod's, also for a NAD of another namespace."""
        return self.pod.namespace

    @property
    def is_default(self) -> bool:
        """Whether this is the attachment to the cluster-wide default network."""
        return self.index == 0

    @property
    def status_name(self) -> str:
        """The name in network-status: ``ns/nad``, or the default network's name."""
        return self.nad or naming.DEFAULT_NETWORK_STATUS_NAME

    @classmethod
    def from_object(cls, vmi: Mapping[str, Any]) -> Interface:
        """Read a VirtualMachineInterface object."""
        spec = section(vmi, "spec")
        routes = spec.get("defaultRoute")
        return cls(
            pod=PodRef.from_spec(spec.get("pod") or {}),
            node=str(spec.get("node", "")),
            index=int(spec.get("index", 0)),
            of=int(spec.get("of", 1)),
            network=str(spec.get("network", "")),
            vni=int(spec.get("vni", 0)),
            forwarding_mode=str(spec.get("forwardingMode", "")),
            nad=str(spec.get("nad", "")),
            interface=str(spec.get("interface", "")),
            mac=str(spec.get("mac", "")),
            addresses=tuple(_address_from(item) for item in spec.get("addresses") or ()),
            mtu=int(spec.get("mtu") or 0),
            default_route=None if routes is None else tuple(routes),
            bandwidth=Bandwidth.from_spec(spec.get("bandwidth")),
            port_mappings=tuple(PortMapping.from_spec(item) for item in spec.get("portMappings") or ()),
            port_security=bool(spec.get("portSecurity", True)),
            device=str(spec.get("device") or ""),
        )

    def to_object(self) -> Obj:
        """The VirtualMachineInterface object, ready to create."""
        spec: Obj = {
            "pod": self.pod.to_spec(),
            "node": self.node,
            "index": self.index,
            "of": self.of,
            "network": self.network,
            "vni": self.vni,
            "forwardingMode": self.forwarding_mode,
            "nad": self.nad,
            "interface": self.interface,
            "mac": self.mac,
            "addresses": [
                {
                    "address": item.address,
                    "prefixLength": item.prefix_length,
                    "gateway": item.gateway,
                    "dns": item.dns,
                }
                for item in self.addresses
            ],
            "mtu": self.mtu,
        }
        if self.default_route is not None:
            spec["defaultRoute"] = list(self.default_route)
        if self.bandwidth is not None:
            spec["bandwidth"] = self.bandwidth.to_spec()
        if self.port_mappings:
            spec["portMappings"] = [mapping.to_spec() for mapping in self.port_mappings]
        if not self.port_security:
            spec["portSecurity"] = False
        if self.device:
            spec["device"] = self.device
        return {
            "apiVersion": API_VERSION,
            "kind": "VirtualMachineInterface",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {LABEL_POD_UID: self.pod.uid, LABEL_NODE: self.node},
            },
            "spec": spec,
        }


def _address_from(item: Mapping[str, Any]) -> Address:
    return Address(
        str(item["address"]),
        int(item["prefixLength"]),
        str(item.get("gateway") or ""),
        str(item.get("dns") or ""),
    )


@dataclass(frozen=True, slots=True)
class InstanceIP:
    """One address of one network, owned by an interface: while the object exists nobody else can have it."""

    network: str
    address: str
    pod: PodRef
    interface: str
    pool: str = ""
    """The network (object name) whose addresses these are, where that is another one."""

    @property
    def name(self) -> str:
        """The object's name, made of pool and address alone: that is what makes it exclusive."""
        return naming.instance_ip_name(self.pool or self.network, self.address)

    @classmethod
    def from_object(cls, iip: Mapping[str, Any]) -> InstanceIP:
        """Read an InstanceIP; the pod's name is empty when somebody else than the controller made it."""
        spec = section(iip, "spec")
        owner = spec.get("interface") or {}
        namespace, _, pod = annotations_of(iip).get(ANNOTATION_POD, "").partition("/")
        return cls(
            network=str(spec.get("network", "")),
            address=str(spec.get("address", "")),
            pod=PodRef(namespace, pod, str(spec.get("podUID", ""))),
            interface=str(owner.get("name", "")),
            pool=annotations_of(iip).get(ANNOTATION_POOL, ""),
        )

    def to_object(self) -> Obj:
        """The InstanceIP object, ready to create."""
        annotations = {ANNOTATION_POD: self.pod.key}
        if self.pool:
            annotations[ANNOTATION_POOL] = self.pool
        return {
            "apiVersion": API_VERSION,
            "kind": "InstanceIP",
            "metadata": {
                "name": self.name,
                "labels": {LABEL_POD_UID: self.pod.uid},
                "annotations": annotations,
            },
            "spec": {
                "network": self.network,
                "address": self.address,
                "family": "v6" if ":" in self.address else "v4",
                "interface": {"namespace": self.pod.namespace, "name": self.interface},
                "podUID": self.pod.uid,
            },
        }


def pool_of(iip: Mapping[str, Any]) -> str:
    """The pool (a network's object name) that an InstanceIP's address is of."""
    return annotations_of(iip).get(ANNOTATION_POOL) or str(section(iip, "spec").get("network") or "")


@dataclass(frozen=True, slots=True)
class AttachedInterface:
    """What the agent saw in the kernel after ADD; ``ips`` are bare addresses without prefix length."""

    index: int
    interface: str
    mac: str
    ips: tuple[str, ...]
    mtu: int
    network: str
    default: bool

    @classmethod
    def from_spec(cls, item: Mapping[str, Any]) -> AttachedInterface:
        """Read one element of ``status.interfaces``."""
        return cls(
            index=int(item.get("index", 0)),
            interface=str(item.get("interface", "")),
            mac=str(item.get("mac", "")),
            ips=tuple(item.get("ips") or ()),
            mtu=int(item.get("mtu") or 0),
            network=str(item.get("network", "")),
            default=bool(item.get("default", False)),
        )

    def to_spec(self) -> Obj:
        """Write one element of ``status.interfaces``."""
        return {
            "index": self.index,
            "interface": self.interface,
            "mac": self.mac,
            "ips": list(self.ips),
            "mtu": self.mtu,
            "network": self.network,
            "default": self.default,
        }


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """A pod as the network sees it. ``interfaces`` are VirtualMachineInterface names in index order."""

    pod: PodRef
    node: str
    interfaces: tuple[str, ...]
    resolved: Condition | None = None
    attached: tuple[AttachedInterface, ...] = ()

    @property
    def name(self) -> str:
        """The object's name."""
        return naming.virtual_machine_name(self.pod.name, self.pod.uid)

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self.pod.namespace

    @property
    def is_resolved(self) -> bool:
        """Whether all interfaces exist and own their addresses."""
        return self.resolved is not None and self.resolved.is_true

    @classmethod
    def from_object(cls, vm: Mapping[str, Any]) -> VirtualMachine:
        """Read a VirtualMachine object."""
        spec = section(vm, "spec")
        attached = section(vm, "status").get("interfaces") or ()
        return cls(
            pod=PodRef.from_spec(spec.get("pod") or {}),
            node=str(spec.get("node", "")),
            interfaces=tuple(spec.get("interfaces") or ()),
            resolved=conditions.find(vm, conditions.RESOLVED),
            attached=tuple(AttachedInterface.from_spec(item) for item in attached),
        )

    def to_object(self) -> Obj:
        """The VirtualMachine object; its status (a subresource) is included where there is any."""
        made: Obj = {
            "apiVersion": API_VERSION,
            "kind": "VirtualMachine",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {LABEL_POD_UID: self.pod.uid, LABEL_NODE: self.node},
            },
            "spec": {"pod": self.pod.to_spec(), "node": self.node, "interfaces": list(self.interfaces)},
        }
        status: Obj = {}
        if self.resolved is not None:
            status["conditions"] = [self.resolved.to_object()]
        if self.attached:
            status["interfaces"] = [item.to_spec() for item in self.attached]
        if status:
            made["status"] = status
        return made
