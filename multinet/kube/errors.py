"""What the Kubernetes API can answer instead of an object, as typed errors.

The server describes a refusal in a ``Status`` object (Kubernetes API conventions, "Response Status Kind").
Its ``reason`` chooses the class; where there is none (a proxy answered), the HTTP status does.
"""

from __future__ import annotations

from typing import Any

from multinet.errors import ApiError


class KubeError(ApiError):
    """The API answered a request with an error, or didn't answer.

    ``status`` is the HTTP status (0 where there was no answer), ``reason`` the Status reason (may be empty),
    ``details`` the Status details (causes, retryAfterSeconds; may be empty).
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        next_step: str = "",
        status: int = 0,
        reason: str = "",
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(what, where=where, why=why, next_step=next_step)
        self.status = status
        self.reason = reason
        self.details = details or {}


class NotFoundError(KubeError):
    """404: no such object, or no such resource type."""


class AlreadyExistsError(KubeError):
    """409 AlreadyExists: create met an object of that name."""


class ConflictError(KubeError):
    """409 Conflict: the object changed since it was read, or a precondition doesn't hold. Read again."""


class GoneError(KubeError):
    """The resourceVersion asked for can't be served: list again.

    410 Gone/Expired (too old), or 504 Timeout with cause ResourceVersionTooLarge (the server's store is
    younger than what we have seen: it was replaced).
    """


class InvalidError(KubeError):
    """422 Invalid or 400 BadRequest: the object or the patch itself is wrong; trying again won't help."""


class ForbiddenError(KubeError):
    """403: known who we are, and not allowed (also: create in a namespace that is being deleted)."""


class UnauthorizedError(KubeError):
    """401: the credentials aren't accepted."""


class UnreachableError(KubeError):
    """No answer: refused, reset, timed out, or TLS failed. ``refused``: the request surely was not sent."""

    def __init__(
        self, what: str, *, where: str, why: str = "", next_step: str = "", refused: bool = False
    ) -> None:
        super().__init__(what, where=where, why=why, next_step=next_step)
        self.refused = refused


_BY_REASON: dict[str, type[KubeError]] = {
    "NotFound": NotFoundError,
    "AlreadyExists": AlreadyExistsError,
    "Conflict": ConflictError,
    "Gone": GoneError,
    "Expired": GoneError,
    "Invalid": InvalidError,
    "BadRequest": InvalidError,
    "Forbidden": ForbiddenError,
    "Unauthorized": UnauthorizedError,
}
_BY_STATUS: dict[int, type[KubeError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
}


def error_from_status(status: object, http_status: int, where: str) -> KubeError:
    """Build the error of an answer: ``status`` is the decoded body (a Status object, or anything)."""
    body: dict[str, Any] = status if isinstance(status, dict) else {}
    reason = str(body.get("reason") or "")
    details: dict[str, Any] = body.get("details") or {}
    code = int(body.get("code") or http_status)
    message = str(body.get("message") or f"the API answered with HTTP status {code}")
    chosen = _BY_REASON.get(reason) or _BY_STATUS.get(code, KubeError)
    if _resource_version_too_large(details, message):
        chosen = GoneError
    what = f"{reason}: {message}" if reason else message
    return chosen(what, where=where, status=code, reason=reason, details=details)


def _resource_version_too_large(details: dict[str, Any], message: str) -> bool:
    causes = details.get("causes") or []
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes) or (
        "Too large resource version" in message
    )
