"""Every name the implementation derives, in one place, so that a replay finds what an earlier run made.

Contrail's names (NAD ``right`` in namespace ``ns1`` is ``default-domain:k8s-ns1:k8s-right-pod-network``)
are kept in ``fqName``; Kubernetes object names are derived from them and from pod UIDs, never drawn at
random.
"""

from __future__ import annotations

import functools
import hashlib
import re
import uuid

from multinet.model.planted import planted

DEFAULT_DOMAIN = "default-domain"
DEFAULT_CLUSTER = "k8s"
DEFAULT_NETWORK_STATUS_NAME = "cluster-wide-default"

FqName = tuple[str, str, str]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# An InstanceIP's name is a network's name, a dot and an address of up to 39 characters; 253 is the limit.
_NETWORK_NAME_LIMIT = 200
_POD_NAME_KEPT = 200
# One label has 63 characters at most; a dash and twelve digits of the digest follow.
_READABLE = 50


def default_network_fq_name(
    cluster: str = DEFAULT_CLUSTER, domain: str = DEFAULT_DOMAIN, *, project: str = ""
) -> FqName:
    """The cluster-wide default pod network."""
    return namespace_network_fq_name("default", cluster, domain, project=project)


def namespace_network_fq_name(
    namespace: str, cluster: str = DEFAULT_CLUSTER, domain: str = DEFAULT_DOMAIN, *, project: str = ""
) -> FqName:
    """The pod network which an isolated namespace has for itself."""
    return (domain, project or f"{cluster}-{namespace}", f"{cluster}-{namespace}-pod-network")


def nad_network_fq_name(
    namespace: str,
    name: str,
    cluster: str = DEFAULT_CLUSTER,
    domain: str = DEFAULT_DOMAIN,
    *,
    project: str = "",
) -> FqName:
    """The network made of a NAD with ``opencontrail.org/cidr``; ``project``: one for all namespaces."""
    if planted("namespaces-confused"):
        namespace = "default"
    return (domain, project or f"{cluster}-{namespace}", f"{cluster}-{name}-pod-network")


def fq_text(fq_name: tuple[str, ...]) -> str:
    """Contrail's colon form, for messages."""
    return ":".join(fq_name)


def object_name(fq_name: tuple[str, ...]) -> str:
    """The Kubernetes object name of a network, a DNS-1123 subdomain of at most 200 characters.

    The parts joined by dots where each is a DNS-1123 label; otherwise (capitals, blanks, dots inside a
    part, too long) a readable remainder plus a digest, so that different networks never share a name.
    """
    joined = ".".join(fq_name)
    if len(joined) <= _NETWORK_NAME_LIMIT and all(_LABEL.fullmatch(part) for part in fq_name):
        return joined
    digest = hashlib.sha256("\0".join(fq_name).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = re.sub(r"[^a-z0-9]+", "-", joined.lower()).strip("-")[:_READABLE].strip("-")
    return f"{readable or 'network'}-{digest}"


def is_dns_label(text: str) -> bool:
    """Whether ``text`` is a DNS-1123 label (NPWG 3.3)."""
    return _LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """Whether ``text`` is made of DNS-1123 labels joined by dots, 253 characters at most."""
    return len(text) <= 253 and all(_LABEL.fullmatch(part) for part in text.split("."))


def instance_ip_name(network: str, address: str) -> str:
    """The name that *is* the ownership of an address: creating it twice is refused by the API."""
    # An object name's last label can't begin or end with "-": "::1" becomes "0--1", "fd00::" "fd00--0".
    padded = ("0" if address.startswith(":") else "") + address + ("0" if address.endswith(":") else "")
    return f"{network}.{padded.replace(':', '-')}"


def virtual_machine_name(pod: str, pod_uid: str) -> str:
    """One per pod incarnation: a new pod of the same name has another UID and so another name."""
    return f"{pod[:_POD_NAME_KEPT].rstrip('.-')}-{pod_uid[:8]}"


def interface_object_name(pod: str, pod_uid: str, index: int) -> str:
    """The VirtualMachineInterface of one attachment; index 0 is the default network."""
    return f"{virtual_machine_name(pod, pod_uid)}-{index}"


@functools.lru_cache(maxsize=4096)
def mac_of(pod_uid: str, index: int) -> str:
    """Contrail's ``02:`` plus five bytes of the interface's UUID, here uuid5(pod UID, index)."""
    try:
        space = uuid.UUID(pod_uid)
    except ValueError:
        # A static pod's UID is the digest of its manifest and need not be a UUID.
        space = uuid.uuid5(uuid.NAMESPACE_OID, pod_uid)
    return "02:" + uuid.uuid5(space, str(index)).bytes[:5].hex(":")
