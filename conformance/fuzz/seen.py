"""What an engine saw after a step, without any judgement."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SeenInterface:
    """One interface in a pod's namespace; ``ips`` without prefix length, link-local ones left out."""

    name: str
    mac: str
    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenAttachment:
    """One attachment as the implementation recorded it. ``network`` is a NAD's key or a made network's name.

    ``nad`` is empty for the default network, whose ``network`` is ``default``.
    """

    nad: str
    network: str
    interface: str
    mac: str
    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenPod:
    """One pod of the API: what was recorded for it, what its namespace has, what its annotation says.

    ``status`` is the text of network-status. ``running``: the kubelet says so. ``kernel`` is None where the
    node can't be looked at.
    """

    key: str
    running: bool
    recorded: tuple[SeenAttachment, ...]
    kernel: tuple[SeenInterface, ...] | None
    status: str
    pod_ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """The whole world. ``networks``: keys of NADs whose network exists, with its blocks.

    ``owners``: pod by (network, address), as far as an address is owned at all. ``leftovers`` and
    ``misled``: what belongs to nobody, and where a node forwards to a place where nobody is, in words.
    ``judged``: the rules that can be judged by what was seen; None: all.
    ``differs``: where another world, in which the same was done, is another, and nothing explains it.
    """

    pods: dict[str, SeenPod] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    misled: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    """Addresses that Kubernetes' endpoints know."""
    differs: tuple[str, ...] = ()
    judged: frozenset[str] | None = None
