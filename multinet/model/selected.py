"""What a network selection is made of, the error that points into it, and the rules for its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multinet.errors import InputError
from multinet.model import naming
from multinet.model.objects import ANNOTATION_SELECTION, Obj

RATES = {
    "ingressRate": "ingress_rate",
    "ingressBurst": "ingress_burst",
    "egressRate": "egress_rate",
    "egressBurst": "egress_burst",
}
"""Keys of ``bandwidth``, and the attributes of :class:`Bandwidth` they are read into."""

_EXCERPT = 72


class SelectionError(InputError):
    """The annotation is no selection; ``position`` is a character offset into ``text``."""

    def __init__(self, text: str, position: int, what: str, why: str = "", next_step: str = "") -> None:
        self.text = text
        self.position = max(0, min(position, len(text)))
        where = f"{ANNOTATION_SELECTION}, character {self.position + 1}"
        super().__init__(what, where=where, why=why, next_step=next_step)

    def pointed(self) -> str:
        """The message over an excerpt of the annotation with a caret under the character."""
        start = self.text.rfind("\n", 0, self.position) + 1
        end = self.text.find("\n", self.position)
        line = self.text[start : len(self.text) if end < 0 else end]
        column = self.position - start
        cut = max(0, column - _EXCERPT // 2)
        shown = "".join(c if c.isprintable() else " " for c in line[cut : cut + _EXCERPT])
        return f"{self}\n  {shown}\n  {' ' * (column - cut)}^"


#: Protocols that have ports, as selections and runtimes write them.
PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True, slots=True)
class PortMapping:
    """One element of ``portMappings``; ``protocol`` is ``tcp``, ``udp`` or ``sctp``."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> PortMapping:
        """Read what :meth:`to_spec` writes; ``KeyError`` or ``ValueError`` when it is something else."""
        return cls(
            int(spec["hostPort"]),
            int(spec["containerPort"]),
            str(spec.get("protocol") or "tcp").lower(),
            str(spec.get("hostIP") or ""),
        )

    def to_spec(self) -> Obj:
        """The JSON form of NPWG 4.1.2.1.7 and of CNI's ``runtimeConfig.portMappings``."""
        made: Obj = {
            "hostPort": self.host_port,
            "containerPort": self.container_port,
            "protocol": self.protocol,
        }
        return made | ({"hostIP": self.host_ip} if self.host_ip else {})


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Rates in bits per second, bursts in bits; 0 where not asked."""

    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | None) -> Bandwidth | None:
        """Read what :meth:`to_spec` writes; None where nothing is limited."""
        if not spec:
            return None
        made = cls(**{attribute: int(spec.get(key) or 0) for key, attribute in RATES.items()})
        return made if made != cls() else None

    def to_spec(self) -> Obj:
        """The JSON form of NPWG 4.1.2.1.8 and of CNI's ``runtimeConfig.bandwidth``, without zeros."""
        return {key: value for key, attribute in RATES.items() if (value := getattr(self, attribute))}


@dataclass(frozen=True, slots=True)
class NetworkSelection:
    """One attachment asked for. ``ips`` are canonical addresses, with ``/prefix`` where one was given.

    ``default_route`` is None where the key is absent. ``position`` and ``ignored`` (keys nobody knows)
    serve messages and don't take part in equality.
    """

    name: str
    namespace: str
    interface: str = ""
    ips: tuple[str, ...] = ()
    mac: str = ""
    default_route: tuple[str, ...] | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    bandwidth: Bandwidth | None = None
    cni_args: Obj | None = field(default=None, hash=False)
    infiniband_guid: str = ""
    ipam_claim_reference: str = ""
    position: int = field(default=0, compare=False)
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @property
    def nad(self) -> str:
        """``namespace/name`` of the NetworkAttachmentDefinition."""
        return f"{self.namespace}/{self.name}"


def check_name(text: str, at: int, name: str) -> None:
    """Refuse what can't be a NetworkAttachmentDefinition's name (NPWG 3.3)."""
    if naming.is_dns_subdomain(name):
        return
    hint = "use lower-case letters, digits and - (and . between such parts)"
    if "/" in name:
        namespace, _, last = name.rpartition("/")
        hint = f'write "namespace": "{namespace}", "name": "{last}"'
    what = f"{name!r} is no network name" if name else "the network's name is empty"
    raise SelectionError(text, at, what, "names are made of DNS-1123 labels (NPWG 3.3)", hint)


def check_namespace(text: str, at: int, namespace: str) -> None:
    """Refuse what can't be a namespace's name."""
    if naming.is_dns_label(namespace):
        return
    what = f"{namespace!r} is no namespace" if namespace else "the namespace before / is empty"
    why = "a network is named as name or namespace/name, both DNS-1123 labels (NPWG 4.1.1)"
    raise SelectionError(text, at, what, why, "write namespace/name with one /")


def check_interface(text: str, at: int, name: str) -> None:
    """Refuse what the kernel's ``dev_valid_name`` refuses, and ``%``, which it would expand."""
    raw = name.encode("utf-8", "surrogatepass")
    why = ""
    if not 1 <= len(raw) <= 15:
        why = f"it has {len(raw)} bytes, a Linux interface name has 1 to 15"
    elif name in (".", ".."):
        why = "it is reserved"
    elif any(c in "/:%" or not c.isprintable() or "\ud800" <= c <= "\udfff" for c in name):
        why = "/, :, % and control characters can't be in it"
    elif b"\xa0" in raw or any(c.isspace() for c in name):
        # The kernel's isspace() works on bytes and counts 0xa0, so some UTF-8 letters are refused as well.
        why = "it holds a blank (or a byte the kernel takes for one)"
    if why:
        raise SelectionError(
            text,
            at,
            f"{name!r} is no interface name",
            why,
            'take a short name of letters and digits, e.g. "net1"',
        )
