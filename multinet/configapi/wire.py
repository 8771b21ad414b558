"""Entries as the JSON which the original answers with (``GET /virtual-network/<uuid>`` and lists)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from multinet.configapi.entries import Catalog, Entry
from multinet.configapi.kinds import back_ref_field, child_field
from multinet.model.objects import Obj


@dataclass(frozen=True, slots=True)
class Shape:
    """What of an object is shown. ``fields`` empty: all properties and references.

    ``base`` is the URL of this server, for hrefs; empty leaves them out.
    """

    base: str = ""
    fields: frozenset[str] = frozenset()
    back_refs: bool = True
    children: bool = True


def href(base: str, kind: str, identity: str) -> str:
    """The URL of an object."""
    return f"{base}/{kind}/{identity}"


def brief(entry: Entry, shape: Shape) -> Obj:
    """An object as one line of a list: uuid, fq_name, href, and the fields asked for."""
    made: Obj = {"uuid": entry.uuid, "fq_name": list(entry.fq_name)}
    if shape.base:
        made["href"] = href(shape.base, entry.kind, entry.uuid)
    return made


def full(entry: Entry, catalog: Catalog, shape: Shape) -> Obj:
    """An object with its properties, references, and (where asked) children and back references."""
    made = identity(entry, shape)
    wanted = shape.fields
    for name, value in entry.properties.items():
        if not wanted or name in wanted:
            made[name] = value
    for field, refs in entry.ref_fields().items():
        if not wanted or field in wanted:
            made[field] = [_link(shape, ref.kind, ref.uuid, ref.to) | {"attr": ref.attr} for ref in refs]
    made["id_perms"] = _id_perms(entry)
    made.setdefault("perms2", _perms2())
    _add_others(made, entry, catalog, shape)
    return made


def identity(entry: Entry, shape: Shape) -> Obj:
    """What every answer about one object holds."""
    made = brief(entry, shape) | {"name": entry.fq_name[-1]}
    if entry.parent_kind:
        made["parent_type"] = entry.parent_kind
        made["parent_uuid"] = entry.parent_uuid
        if shape.base and entry.parent_uuid:
            made["parent_href"] = href(shape.base, entry.parent_kind, entry.parent_uuid)
    return made


def fields_of(entry: Entry, catalog: Catalog, shape: Shape) -> Obj:
    """Only the fields asked for, for a list without details."""
    shown = full(entry, catalog, shape)
    return {name: shown[name] for name in shape.fields if name in shown}


def reference_text(entries: Iterable[Entry]) -> str:
    """Objects named in an error: ``['virtual-machine-interface d:p:web (uuid)', ...]``."""
    return str([f"{entry.label} ({entry.uuid})" for entry in entries])


def _add_others(made: Obj, entry: Entry, catalog: Catalog, shape: Shape) -> None:
    if shape.back_refs or any(name.endswith("_back_refs") for name in shape.fields):
        for found, ref in catalog.referrers(entry.uuid):
            field = back_ref_field(found.kind)
            if not shape.fields or field in shape.fields:
                link = _link(shape, found.kind, found.uuid, found.fq_name) | {"attr": ref.attr}
                made.setdefault(field, []).append(link)
    if shape.children or shape.fields:
        for child in catalog.children(entry.uuid):
            field = child_field(child.kind)
            if (shape.children and not shape.fields) or field in shape.fields:
                made.setdefault(field, []).append(_link(shape, child.kind, child.uuid, child.fq_name))


def _link(shape: Shape, kind: str, target: str, to: Iterable[str]) -> Obj:
    made: Obj = {"to": list(to), "uuid": target}
    if shape.base:
        made["href"] = href(shape.base, kind, target)
    return made


def _id_perms(entry: Entry) -> Obj:
    created = entry.created.removesuffix("Z") or "1970-01-01T00:00:00"
    try:
        number = uuid.UUID(entry.uuid).int
    except ValueError:
        number = 0
    return {
        "enable": True,
        "description": None,
        "created": created,
        "last_modified": created,
        "creator": None,
        "user_visible": True,
        "uuid": {"uuid_mslong": number >> 64, "uuid_lslong": number & ((1 << 64) - 1)},
        "permissions": _permissions(),
    }


def _permissions() -> Obj:
    return {
        "owner": "cloud-admin",
        "owner_access": 7,
        "group": "cloud-admin-group",
        "group_access": 7,
        "other_access": 7,
    }


def _perms2() -> Obj:
    return {"owner": "cloud-admin", "owner_access": 7, "global_access": 0, "share": []}
