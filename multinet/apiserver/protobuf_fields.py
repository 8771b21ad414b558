"""What a protobuf message is, as data, and the messages that all kinds share.

Source: k8s.io/apimachinery ``meta/v1/generated.proto``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Field:
    """``kind``: str, int, bool, bytes, message, inline, map, bytes-map, quantity-map, quantity, time...

    ``plain-int`` and ``plain-bool`` aren't optional in Go: their zero is always sent and means nothing.
    ``inline`` is a message whose fields are those of the message around it; ``time`` and ``micro-time`` are
    text in JSON, to the second and to the microsecond; then there are int-or-string, and skip for what is
    passed over.
    """

    name: str
    kind: str = "str"
    repeated: bool = False
    message: Mapping[int, Field] = field(default_factory=dict)


Message = Mapping[int, Field]


def part(name: str, message: Message, *, repeated: bool = False) -> Field:
    """A field that holds a message, or several."""
    return Field(name, "message", repeated, message)


def inline(message: Message) -> Field:
    """A message that JSON does not nest."""
    return Field("", "inline", message=message)


def strings(*names: str) -> dict[int, Field]:
    """Fields with text, numbered from 1."""
    return {number: Field(name) for number, name in enumerate(names, 1)}


_OWNER: Message = {
    1: Field("kind"),
    3: Field("name"),
    4: Field("uid"),
    5: Field("apiVersion"),
    6: Field("controller", "bool"),
    7: Field("blockOwnerDeletion", "bool"),
}
_META: Message = {
    **strings("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
    7: Field("generation", "int"),
    8: Field("creationTimestamp", "skip"),
    9: Field("deletionTimestamp", "skip"),
    10: Field("deletionGracePeriodSeconds", "int"),
    11: Field("labels", "map"),
    12: Field("annotations", "map"),
    13: part("ownerReferences", _OWNER, repeated=True),
    14: Field("finalizers", repeated=True),
    17: Field("managedFields", "skip"),
}
METADATA = part("metadata", _META)
STATUS = Field("status", "skip")
SELECTOR: Message = {
    1: Field("matchLabels", "map"),
    2: part(
        "matchExpressions",
        {1: Field("key"), 2: Field("operator"), 3: Field("values", repeated=True)},
        repeated=True,
    ),
}
