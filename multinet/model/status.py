"""The ``k8s.v1.cni.cncf.io/network-status`` annotation (NPWG 5): entries, encoder, tolerant decoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from multinet.errors import InputError
from multinet.model.attachments import AttachedInterface, Interface
from multinet.model.naming import DEFAULT_NETWORK_STATUS_NAME
from multinet.model.objects import API_GROUP, Obj

_DEFAULT_ROUTE = "default-route"
_GATEWAY = f"{API_GROUP}/gateway"
_MTU = f"{API_GROUP}/mtu"


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """One attachment as the pod's user may see it; ``ips`` are bare addresses (NPWG 5.3).

    ``gateway`` are those of the pod's default routes through it. The standard has a key for them where a
    selection asked for them (5.3.6.4); what it has no key for is told under a name with a dot (5.3).
    """

    name: str
    interface: str = ""
    ips: tuple[str, ...] = ()
    mac: str = ""
    default: bool = False
    dns: Obj = field(default_factory=dict)
    mtu: int = 0
    gateway: tuple[str, ...] = ()

    @classmethod
    def of(cls, seen: AttachedInterface, *, gateway: Sequence[str] = ()) -> NetworkStatus:
        """The entry of an interface the node agent reported."""
        return cls(
            name=seen.network or DEFAULT_NETWORK_STATUS_NAME,
            interface=seen.interface,
            ips=seen.ips,
            mac=seen.mac,
            default=seen.default,
            mtu=seen.mtu,
            gateway=tuple(gateway),
        )

    @classmethod
    def planned(cls, interface: Interface) -> NetworkStatus:
        """The entry of an interface that is about to be made."""
        return cls(
            name=interface.status_name,
            interface=interface.interface,
            ips=tuple(item.address for item in interface.addresses),
            mac=interface.mac,
            default=interface.is_default,
            gateway=interface.default_route or (),
        )

    def to_object(self) -> Obj:
        """The JSON map; optional keys without a value are left out."""
        made: Obj = {"name": self.name}
        if self.interface:
            made["interface"] = self.interface
        if self.ips:
            made["ips"] = list(self.ips)
        if self.mac:
            made["mac"] = self.mac
        if self.mtu:
            made[_MTU] = self.mtu
        if self.gateway:
            # Only the default network's interface has default routes that no selection asked for.
            made[_GATEWAY if self.default else _DEFAULT_ROUTE] = list(self.gateway)
        made["default"] = self.default
        made["dns"] = dict(self.dns)
        return made


def encode(entries: Iterable[NetworkStatus]) -> str:
    """The annotation's value, one entry per attachment in the order given."""
    return json.dumps([entry.to_object() for entry in entries], indent=4)


def encode_contrail(interfaces: Iterable[Interface]) -> str:
    """The value as Contrail R20/21 writes it (O6-O8): ``ips`` one string, bare names, each name once."""
    by_name: dict[str, Obj] = {}
    for item in interfaces:
        name = item.nad.rpartition("/")[2] or DEFAULT_NETWORK_STATUS_NAME
        ips = "".join(address.address for address in item.addresses)
        by_name[name] = {"ips": ips, "mac": item.mac, "name": name}
    return json.dumps(list(by_name.values()), indent=4, sort_keys=True, separators=(",", ": "))


def decode(text: str) -> tuple[NetworkStatus, ...]:
    """Read an annotation's value, ours or another implementation's.

    Accepted beside the standard form: a single address string as ``ips`` (Contrail), missing ``default``,
    ``mtu`` and ``gateway`` (Multus).
    Raises ``InputError`` for anything that is not a JSON list of maps with a name.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"it is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise _damaged(f"it is a JSON {type(entries).__name__}, not a list")
    return tuple(_entry(position, item) for position, item in enumerate(entries))


def _entry(position: int, item: Any) -> NetworkStatus:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise _damaged(f"entry {position} is not a map with a name")
    ips = item.get("ips") or ()
    dns = item.get("dns")
    mtu = item.get(_MTU, item.get("mtu"))
    gateway = next((item[key] for key in (_DEFAULT_ROUTE, _GATEWAY, "gateway") if key in item), None)
    return NetworkStatus(
        name=item["name"],
        interface=str(item.get("interface") or ""),
        ips=(ips,) if isinstance(ips, str) else _strings(ips),
        mac=str(item.get("mac") or ""),
        default=item.get("default") is True,
        dns=dns if isinstance(dns, dict) else {},
        mtu=mtu if isinstance(mtu, int) else 0,
        gateway=_strings(gateway),
    )


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _damaged(why: str) -> InputError:
    return InputError(
        "the network-status annotation can't be read",
        where="k8s.v1.cni.cncf.io/network-status",
        why=why,
        next_step="remove the annotation: the controller writes it again from what the node reported",
    )
