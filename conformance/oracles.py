"""Three oracles about a pod: what the annotation says, what the kernel has, what the wire does.

Annotation and kernel are in one value, :class:`Seen`, taken at one moment; disagreements are named by pair.
The wire is asked by probes (:meth:`conformance.bench.Space.probe`), which send from one named interface.

Nothing here assumes what an implementation calls its interfaces: the default network's is the one that has
the pod's IP, and loopback is left out.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.target import CannotObserveError, ClusterTarget
from multinet.errors import MultinetError
from multinet.model.objects import ANNOTATION_STATUS, Obj, annotations_of, name_of, namespace_of, section
from traffic.endpoint import Endpoint

Entry = Mapping[str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Seen:
    """One pod at one moment.

    ``refusals`` are what Warning events say. ``status_text`` is the annotation as it is, None without one.
    ``kernel`` are the interfaces in the pod's namespace; ``blind`` says why they could not be read.
    """

    obj: Obj
    refusals: tuple[str, ...]
    status_text: str | None
    kernel: tuple[Endpoint, ...] | None
    blind: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{namespace_of(self.obj)}/{name_of(self.obj)}"

    @property
    def runs(self) -> bool:
        """Whether the pod runs."""
        return str(section(self.obj, "status").get("phase")) == "Running"

    @property
    def pod_ips(self) -> tuple[Address, ...]:
        """What Kubernetes knows."""
        status = section(self.obj, "status")
        listed = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
        return tuple(ipaddress.ip_address(ip) for ip in listed if ip)

    # -- the kernel ------------------------------------------------------------------------------------------

    @property
    def interfaces(self) -> tuple[Endpoint, ...]:
        """The pod's interfaces; ``CannotObserveError`` where they can't be read."""
        if self.kernel is None:
            raise CannotObserveError("the pod's interfaces can't be read", where=self.key, why=self.blind)
        return self.kernel

    @property
    def default(self) -> Endpoint:
        """The default network's interface: the one that has the pod's IP."""
        found = [one for one in self.interfaces if set(addresses_of(one)) & set(self.pod_ips)]
        if len(found) != 1:
            raise CannotObserveError(
                "no single interface has the pod's IP",
                where=self.key,
                why=f"pod IPs {_texts(self.pod_ips)}, kernel {self.summary()}",
            )
        return found[0]

    @property
    def others(self) -> tuple[Endpoint, ...]:
        """The interfaces of selected networks, in the kernel's order."""
        return tuple(one for one in self.interfaces if one is not self.default)

    def interface(self, name: str) -> Endpoint:
        """One interface by name; an ``AssertionError`` names those that are there."""
        found = [one for one in self.interfaces if one.interface == name]
        assert found, f"{self.key} has no interface {name}: {self.summary()}"
        return found[0]

    def within(self, subnet: str) -> tuple[Endpoint, ...]:
        """The interfaces with an address of a subnet."""
        network = ipaddress.ip_network(subnet)
        return tuple(one for one in self.interfaces if any(a in network for a in addresses_of(one)))

    def default_routes(self, family: int = 4) -> tuple[tuple[str, str], ...]:
        """``(interface, gateway)`` of each default route of a family."""
        wanted = {4: "0.0.0.0/0", 6: "::/0"}[family]
        return tuple(
            (one.interface, gateway)
            for one in self.interfaces
            for destination, gateway in one.routes
            if destination == wanted
        )

    def summary(self) -> str:
        """The kernel in one line."""
        if self.kernel is None:
            return f"not readable ({self.blind})"
        return "; ".join(
            f"{one.interface} {one.mac} {_texts(addresses_of(one))}".strip() for one in self.kernel
        )

    # -- the annotation --------------------------------------------------------------------------------------

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The status as a list of maps; an ``AssertionError`` says what else it is."""
        assert self.status_text is not None, f"{self.key} has no annotation {ANNOTATION_STATUS}"
        try:
            found = json.loads(self.status_text)
        except ValueError as error:
            raise AssertionError(
                f"the status of {self.key} is no JSON: {error}: {self.status_text}"
            ) from None
        assert isinstance(found, list), f"the status of {self.key} is no list: {self.status_text}"
        assert all(isinstance(one, dict) for one in found), f"not all are maps: {self.status_text}"
        return tuple(found)

    @property
    def default_entries(self) -> tuple[Entry, ...]:
        """Entries with ``default`` true."""
        return tuple(one for one in self.entries if one.get("default") is True)

    @property
    def other_entries(self) -> tuple[Entry, ...]:
        """Entries of selected networks, wherever they stand; a default entry may lack its flag."""
        return tuple(
            one for one in self.entries if one.get("default") is not True and not self.says_pod_ip(one)
        )

    def says_pod_ip(self, entry: Entry) -> bool:
        """Whether an entry has the pod's IP, whatever the form of its ``ips``."""
        return bool(said_by(entry) & set(self.pod_ips))

    def entries_of(self, namespace: str, name: str) -> tuple[Entry, ...]:
        """Entries of one NAD, whether its namespace stands there or not."""
        wanted = {name, f"{namespace}/{name}"}
        return tuple(one for one in self.other_entries if one.get("name") in wanted)

    def disagreements(self) -> Iterator[str]:
        """Where annotation and kernel differ, each with both values."""
        there = {one.interface: one for one in self.interfaces}
        for entry in self.entries:
            name = entry.get("interface")
            if name is None:
                continue
            kernel = there.get(str(name))
            if kernel is None:
                yield f"annotation/kernel: entry {entry.get('name')} has {name}, the kernel {sorted(there)}"
                continue
            if "mac" in entry and str(entry["mac"]).lower() != kernel.mac:
                yield f"annotation/kernel: {name} mac {entry['mac']}, the kernel has {kernel.mac}"
            said = said_by(entry)
            has = set(addresses_of(kernel))
            if said != has:
                yield f"annotation/kernel: {name} ips {_texts(said)}, the kernel has {_texts(has)}"


def addresses_of(endpoint: Endpoint) -> tuple[Address, ...]:
    """An interface's addresses, without link-local ones of IPv6, which every interface makes for itself."""
    every = (ipaddress.ip_interface(text).ip for text in endpoint.addresses)
    return tuple(one for one in every if one.version == 4 or not one.is_link_local)


def look(target: ClusterTarget, obj: Obj, refusals: list[str]) -> Seen:
    """Annotation and kernel of a pod, as they are now."""
    status = annotations_of(obj).get(ANNOTATION_STATUS)
    try:
        kernel = tuple(target.interfaces(namespace_of(obj), name_of(obj)))
    except MultinetError as error:
        return Seen(obj, tuple(refusals), status, None, str(error))
    return Seen(obj, tuple(refusals), status, kernel)


def said_by(entry: Entry) -> set[Address | str]:
    """What an entry says of its addresses, also where ``ips`` is one text; what is no address stays text."""
    ips = entry.get("ips") or ()
    texts = ips.replace(",", " ").split() if isinstance(ips, str) else ips
    found: set[Address | str] = set()
    for text in texts:
        try:
            found.add(ipaddress.ip_interface(str(text)).ip)
        except ValueError:
            found.add(str(text))
    return found


def _texts(values: Any) -> str:
    return ",".join(sorted(map(str, values)))
