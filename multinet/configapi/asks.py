"""What a client asks for, checked against the type's table before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from multinet.configapi.entries import Entry, FqName
from multinet.configapi.errors import bad_request
from multinet.configapi.kinds import Kind
from multinet.kube.client import Client
from multinet.model.objects import Obj

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Identity, and what the server alone writes.
_IDENTITY = frozenset(
    {"uuid", "fq_name", "name", "href", "parent_type", "parent_uuid", "parent_href", "id_perms"}
)
_FQ_NAME_LIMIT = 255
_TYPES: dict[type, tuple[str, frozenset[str]]] = {
    str: ("a text", frozenset({"display_name", "server_type", "virtual_machine_interface_device_owner"})),
    bool: (
        "true or false",
        frozenset({"fabric_snat", "port_security_enabled", "is_shared", "alarm_enable"}),
    ),
    dict: (
        "a map",
        frozenset(
            {
                "annotations",
                "domain_limits",
                "network_ipam_mgmt",
                "perms2",
                "quota",
                "virtual_machine_interface_bindings",
                "virtual_machine_interface_mac_addresses",
                "virtual_network_properties",
            }
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A create or update. ``properties`` are the fields given, ``refs`` the reference fields given.

    A property given as None is to be removed. ``client`` is the caller's own access to Kubernetes.
    """

    kind: Kind
    client: Client
    properties: Obj
    refs: dict[str, list[Obj]]
    fq_name: FqName = ()
    uuid: str = ""
    parent: Entry | None = None

    @property
    def kept(self) -> Obj:
        """The properties that are stored as they are."""
        return {name: value for name, value in self.properties.items() if name in self.kind.kept}


def split_fields(kind: Kind, body: Mapping[str, Any]) -> tuple[Obj, dict[str, list[Obj]]]:
    """Properties and references of a request's body; 400 for one that has no meaning here."""
    properties: Obj = {}
    refs: dict[str, list[Obj]] = {}
    for name, value in body.items():
        if name in _IDENTITY or name.endswith("_back_refs"):
            continue
        if name.endswith("_refs"):
            refs[name] = _refs(kind, name, value)
        elif name in kind.modelled or name in kind.kept:
            _check_type(kind, name, value)
            properties[name] = value
        elif not _promises_nothing(kind, name, value):
            raise bad_request(
                f"{name} {_short(value)} is not supported",
                where=kind.name,
                why="this implementation would not do what it says",
                next_step=f"leave {name} out",
            )
    return properties, {name: value for name, value in refs.items() if name in kind.refs}


def _check_type(kind: Kind, name: str, value: object) -> None:
    for wanted, (words, names) in _TYPES.items():
        if name in names and value is not None and not isinstance(value, wanted):
            raise bad_request(
                f"{name} {_short(value)} can't be understood", where=kind.name, why=f"it must be {words}"
            )
    if name == "annotations" and value:
        assert isinstance(value, dict)
        pairs = value.get("key_value_pair") or []
        if not isinstance(pairs, list) or not all(isinstance(item, dict) and "key" in item for item in pairs):
            raise bad_request(
                f"{name} {_short(value)} can't be understood",
                where=kind.name,
                why="it must hold key_value_pair, a list of maps with key and value",
            )


def read_uuid(body: Mapping[str, Any]) -> str:
    """The UUID a client chose, or the empty string."""
    text = body.get("uuid")
    if text is None:
        return ""
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise bad_request(f"Invalid UUID {text!r}", next_step="write it in lower-case hexadecimal")
    return text


def read_fq_name(parts: object, where: str) -> FqName:
    """A fully qualified name; 400 unless it is a list of usable strings."""
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise bad_request(
            f"Invalid fq_name {parts!r}",
            where=where,
            next_step='write a list of strings such as ["default-domain", "default-project", "blue"]',
        )
    for part in parts:
        if ":" in part or len(part) > _FQ_NAME_LIMIT or any(ord(char) < 32 for char in part):
            raise bad_request(
                f"Invalid name {_short(part)}",
                where=where,
                why="a part of a name has 1 to 255 characters, none of them a colon or a control character",
            )
    return tuple(parts)


def _refs(kind: Kind, name: str, value: object) -> list[Obj]:
    listed = value or []
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise bad_request(f"{name} is no list of references", where=kind.name)
    if listed and name not in kind.refs:
        raise bad_request(
            f"{name} is not supported",
            where=kind.name,
            why="this implementation would not do what it says",
            next_step=f"leave {name} out",
        )
    return listed


def _promises_nothing(kind: Kind, name: str, value: object) -> bool:
    """Whether a property that is not stored asks for nothing but what is so anyway."""
    if value in (None, "", [], {}) or value in kind.defaults.get(name, ()):
        return True
    return isinstance(value, dict) and all(_promises_nothing(kind, "", item) for item in value.values())


def only_ref(refs: Mapping[str, list[Obj]], name: str, where: str) -> Obj | None:
    """The one reference of a field that may hold one at most."""
    listed: Iterable[Obj] = refs.get(name) or ()
    items = list(listed)
    if len(items) > 1:
        raise bad_request(f"{name} holds {len(items)} references, one is possible", where=where)
    return items[0] if items else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
