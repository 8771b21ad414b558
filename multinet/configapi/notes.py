"""What a client of the config API said that the custom resource has no field for.

It is kept as JSON in one annotation of the object itself, so that it lives and dies with it and a read gives
back what was written. The controller and the node agents never look at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from multinet.model.objects import API_GROUP, Obj, annotations_of

ANNOTATION_NOTES = f"{API_GROUP}/config-api"
ANNOTATION_RESERVED = f"{API_GROUP}/reserved"
ANNOTATION_NETNS = f"{API_GROUP}/netns"


@dataclass(frozen=True, slots=True)
class Notes:
    """Notes on one object.

    ``fq_name`` is empty where nobody made the object through the config API, ``uuid`` unless one was chosen.
    ``subnets`` maps a CIDR to what was said about it (subnet_uuid, subnet_name, ipam); ``relaxed`` lists
    UUIDs of objects that may be deleted although this one refers to them.
    """

    uuid: str = ""
    fq_name: tuple[str, ...] = ()
    properties: Obj = field(default_factory=dict)
    subnets: dict[str, Obj] = field(default_factory=dict)
    references: dict[str, list[str]] = field(default_factory=dict)
    relaxed: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether the object was made through the config API."""
        return bool(self.fq_name)

    @classmethod
    def of(cls, o: Mapping[str, Any]) -> Notes:
        """The notes on an object; unreadable ones (edited by hand) count as none."""
        text = annotations_of(o).get(ANNOTATION_NOTES)
        if not text:
            return cls()
        try:
            read = orjson.loads(text)
        except orjson.JSONDecodeError:
            return cls()
        return cls.from_dict(read) if isinstance(read, dict) else cls()

    @classmethod
    def from_dict(cls, read: Obj) -> Notes:
        """Read the JSON form, leaving out what has the wrong type."""

        def table(name: str) -> Obj:
            found = read.get(name)
            return found if isinstance(found, dict) else {}

        return cls(
            uuid=str(read.get("uuid") or ""),
            fq_name=tuple(map(str, read.get("fq_name") or ())),
            properties=table("properties"),
            subnets={cidr: said for cidr, said in table("subnets").items() if isinstance(said, dict)},
            references={
                name: list(map(str, listed))
                for name, listed in table("references").items()
                if isinstance(listed, list)
            },
            relaxed=tuple(map(str, read.get("relaxed") or ())),
        )

    def to_dict(self) -> Obj:
        """The JSON form, without what is empty."""
        made: Obj = {
            "uuid": self.uuid,
            "fq_name": list(self.fq_name),
            "properties": self.properties,
            "subnets": self.subnets,
            "references": self.references,
            "relaxed": list(self.relaxed),
        }
        return {name: value for name, value in made.items() if value}

    def text(self) -> str:
        """The annotation's value."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS).decode()

    def put_on(self, o: Obj) -> Obj:
        """``o`` with these notes in place of its own (a new object; ``o`` is left alone)."""
        metadata = dict(o.get("metadata") or {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION_NOTES: self.text()}
        return {**o, "metadata": metadata}

    def with_properties(self, changed: Mapping[str, Any]) -> Notes:
        """These notes with some properties changed; None removes one."""
        merged = {**self.properties, **changed}
        return replace(self, properties={name: value for name, value in merged.items() if value is not None})
