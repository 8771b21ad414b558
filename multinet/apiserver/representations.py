"""What a client gets to see of an object: itself, its metadata only, or a row of a table.

Plain objects are sent as the bytes they are stored in. Source for tables: apimachinery ``meta/v1.Table``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from multinet.apiserver.codec import encode
from multinet.apiserver.columns import now_seconds
from multinet.apiserver.operations import Target
from multinet.apiserver.store import Entry
from multinet.model.objects import Obj


@dataclass(frozen=True, slots=True)
class Form:
    """``as_`` is ``object``, ``table`` or ``partial``; ``include`` says what a table row carries."""

    as_: str = "object"
    include: str = "Metadata"


OBJECT = Form()


def form_of(accept: str, include: str) -> Form:
    """Return the first form in an Accept header that this server can make."""
    if "as=" not in accept:
        return OBJECT
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        named = dict(parameter.partition("=")[::2] for parameter in parameters)
        as_ = named.get("as")
        if as_ is None:
            if media in ("application/json", "application/*", "*/*"):
                return OBJECT
        elif named.get("g") == "meta.k8s.io" and named.get("v") == "v1":
            if as_ == "Table":
                return Form("table", include or "Metadata")
            if as_ in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return Form("partial")
    return OBJECT


def render(target: Target, entry: Entry, form: Form) -> bytes:
    """Return one object in its form."""
    if form.as_ == "table":
        return encode(_table(target, [entry], {"resourceVersion": str(entry.revision)}, form))
    if form.as_ == "partial":
        return encode(_partial(entry))
    return plain(target, entry)


def plain(target: Target, entry: Entry) -> bytes:
    """Return the object in the version the client speaks."""
    if target.type.storage == target.version.name or target.type.answer:
        return entry.raw
    return encode({**entry.view(), "apiVersion": target.api_version})


def render_list(target: Target, entries: Iterable[Entry], metadata: Obj, form: Form) -> bytes:
    """Return a list in its form; ``metadata`` has resourceVersion and what paging needs."""
    if form.as_ == "table":
        return encode(_table(target, entries, metadata, form))
    if form.as_ == "partial":
        return encode(
            {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": [_partial(entry) for entry in entries],
            }
        )
    kind = target.type.list_kind or f"{target.type.kind}List"
    return b'{"kind":%s,"apiVersion":%s,"metadata":%s,"items":[%s]}' % (
        encode(kind),
        encode(target.api_version),
        encode(metadata),
        b",".join([plain(target, entry) for entry in entries]),
    )


def bookmark(target: Target, revision: int, form: Form, *, initial_end: bool = False) -> bytes:
    """Return the object of a BOOKMARK event."""
    metadata: Obj = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    if form.as_ == "table":
        table = _table(target, [], {"resourceVersion": str(revision)}, form)
        marker: Obj = {"kind": target.type.kind, "apiVersion": target.api_version, "metadata": metadata}
        table["rows"] = [{"cells": [""] * len(target.version.columns), "object": marker}]
        return encode(table)
    if form.as_ == "partial":
        return encode({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
    return encode({"kind": target.type.kind, "apiVersion": target.api_version, "metadata": metadata})


def _partial(entry: Entry) -> Obj:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": entry.view()["metadata"],
    }


def _table(target: Target, entries: Iterable[Entry], metadata: Obj, form: Form) -> Obj:
    columns = target.version.columns
    now = now_seconds()
    rows = []
    for entry in entries:
        view = entry.view()
        row: Obj = {"cells": [column.cell(view, now) for column in columns]}
        if form.include == "Object":
            row["object"] = {**view, "apiVersion": target.api_version}
        elif form.include == "Metadata":
            row["object"] = _partial(entry)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in columns
        ],
        "rows": rows,
    }
