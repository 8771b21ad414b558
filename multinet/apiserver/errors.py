"""Errors of the API as Kubernetes says them: a ``Status`` object with code, reason, message and details.

Source of the wording: apimachinery ``pkg/api/errors`` and ``pkg/util/validation/field``; clients and people
match on it, so it is kept to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multinet.errors import ApiError
from multinet.model.objects import Obj

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class StatusError(ApiError):
    """A refusal with everything its ``Status`` needs: HTTP ``code``, CamelCase ``reason``, ``details``."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Obj:
        """Return the ``Status`` object."""
        body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        # A 404 always has them: kubectl looks there for a name, to tell a missing object from a missing path.
        if self.details or self.code == 404:
            body["details"] = self.details
        return body


@dataclass(frozen=True, slots=True)
class FieldError:
    """One finding about one field: its path, the cause's reason and the text after the path."""

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def shown(value: Any) -> str:
    """Return a value as Kubernetes prints it in a message (strings quoted, objects as JSON)."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    """Build "Invalid value"."""
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


def required(field: str, detail: str = "") -> FieldError:
    """Build "Required value"."""
    return FieldError(
        field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value"
    )


def unsupported(field: str, value: Any, allowed: Sequence[Any]) -> FieldError:
    """Build "Unsupported value" with the values that are supported."""
    choices = ", ".join(shown(choice) for choice in allowed)
    return FieldError(
        field, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {choices}"
    )


def field_forbidden(field: str, detail: str) -> FieldError:
    """Build "Forbidden"."""
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {detail}")


def not_found_value(field: str, value: Any) -> FieldError:
    """Build "Not found": a reference within the object that leads nowhere."""
    return FieldError(field, "FieldValueNotFound", f"Not found: {shown(value)}")


def duplicate(field: str, value: Any) -> FieldError:
    """Build "Duplicate value"."""
    return FieldError(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def qualified(plural: str, group: str) -> str:
    """Return ``pods`` or ``virtualnetworks.multinet.opencontrail.org``."""
    return f"{plural}.{group}" if group else plural


def _details(plural: str, group: str, name: str) -> Obj:
    details: Obj = {"name": name, "kind": plural}
    if group:
        details["group"] = group
    return details


def not_found(plural: str, group: str, name: str) -> StatusError:
    """No such object."""
    text = f'{qualified(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", text, _details(plural, group, name))


def no_such_path() -> StatusError:
    """No such resource or path."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> StatusError:
    """Create of a name that is taken."""
    text = f'{qualified(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", text, _details(plural, group, name))


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> StatusError:
    """A stale resourceVersion or a precondition that doesn't hold."""
    text = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", text, _details(plural, group, name))


def forbidden(plural: str, group: str, name: str, why: str, causes: list[Obj] | None = None) -> StatusError:
    """Refused by admission."""
    details = _details(plural, group, name)
    if causes:
        details["causes"] = causes
    return StatusError(403, "Forbidden", f'{qualified(plural, group)} "{name}" is forbidden: {why}', details)


def invalid(kind: str, group: str, name: str, findings: Sequence[FieldError]) -> StatusError:
    """An object that breaks validation: 422 with a cause for each field."""
    texts = list(dict.fromkeys(str(finding) for finding in findings))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    shown_kind = qualified(kind, group)
    details = _details(kind, group, name)
    details["causes"] = [
        {"reason": finding.reason, "message": finding.text, "field": finding.field} for finding in findings
    ]
    return StatusError(422, "Invalid", f'{shown_kind} "{name}" is invalid: {joined}', details)


def bad_request(message: str) -> StatusError:
    """A request that can't be understood."""
    return StatusError(400, "BadRequest", message)


def expect(value: object, kind: type, field: str) -> None:
    """Raise the 400 unless ``value`` is absent or of the JSON type that ``field`` has."""
    if value is not None and not isinstance(value, kind):
        wanted: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
        raise bad_request(f"json: cannot unmarshal {shown(value)} into {field}: expected {wanted[kind]}")


def expired(message: str) -> StatusError:
    """A resourceVersion or continue token older than the history kept."""
    return StatusError(410, "Expired", message)


def method_not_allowed() -> StatusError:
    """The resource exists and has no such verb."""
    return StatusError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def unsupported_media(got: str, accepted: Sequence[str]) -> StatusError:
    """A body in a format this server doesn't read."""
    names = ", ".join(accepted)
    return StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format ({got}) - accepted media types include: {names}",
    )


def unauthorized() -> StatusError:
    """No credentials, or wrong ones."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def internal(message: str) -> StatusError:
    """The server, or a kubelet behind it, broke."""
    return StatusError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )
