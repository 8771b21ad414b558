"""Status conditions (Kubernetes API conventions, "Typical status properties")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multinet.model.objects import Obj, section

READY = "Ready"
RESOLVED = "Resolved"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; ``status`` is ``"True"``, ``"False"`` or ``"Unknown"``, ``changed`` an RFC 3339 time."""

    type: str
    status: str
    reason: str
    message: str
    changed: str = ""

    @property
    def is_true(self) -> bool:
        """Whether the condition holds."""
        return self.status == "True"

    def says_the_same(self, other: Condition | None) -> bool:
        """Equality without the time of the last transition."""
        return (
            other is not None
            and (self.type, self.status) == (other.type, other.status)
            and (self.reason, self.message) == (other.reason, other.message)
        )

    def to_object(self) -> Obj:
        """The JSON form in ``status.conditions``."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.changed,
        }


def find(o: Mapping[str, Any], type_: str) -> Condition | None:
    """The condition of that type in ``o.status.conditions``, or None."""
    for found in section(o, "status").get("conditions") or ():
        if found.get("type") == type_:
            return Condition(
                type_,
                str(found.get("status", "Unknown")),
                str(found.get("reason", "")),
                str(found.get("message", "")),
                str(found.get("lastTransitionTime", "")),
            )
    return None


def merged(existing: Sequence[Obj], new: Condition) -> list[Obj]:
    """``existing`` with ``new`` in place of its type; the old time stays while the status does not change."""
    kept = [found for found in existing if found.get("type") != new.type]
    old = next((found for found in existing if found.get("type") == new.type), None)
    written = new.to_object()
    if old is not None and old.get("status") == new.status and old.get("lastTransitionTime"):
        written["lastTransitionTime"] = old["lastTransitionTime"]
    return [*kept, written]
