"""Kubernetes objects as they come off the wire: plain JSON dictionaries and the few accessors all need.

Objects stay dictionaries at the edges, because unknown fields must survive a read-modify-write; each kind
of ours has a frozen dataclass with ``from_object``/``to_object`` for the code that reasons about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Obj = dict[str, Any]

API_GROUP = "multinet.opencontrail.org"
API_VERSION = f"{API_GROUP}/v1alpha1"

LABEL_POD_UID = f"{API_GROUP}/pod-uid"
LABEL_NODE = f"{API_GROUP}/node"
LABEL_ORIGIN = f"{API_GROUP}/origin"
ANNOTATION_NAD = f"{API_GROUP}/nad"
ANNOTATION_POD = f"{API_GROUP}/pod"
ANNOTATION_POOL = f"{API_GROUP}/pool"
ANNOTATION_CONDITION = f"{API_GROUP}/condition"
FINALIZER_IN_USE = f"{API_GROUP}/in-use"
ANNOTATION_ATTACHED_SELECTION = f"{API_GROUP}/selection"
ANNOTATION_IGNORED_SELECTION = f"{API_GROUP}/ignored-selection"
ANNOTATION_SELECTION = "k8s.v1.cni.cncf.io/networks"
ANNOTATION_PORT_SECURITY = "opencontrail.org/port_security"
"""On a pod: "false" lets its interfaces in NAD networks send what is not their own (a VNF that forwards)."""
ANNOTATION_STATUS = "k8s.v1.cni.cncf.io/network-status"


# The accessors below are what a control plane calls most of all, so none is made of others.


def metadata_of(o: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``metadata`` mapping, empty where the object has none."""
    found = o.get("metadata")
    return found if isinstance(found, dict) else {}


def name_of(o: Mapping[str, Any]) -> str:
    """``metadata.name``, or the empty string."""
    found = o.get("metadata")
    return str(found.get("name") or "") if isinstance(found, dict) else ""


def namespace_of(o: Mapping[str, Any]) -> str:
    """``metadata.namespace``; the empty string for a cluster-scoped object."""
    found = o.get("metadata")
    return str(found.get("namespace") or "") if isinstance(found, dict) else ""


def uid_of(o: Mapping[str, Any]) -> str:
    """``metadata.uid``, or the empty string."""
    found = o.get("metadata")
    return str(found.get("uid") or "") if isinstance(found, dict) else ""


def annotations_of(o: Mapping[str, Any]) -> Mapping[str, str]:
    """``metadata.annotations``, empty where absent or null."""
    found = o.get("metadata")
    return (found.get("annotations") or {}) if isinstance(found, dict) else {}


def labels_of(o: Mapping[str, Any]) -> Mapping[str, str]:
    """``metadata.labels``, empty where absent or null."""
    return metadata_of(o).get("labels") or {}


def key_of(o: Mapping[str, Any]) -> str:
    """``namespace/name``, or ``name`` for a cluster-scoped object."""
    found = o.get("metadata")
    if not isinstance(found, dict):
        return ""
    return join_key(str(found.get("namespace") or ""), str(found.get("name") or ""))


def join_key(namespace: str, name: str) -> str:
    """The key under which an object is stored and queued."""
    return f"{namespace}/{name}" if namespace else name


def split_key(key: str) -> tuple[str, str]:
    """``(namespace, name)`` of a key; the namespace is empty for a cluster-scoped object."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def section(o: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A top-level section (``spec``, ``status``), empty where it is absent or not a mapping."""
    found = o.get(name)
    return found if isinstance(found, dict) else {}
