"""Structural schemas of built-in kinds, written as blank-separated field names by type."""

from __future__ import annotations

from multinet.model.objects import Obj

OPEN: Obj = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TEXT: Obj = {"type": "string"}
NUMBER: Obj = {"type": "integer"}
FLAG: Obj = {"type": "boolean"}
TEXTS: Obj = {"type": "object", "additionalProperties": TEXT}
TIME: Obj = {"type": "string", "format": "date-time"}
INT_OR_STRING: Obj = {"x-kubernetes-int-or-string": True}
ANYTHING: Obj = {"x-kubernetes-preserve-unknown-fields": True}


def nullable(schema: Obj) -> Obj:
    """Allow null, which Kubernetes reads as absent."""
    return {**schema, "nullable": True}


def list_of(item: Obj) -> Obj:
    """A list of such items."""
    return {"type": "array", "items": item}


def fields(text: str = "", numbers: str = "", flags: str = "", open_: str = "", **others: Obj) -> Obj:
    """Build an object schema from blank-separated names by type."""
    properties: Obj = {}
    for names, schema in ((text, TEXT), (numbers, NUMBER), (flags, FLAG), (open_, OPEN)):
        properties.update({name: nullable(schema) for name in names.split()})
    properties.update({name: nullable(schema) for name, schema in others.items()})
    return {"type": "object", "properties": properties}


def opened(text: str = "", numbers: str = "", flags: str = "", /, **others: Obj) -> Obj:
    """Like :func:`fields`, of an object that may have any other field as well."""
    listed = fields(text, numbers, flags)["properties"]
    return {**OPEN, "properties": {**listed, **{name: nullable(schema) for name, schema in others.items()}}}
