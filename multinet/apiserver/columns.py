"""What the cells of server-side tables share: names, ages, and the columns of custom resources."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

from multinet.apiserver.codec import encode
from multinet.apiserver.jsonpath import compile_path
from multinet.apiserver.resources import Column
from multinet.model.objects import Obj


def name_cell(obj: Obj, _now: float) -> str:
    """Return ``metadata.name``."""
    return str(obj["metadata"]["name"])


def age_cell(obj: Obj, now: float) -> str:
    """Return how long ago the object was made."""
    return since(obj["metadata"].get("creationTimestamp"), now)


NAME = Column("Name", name_cell, format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", age_cell, description="Time since the object was created.")


def since(text: str | None, now: float) -> str:
    """Return the time since an RFC 3339 timestamp, short and human; ``<unknown>`` without one."""
    if not text:
        return "<unknown>"
    try:
        then = datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return "<invalid>"
    return human_duration(now - then)


def human_duration(seconds: float) -> str:
    """Return a duration as ``kubectl`` shows it (apimachinery ``duration.HumanDuration``)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def printer_columns(declared: list[Obj]) -> tuple[Column, ...]:
    """Return the columns of a custom resource version; without any declared, name and age."""
    if not declared:
        return (NAME, AGE)
    return (NAME, *(_printer_column(column) for column in declared))


def _printer_column(column: Obj) -> Column:
    kind = column.get("type", "string")
    return Column(
        column["name"],
        _path_cell(column["jsonPath"], kind),
        type=kind,
        format=column.get("format", ""),
        description=column.get(
            "description", "Custom resource definition column (in JSONPath format): " + column["jsonPath"]
        ),
        priority=column.get("priority", 0),
    )


def _path_cell(path: str, kind: str) -> Callable[[Obj, float], Any]:
    find = compile_path(path)

    def cell(obj: Obj, now: float) -> Any:
        found = find(obj)
        if not found or found[0] is None:
            return None
        if kind == "date":
            return since(str(found[0]), now)
        if kind in ("integer", "number", "boolean"):
            return found[0]
        return ",".join(_text(value) for value in found)

    return cell


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else encode(value).decode()


def now_seconds() -> float:
    """Return the wall clock, in seconds since the epoch."""
    return time.time()
