"""The Kubernetes and config API objects that steps speak of; the same for every engine and for files."""

from __future__ import annotations

import json
from typing import Any

from conformance.fuzz import steps
from multinet.kube.resources import NADS
from multinet.model.objects import ANNOTATION_SELECTION, Obj

DOMAIN, PROJECT = "default-domain", "k8s-default"
_CONFIGS = {
    "": json.dumps({"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}),
    "config": "{“cniVersion”: 1",
    "foreign": json.dumps({"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0"}),
}


def nad(step: steps.ApplyNad) -> Obj:
    """The NAD of a step."""
    namespace, _, name = step.key.partition("/")
    annotations = {}
    if step.cidr:
        annotations["opencontrail.org/cidr"] = step.cidr
    if step.maps_to:
        target = {"domain": DOMAIN, "project": PROJECT, "name": step.maps_to}
        annotations["opencontrail.org/network"] = json.dumps(target)
    return {
        "apiVersion": NADS.api_version,
        "kind": NADS.kind,
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {"config": _CONFIGS[step.broken]},
    }


def pod(step: steps.CreatePod) -> Obj:
    """The pod of a step, bound to its node; its one container idles."""
    namespace, _, name = step.key.partition("/")
    metadata: Obj = {"name": name, "namespace": namespace}
    if step.selection:
        metadata["annotations"] = {ANNOTATION_SELECTION: step.selection}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": step.node, "containers": [{"name": "main", "image": "none"}]},
    }


def config_network(step: steps.MakeNetwork) -> dict[str, Any]:
    """The body with which the config API is asked for a virtual network."""
    subnets = []
    for block in step.cidr.split(","):
        prefix, _, length = block.strip().partition("/")
        subnets.append({"subnet": {"ip_prefix": prefix, "ip_prefix_len": int(length)}})
    ipam = ["default-domain", "default-project", "default-network-ipam"]
    return {
        "fq_name": [DOMAIN, PROJECT, step.network],
        "parent_type": "project",
        "virtual_network_properties": {"forwarding_mode": "l2_l3"},
        "network_ipam_refs": [{"to": ipam, "attr": {"ipam_subnets": subnets}}],
    }
