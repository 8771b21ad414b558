"""The CustomResourceDefinitions: four kinds of our own and two of the NPWG."""

from __future__ import annotations

from collections.abc import Sequence

from multinet.model.objects import API_GROUP, Obj
from multinet.model.policy_schema import SPEC
from multinet.model.selected import RATES

_STRING: Obj = {"type": "string"}
_INTEGER: Obj = {"type": "integer"}
_BOOLEAN: Obj = {"type": "boolean"}
_RATE: Obj = {"type": "integer", "format": "int64", "minimum": 1}
_STRINGS: Obj = {"type": "array", "items": {"type": "string"}}
_POD: Obj = {"type": "object", "properties": {"namespace": _STRING, "name": _STRING, "uid": _STRING}}
_CONDITIONS: Obj = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": _STRING,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": _STRING,
            "message": _STRING,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
    },
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}


def crd_manifests() -> list[Obj]:
    """The apiextensions.k8s.io/v1 manifests, in an order in which they can be applied."""
    return [
        _net_attach_def(),
        _multi_network_policy(),
        _virtual_network(),
        _virtual_machine(),
        _virtual_machine_interface(),
        _instance_ip(),
    ]


def _crd(
    names: Obj,
    scope: str,
    spec_schema: Obj,
    *,
    group: str = API_GROUP,
    version: str = "v1alpha1",
    status_schema: Obj | None = None,
    columns: Sequence[Obj] = (),
    required: Sequence[str] = ("spec",),
) -> Obj:
    properties: Obj = {"apiVersion": _STRING, "kind": _STRING, "metadata": {"type": "object"}}
    properties["spec"] = spec_schema
    if status_schema is not None:
        properties["status"] = status_schema
    schema: Obj = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    served: Obj = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    if status_schema is not None:
        served["subresources"] = {"status": {}}
    if columns:
        served["additionalPrinterColumns"] = list(columns)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [served]},
    }


def _names(kind: str, plural: str, short: str) -> Obj:
    return {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
    }


def _column(name: str, json_path: str, type_: str = "string", priority: int = 0) -> Obj:
    made: Obj = {"name": name, "type": type_, "jsonPath": json_path}
    if priority:
        made["priority"] = priority
    return made


_AGE = _column("Age", ".metadata.creationTimestamp", "date")


def _net_attach_def() -> Obj:
    # NPWG 3.1/3.2: spec and config are optional, config is a string; the status has no subresource.
    names = _names("NetworkAttachmentDefinition", "network-attachment-definitions", "net-attach-def")
    names["singular"] = "network-attachment-definition"
    return _crd(
        names,
        "Namespaced",
        {"type": "object", "properties": {"config": _STRING}},
        group="k8s.cni.cncf.io",
        version="v1",
        columns=[_AGE],
        required=(),
    )


def _multi_network_policy() -> Obj:
    # v1beta2 added endPort; both have the same schema here, as objects are served in any version.
    names = _names("MultiNetworkPolicy", "multi-networkpolicies", "multi-policy")
    names["singular"] = "multi-networkpolicy"
    made = _crd(
        names,
        "Namespaced",
        SPEC,
        group="k8s.cni.cncf.io",
        version="v1beta2",
        columns=[_column("Policy For", ".metadata.annotations.k8s\\.v1\\.cni\\.cncf\\.io/policy-for"), _AGE],
        required=(),
    )
    versions = made["spec"]["versions"]
    versions.append({**versions[0], "name": "v1beta1", "storage": False})
    return made


def _virtual_network() -> Obj:
    subnet: Obj = {
        "type": "object",
        "required": ["cidr"],
        "properties": {"cidr": _STRING, "gateway": _STRING, "dns": _STRING},
    }
    spec: Obj = {
        "type": "object",
        "required": ["fqName"],
        "properties": {
            "fqName": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
            "vni": {"type": "integer", "minimum": 1, "maximum": 16777215},
            "forwardingMode": {"type": "string", "enum": ["l3", "l2_l3"]},
            "subnets": {"type": "array", "items": subnet},
            "fabricSnat": _BOOLEAN,
            "ipFabricForwarding": _BOOLEAN,
            "device": _STRING,
        },
    }
    columns = [
        _column("FQ Name", ".spec.fqName"),
        _column("VNI", ".spec.vni", "integer"),
        _column("Subnet", ".spec.subnets[0].cidr"),
        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        _column("Mode", ".spec.forwardingMode", priority=1),
        _AGE,
    ]
    status: Obj = {"type": "object", "properties": {"conditions": _CONDITIONS}}
    names = _names("VirtualNetwork", "virtualnetworks", "vn")
    return _crd(names, "Cluster", spec, status_schema=status, columns=columns)


def _virtual_machine() -> Obj:
    seen: Obj = {
        "type": "object",
        "properties": {
            "index": _INTEGER,
            "interface": _STRING,
            "mac": _STRING,
            "ips": _STRINGS,
            "mtu": _INTEGER,
            "network": _STRING,
            "default": _BOOLEAN,
        },
    }
    spec: Obj = {
        "type": "object",
        "required": ["pod"],
        "properties": {"pod": _POD, "node": _STRING, "interfaces": _STRINGS},
    }
    status: Obj = {
        "type": "object",
        "properties": {"conditions": _CONDITIONS, "interfaces": {"type": "array", "items": seen}},
    }
    columns = [
        _column("Pod", ".spec.pod.name"),
        _column("Node", ".spec.node"),
        _column("Resolved", '.status.conditions[?(@.type=="Resolved")].status'),
        _column("Reason", '.status.conditions[?(@.type=="Resolved")].reason'),
        _AGE,
    ]
    names = _names("VirtualMachine", "virtualmachines", "vm")
    return _crd(names, "Namespaced", spec, status_schema=status, columns=columns)


def _virtual_machine_interface() -> Obj:
    address: Obj = {
        "type": "object",
        "required": ["address", "prefixLength"],
        "properties": {
            "address": _STRING,
            "prefixLength": {"type": "integer", "minimum": 0, "maximum": 128},
            "gateway": _STRING,
            "dns": _STRING,
        },
    }
    number: Obj = {"type": "integer", "minimum": 1, "maximum": 65535}
    mapping: Obj = {
        "type": "object",
        "required": ["hostPort", "containerPort"],
        "properties": {
            "hostPort": number,
            "containerPort": number,
            "protocol": _STRING,
            "hostIP": _STRING,
        },
    }
    spec: Obj = {
        "type": "object",
        "required": ["pod", "index", "network", "interface", "mac"],
        "properties": {
            "pod": _POD,
            "node": _STRING,
            "index": _INTEGER,
            "of": _INTEGER,
            "network": _STRING,
            "vni": _INTEGER,
            "forwardingMode": _STRING,
            "nad": _STRING,
            "interface": _STRING,
            "mac": _STRING,
            "addresses": {"type": "array", "items": address},
            "mtu": _INTEGER,
            "defaultRoute": {"type": "array", "items": {"type": "string"}, "nullable": True},
            "bandwidth": {"type": "object", "properties": dict.fromkeys(RATES, _RATE)},
            "portMappings": {"type": "array", "items": mapping},
            "portSecurity": _BOOLEAN,
            "device": _STRING,
        },
    }
    columns = [
        _column("Pod", ".spec.pod.name"),
        _column("Interface", ".spec.interface"),
        _column("Network", ".spec.network"),
        _column("Address", ".spec.addresses[0].address"),
        _column("MAC", ".spec.mac", priority=1),
        _column("Node", ".spec.node", priority=1),
        _AGE,
    ]
    status: Obj = {"type": "object", "properties": {"conditions": _CONDITIONS}}
    names = _names("VirtualMachineInterface", "virtualmachineinterfaces", "vmi")
    return _crd(names, "Namespaced", spec, status_schema=status, columns=columns)


def _instance_ip() -> Obj:
    owner: Obj = {"type": "object", "properties": {"namespace": _STRING, "name": _STRING}}
    spec: Obj = {
        "type": "object",
        "required": ["network", "address"],
        "properties": {
            "network": _STRING,
            "address": _STRING,
            "family": {"type": "string", "enum": ["v4", "v6"]},
            "interface": owner,
            "podUID": _STRING,
        },
    }
    columns = [
        _column("Network", ".spec.network"),
        _column("Address", ".spec.address"),
        _column("Namespace", ".spec.interface.namespace"),
        _column("Interface", ".spec.interface.name"),
        _AGE,
    ]
    status: Obj = {"type": "object", "properties": {"conditions": _CONDITIONS}}
    names = _names("InstanceIP", "instanceips", "iip")
    return _crd(names, "Cluster", spec, status_schema=status, columns=columns)
