"""Which names a cluster has, and what they stand for. Pure: services and EndpointSlices in, records out.

Source: the specification "Kubernetes DNS-Based Service Discovery" 1.1.0 (github.com/kubernetes/dns). Where it
leaves the name of an endpoint without a hostname to the implementation, that is its address with dashes, as
in CoreDNS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from multinet.model.objects import Obj, join_key, key_of, labels_of, name_of, namespace_of, section
from multinet.model.services import LABEL_SERVICE

TTL_S = 5
VERSION = "1.1.0"
_NO_ADDRESS = ("", "None")
_REVERSE = ("in-addr.arpa", "ip6.arpa")


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its full name without the last dot, in small letters; ``data`` as in a zone file."""

    name: str
    kind: str
    data: str


class Zone:
    """All names of a cluster below ``domain``, kept change by change."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self._services: dict[str, Obj] = {}
        self._slices: dict[str, dict[str, Obj]] = {}
        self._made: dict[str, tuple[Record, ...]] = {}
        self._records: dict[str, list[Record]] = {}
        self._above: Counter[str] = Counter()
        self._put("", [Record(f"dns-version.{domain}", "TXT", f'"{VERSION}"')])

    def service_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take a Service."""
        key = key_of(new or old or {})
        self._services.pop(key, None)
        if new is not None:
            self._services[key] = new
        self._make(key)

    def slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Take an EndpointSlice."""
        for each in (old, new):
            service = labels_of(each or {}).get(LABEL_SERVICE)
            if each is None or not service:
                continue
            key = join_key(namespace_of(each), service)
            held = self._slices.setdefault(key, {})
            held.pop(name_of(each), None)
            if each is new:
                held[name_of(each)] = each
            if not held:
                del self._slices[key]
            self._make(key)

    def find(self, name: str) -> tuple[Record, ...]:
        """All records of a name."""
        return tuple(self._records.get(name, ()))

    def exists(self, name: str) -> bool:
        """Whether there is such a name, or one below it (RFC 8020)."""
        return name in self._records or name in self._above

    def is_own(self, name: str) -> bool:
        """Whether nobody but this server knows about the name: in the zone, or an address's."""
        return any(name == top or name.endswith(f".{top}") for top in (self.domain, *_REVERSE))

    def _make(self, key: str) -> None:
        service = self._services.get(key)
        slices = self._slices.get(key, {})
        self._put(key, [] if service is None else _records(service, slices.values(), self.domain))

    def _put(self, key: str, records: Iterable[Record]) -> None:
        for record in self._made.pop(key, ()):
            held = self._records[record.name]
            held.remove(record)
            if not held:
                del self._records[record.name]
            for above in _parents(record.name):
                self._above[above] -= 1
                if not self._above[above]:
                    del self._above[above]
        made = tuple(dict.fromkeys(records))
        if made:
            self._made[key] = made
        for record in made:
            self._records.setdefault(record.name, []).append(record)
            self._above.update(_parents(record.name))


def _parents(name: str) -> Iterator[str]:
    while name:
        _, _, name = name.partition(".")
        if name:
            yield name


def _records(service: Obj, slices: Iterable[Obj], domain: str) -> Iterator[Record]:
    spec = section(service, "spec")
    name = f"{name_of(service)}.{namespace_of(service)}.svc.{domain}"
    if spec.get("type") == "ExternalName":
        yield Record(name, "CNAME", f"{str(spec.get('externalName')).rstrip('.')}.")
        return
    listed = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    addresses = [str(each) for each in listed if each not in _NO_ADDRESS]
    if spec.get("clusterIP") == "None":
        yield from _headless(name, slices)
        return
    for address in addresses:
        yield _address(name, address)
        yield _pointer(address, name)
    if addresses:
        yield from _ports(name, name, spec.get("ports") or ())


def _headless(name: str, slices: Iterable[Obj]) -> Iterator[Record]:
    # A name that is there though nothing is behind it: no data is another answer than no such name.
    yield Record(name, "", "")
    for each in slices:
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                host = endpoint.get("hostname") or str(address).replace(".", "-").replace(":", "-")
                own = f"{host}.{name}".lower()
                yield _address(name, address)
                yield _address(own, address)
                yield _pointer(address, own)
                yield from _ports(name, own, each.get("ports") or ())


def _ports(name: str, target: str, ports: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for port in ports:
        label, number = port.get("name"), port.get("port")
        if label and number:
            protocol = str(port.get("protocol") or "TCP").lower()
            yield Record(f"_{label}._{protocol}.{name}".lower(), "SRV", f"0 100 {number} {target}.")


def _address(name: str, address: str) -> Record:
    return Record(name, "A" if ip_address(address).version == 4 else "AAAA", address)


def _pointer(address: str, name: str) -> Record:
    return Record(ip_address(address).reverse_pointer, "PTR", f"{name}.")
